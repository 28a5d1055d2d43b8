"""Starts the service as its users do: a process of its own, and boto3."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

REPOSITORY = Path(__file__).resolve().parents[2]
# What a user may have set must not reach a test.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DRYDOCK_"))}


@dataclass
class RunningService:
    """`python -m local_mode up` as a child of the test."""

    process: subprocess.Popen[str]
    endpoint: str
    engine: str
    clients: list[Any] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def client(self, name: str) -> Any:
        """A boto3 client, closed with the service."""
        self.clients.append(client(self.endpoint, name))
        return self.clients[-1]

    def close(self) -> None:
        """Ends the process if it still runs, by SIGKILL, and closes whatever is open."""
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.communicate()
        for one in self.clients:
            one.close()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit status and stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


def start_service(home: Path, *options: str) -> RunningService:
    """Starts a service on a free port; returns once it says that it is ready."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "local_mode",
            "up",
            "--home",
            home,
            "--port",
            "0",
            "--engine",
            "process",
            *options,
        ],
        cwd=REPOSITORY,
        env=CLEAN,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.fullmatch(r"ready (http://127\.0\.0\.1:\d+) engine=(\w+)\n", line)
    if match is None:
        process.kill()
        _, errors = process.communicate()
        raise AssertionError(f"the service said {line!r} and {errors!r}")
    return RunningService(process=process, endpoint=match[1], engine=match[2])


def client(endpoint: str, name: str, **config: Any) -> Any:
    """A boto3 client of the service, without retries: a test wants the first answer."""
    session = boto3.session.Session(
        aws_access_key_id="drydock", aws_secret_access_key="drydock", region_name="us-east-1"
    )
    return session.client(
        name, endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}, **config)
    )


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`python -m local_mode` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "local_mode", *arguments],
        cwd=REPOSITORY,
        env=CLEAN,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
