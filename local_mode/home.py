"""DRYDOCK_HOME: the one folder in which the local SageMaker keeps everything that must outlive it.

::

    HOME
    ├── service.lock       held by the service (and by `gc` where none runs): one owner at a time
    ├── service.json       process id, endpoint and engine of the running service; for `status`, `down`
    ├── service.log        requests and the stack traces of our own errors
    ├── jobs.sqlite        the jobs
    ├── jobs/JOB           working files of one job
    ├── runs/JOB.json      what a later service must know of a job that has not ended
    ├── reserve            given up on a full disk, so that ends of jobs can be written
    ├── s3/                index.sqlite, blobs/, incoming/
    └── logs/GROUP/STREAM  one file of events a log stream
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HOME_VARIABLE = "DRYDOCK_HOME"
DEFAULT_HOME = ".drydock"
_RESERVE_BYTES = 1 << 20  # some hundred ends of jobs in SQLite's log
_RETRY_SECONDS = 0.02  # the kernel's lock has no wait with a limit


class HomeError(Exception):
    """The home cannot be used; the message is one line for the user."""


class HomeInUseError(HomeError):
    """Another process holds the home's lock."""


@dataclass(frozen=True)
class Home:
    """Paths below one home folder; `create` makes the folders."""

    root: Path

    @classmethod
    def from_environment(cls, option: str | None, environment: Mapping[str, str] = os.environ) -> "Home":
        """The home that `--home` names, else DRYDOCK_HOME, else `.drydock` below the current folder.

        Links are followed: what a service leaves is marked with its home, and found again by that mark.
        """
        return cls(Path(option or environment.get(HOME_VARIABLE) or DEFAULT_HOME).expanduser().resolve())

    @property
    def database(self) -> Path:
        return self.root / "jobs.sqlite"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def s3(self) -> Path:
        return self.root / "s3"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def reserve(self) -> Path:
        return self.root / "reserve"

    @property
    def service_log(self) -> Path:
        return self.root / "service.log"

    @property
    def service_file(self) -> Path:
        return self.root / "service.json"

    @property
    def lock_file(self) -> Path:
        return self.root / "service.lock"

    def create(self) -> None:
        """Makes the folders.

        Raises HomeError where that is not possible.
        """
        try:
            for folder in (self.root, self.jobs, self.runs, self.s3, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(13, os.strerror(13))
        except OSError as error:
            raise HomeError(
                f"cannot write to the home {self.root}: {error.strerror}; give another with --home DIR"
            ) from error

    def fill_reserve(self) -> None:
        """Keeps some space for what must be written on a full disk; does nothing where there is none."""
        try:
            with self.reserve.open("ab") as file:
                if file.tell() < _RESERVE_BYTES:
                    file.write(bytes(_RESERVE_BYTES - file.tell()))
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            self.release_reserve()

    def release_reserve(self) -> None:
        self.reserve.unlink(missing_ok=True)

    def lock(self, *, wait: float = 0.0) -> "HomeLock":
        """The lock, to enter; `wait` is how many seconds to try."""
        return HomeLock(self, wait)

    def identity(self) -> tuple[int, int] | None:
        """What tells this home from another one at its place; None where there is none."""
        try:
            status = self.lock_file.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def running_service(self) -> dict[str, Any] | None:
        """What the running service wrote about itself; None where none holds the home."""
        try:
            with self.lock():
                return None
        except HomeInUseError:
            pass
        except HomeError:
            return None  # a home that was never made
        try:
            document: dict[str, Any] = json.loads(self.service_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None  # it holds the lock but does not answer yet
        return document

    def write_service_file(self, document: Mapping[str, Any]) -> None:
        """Replaces `service.json` in one step: a reader sees the old or the new one."""
        temporary = self.service_file.with_suffix(".new")
        temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")
        temporary.replace(self.service_file)


class HomeLock:
    """An exclusive lock on a home, given back by the kernel when its holder dies.

    Raises HomeInUseError on entry when another process has it.
    """

    def __init__(self, home: Home, wait: float) -> None:
        self._home = home
        self._wait = wait
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            descriptor = os.open(self._home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise HomeError(f"cannot open {self._home.lock_file}: {error.strerror}") from error
        deadline = time.monotonic() + self._wait
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise HomeInUseError(
                    f"the home {self._home.root} is in use by another service; "
                    "stop it with `python -m local_mode down`, or give another home with --home DIR"
                )
            time.sleep(_RETRY_SECONDS)
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
