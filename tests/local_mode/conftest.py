"""A service for the tests of its front: a real process, or in this one where that is all a test needs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local_mode.home import Home
from local_mode.service import Service, running

REPOSITORY = Path(__file__).resolve().parents[2]
READY_SECONDS = 30
# What a user may have set must not reach a test.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DRYDOCK_"))}


@dataclass
class RunningService:
    """`python -m local_mode up` as a child of the test."""

    process: subprocess.Popen[str]
    endpoint: str
    engine: str

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

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


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as it was, in this process."""
    home = Home(tmp_path_factory.mktemp("home"))
    with running(home, port=0, engine="process") as started:
        yield started


@pytest.fixture(scope="session")
def aws(service: Service) -> Iterator[Callable[[str], Any]]:
    """Clients of the shared service: `aws("s3")`; making one takes a third of a second, so they are kept."""
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            made[name] = client(service.endpoint, name)
        return made[name]

    yield get
    for one in made.values():
        one.close()


@pytest.fixture
def services() -> Iterator[Callable[..., RunningService]]:
    """Starts services as processes of their own, and ends those that still run."""
    started: list[RunningService] = []

    def start(home: Path, *options: str) -> RunningService:
        started.append(start_service(home, *options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()
