"""The local SageMaker as a program: found where one answers, else started for the run."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jobs.errors import JobError

DEFAULT_PORT = 4700
HOME_VARIABLE = "DRYDOCK_HOME"
_START_SECONDS = 60.0
_STOP_SECONDS = 150.0  # a running job has 120 s from SIGTERM to SIGKILL
_POLL_SECONDS = 0.05
_READY = "ready "
_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(kw_only=True)
class LocalService:
    """A local SageMaker that answers; `keep` leaves one that we started running."""

    endpoint: str
    engine: str
    home: str
    started: bool
    keep: bool = field(default=False)

    @property
    def how_to_stop(self) -> str:
        return f"{Path(sys.executable).name} -m local_mode down --home {self.home}"


@contextmanager
def local_service(*, port: int, engine: str, home: Path | None) -> Iterator[LocalService]:
    """The service on `port`, started where none answers (port 0: always), and stopped again then.

    Raises `JobError` where it does not start, or where the one that answers has another engine or home.
    """
    found = find(port) if port else None
    if found is not None:
        _check_fits(found, engine=engine, home=home, port=port)
        yield found
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output, tempfile.TemporaryFile("w+") as errors:
        process = _start(port=port, engine=engine, home=home, output=output.fileno(), errors=errors.fileno())
        service: LocalService | None = None
        try:
            endpoint = _wait_ready(process, output.fileno(), errors.fileno())
            service = find(int(endpoint.rpartition(":")[2]), started=True)
            if service is None:
                raise JobError(f"the local SageMaker said it was ready and does not answer at {endpoint}")
            yield service
        finally:
            if service is None or not service.keep:
                _stop(process)


def find(port: int, *, started: bool = False) -> LocalService | None:
    """The service that answers on a port of this machine; None where nothing does.

    Raises `JobError` where something else answers there.
    """
    endpoint = f"http://127.0.0.1:{port}"
    # Past every proxy: those of the environment do not know this machine's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    other = f"what answers at {endpoint} is no local SageMaker: choose another port (PORT=, --port)"
    try:
        with opener.open(f"{endpoint}/_drydock/health", timeout=10) as reply:
            health = json.load(reply)
    except urllib.error.HTTPError as error:
        raise JobError(f"{other} (HTTP {error.code})") from error
    except urllib.error.URLError:
        return None
    except (OSError, ValueError) as error:
        raise JobError(other) from error
    if not isinstance(health, dict) or not {"endpoint", "engine", "home"} <= health.keys():
        raise JobError(other)
    return LocalService(
        endpoint=health["endpoint"], engine=health["engine"], home=health["home"], started=started
    )


def _check_fits(found: LocalService, *, engine: str, home: Path | None, port: int) -> None:
    if engine not in {"auto", found.engine}:
        raise JobError(
            f"the local SageMaker on port {port} runs jobs by {found.engine}, not by {engine}: stop it "
            f"({found.how_to_stop}) or choose another port and home (--port 0 --home DIR)"
        )
    if home is not None and home.resolve() != Path(found.home).resolve():
        raise JobError(
            f"the local SageMaker on port {port} has its home at {found.home}, not at {home.absolute()}: "
            f"stop it ({found.how_to_stop}) or choose another port (--port 0)"
        )


def _start(*, port: int, engine: str, home: Path | None, output: int, errors: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "local_mode", "up", "--port", str(port), "--engine", engine]
    if home is not None:
        command += ["--home", str(home)]
    search = os.pathsep.join(filter(None, (str(_REPOSITORY), os.environ.get("PYTHONPATH"))))
    # A session of its own: Ctrl-C is for us, and we decide what becomes of the service.
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": search},
        start_new_session=True,
    )


def _wait_ready(process: subprocess.Popen[bytes], output: int, errors: int) -> str:
    """The endpoint, once the service has said that it is ready."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        ended = process.poll()
        for line in _written(output):
            if line.startswith(_READY):
                return line.split()[1]
        if ended is not None:
            reason = next(reversed(_written(errors)), "it gave no reason").removeprefix("error: ")
            raise JobError(f"the local SageMaker did not start (exit code {ended}): {reason}")
        if time.monotonic() > deadline:
            raise JobError(f"the local SageMaker was not ready after {_START_SECONDS:.0f} s")
        try:
            process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _written(descriptor: int) -> list[str]:
    """The whole lines in a file that another process writes to, without moving its place."""
    text = os.pread(descriptor, 1 << 20, 0).decode("utf-8", errors="replace")
    return [line for line in text[: text.rfind("\n") + 1].splitlines() if line.strip()]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise JobError(
            f"the local SageMaker did not stop within {_STOP_SECONDS:.0f} s and was killed"
        ) from None
