"""AWS as botocore's Stubber plays it, and the program as a user starts it."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.stub import Stubber

from jobs.client import Clients

REPOSITORY = Path(__file__).resolve().parents[2]
_DEADLINE_SECONDS = 120.0


@functools.cache
def _clients() -> Clients:
    session = boto3.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1"
    )
    return Clients(**{name: session.client(name) for name in ("sagemaker", "logs", "s3")})


class StubbedAws:
    """Clients of an AWS that answers what a test says, and fails the test on any other call."""

    def __init__(self) -> None:
        self.clients = _clients()
        self.sagemaker = Stubber(self.clients.sagemaker)
        self.logs = Stubber(self.clients.logs)
        self.s3 = Stubber(self.clients.s3)
        self._stubbers = (self.sagemaker, self.logs, self.s3)
        for stubber in self._stubbers:
            stubber.activate()

    def close(self) -> None:
        """Let go of the clients; each answer that a test gave must have been asked for."""
        for stubber in self._stubbers:
            stubber.deactivate()
        for stubber in self._stubbers:
            stubber.assert_no_pending_responses()


@dataclass(kw_only=True)
class Program:
    """A started `python -m jobs`, its output going to files that can be read meanwhile."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def wait_for(self, text: str) -> None:
        """Wait until stdout has `text`; the program must not have ended before."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while text not in self.out:
            ended = self.process.poll()
            assert ended is None or text in self.out, f"exit code {ended}:\n{self.out}\n{self.err}"
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.out}\n{self.err}"
            time.sleep(0.05)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        return self.process.wait(_DEADLINE_SECONDS)


@contextmanager
def started(command: Sequence[str], folder: Path, **environment: str) -> Iterator[Program]:
    """`python -m COMMAND` with only these AWS and job variables; killed if it is still there at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    own = ("AWS_", "DATA", "JOB_ID", "BUCKET", "ROLE_ARN", "TRAIN_IMAGE", "DRYDOCK_HOME")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=REPOSITORY,
            env={**kept, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    try:
        yield Program(process=process, folder=folder)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
