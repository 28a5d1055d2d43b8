"""The process engine: a host is a process group in the project's own environment, its tree a folder.

For machines without Docker. It runs the program that Drydock's own training image holds, so it takes
that image only, by its repository name.
"""

import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from drydock.contract import BASE_DIR_VARIABLE
from local_mode.engines import keeper
from local_mode.engines.base import (
    DISK_FULL,
    HostError,
    HostExit,
    HostSpec,
    InputFile,
    Listeners,
    connection_variables,
    read_chunks,
    skipped,
)
from local_mode.engines.folders import folder_entries, link_tree, remove_tree
from local_mode.engines.images import repository_name
from local_mode.engines.processes import kill_marked, kill_trees, marked
from local_mode.errors import ValidationException

REPOSITORY = "drydock-train"
# -P: a folder of the job's is no place to import from.
COMMAND = (sys.executable, "-P", "-m", "drydock.training.entrypoint")
# -I, -S: it needs nothing but the standard library, and every job waits for its start.
_KEEPER = (sys.executable, "-I", "-S", keeper.__file__)
CONTROL = ".keeper"  # beside the tree: what the keeper writes
_ENDPOINT_FILE = "endpoint"
_LOOPBACK = "127.0.0.1"
# How often the journal is looked at; a line comes at most this much later.
_POLL_SECONDS = 0.02
_GPU_DEVICE = Path("/dev/nvidiactl")
# Not inherited: they would reach another AWS, or another job's tree.
FOREIGN_PREFIXES = ("AWS_", "SAGEMAKER_", "SM_", "TRAINING_JOB_", "DRYDOCK_", "PYTHONPATH", "PYTHONHOME")


class ProcessEngine:
    """Hosts as processes; their folders lie below `jobs` (`Home.jobs`)."""

    name = "process"

    def __init__(self, *, jobs: Path, endpoint: str, listeners: Listeners) -> None:
        self._jobs = jobs.absolute()
        self._endpoint = endpoint
        self._listeners = listeners

    def check(self, request: Mapping[str, Any]) -> None:
        """Raises ValidationException unless the image is Drydock's own, started as it comes."""
        algorithm = request["AlgorithmSpecification"]
        image = algorithm["TrainingImage"]
        if repository_name(image) != REPOSITORY:
            raise ValidationException(
                f"AlgorithmSpecification.TrainingImage {image}: the process engine runs no image but "
                f"{REPOSITORY}; start the local SageMaker with --engine docker to run it"
            )
        for field, given in (
            ("AlgorithmSpecification.ContainerEntrypoint", "ContainerEntrypoint" in algorithm),
            ("AlgorithmSpecification.ContainerArguments", "ContainerArguments" in algorithm),
            ("EnableNetworkIsolation", request.get("EnableNetworkIsolation", False)),
        ):
            if given:
                raise ValidationException(
                    f"{field}: the process engine has no container to apply it to; "
                    "remove it or start the local SageMaker with --engine docker"
                )

    def create(self, spec: HostSpec, check: Callable[[], None]) -> "ProcessHost":
        check()
        return ProcessHost(spec, folder=self._folder(spec), endpoint=self._endpoint)

    def find(self, spec: HostSpec) -> "ProcessHost | None":
        folder = self._folder(spec)
        if keeper.read_status(folder / CONTROL) is None:
            return None
        endpoint = (folder / CONTROL / _ENDPOINT_FILE).read_text(encoding="utf-8")
        notes: tuple[str, ...] = ()
        if endpoint != self._endpoint:
            # Its program knows the address of the service that died: that one answers again.
            port = int(endpoint.rpartition(":")[2])
            try:
                reached = self._listeners.open(_LOOPBACK, port) == port
            except OSError:
                reached = False
            if not reached:
                notes = (f"{endpoint} is taken by another program: this job cannot reach the service there",)
        return ProcessHost.adopt(spec, folder=folder, endpoint=endpoint, notes=notes)

    def sweep(self, keep: Collection[str] = ()) -> None:
        """Kills processes whose tree lies below this home, and removes the trees."""
        kept = [self._jobs / name for name in keep]
        spared = {pid for folder in kept for pid in marked(folder)}
        kill_marked(self._jobs, spare=spared.__contains__)
        for folder in self._jobs.iterdir() if self._jobs.is_dir() else ():
            if folder not in kept:
                remove_tree(folder)

    def close(self) -> None:
        """Nothing is held."""

    def _folder(self, spec: HostSpec) -> Path:
        return self._jobs / spec.job_name / spec.host_name


class ProcessHost:
    """One program with its keeper; `folder` is its own and goes with it."""

    def __init__(self, spec: HostSpec, *, folder: Path, endpoint: str) -> None:
        no_gpu = spec.wants_gpu and not _GPU_DEVICE.exists()
        self.notes: tuple[str, ...] = (
            ("the instance type has a GPU, this machine has none: it runs without",) if no_gpu else ()
        )
        self._folder = folder
        self._base = folder / "ml"
        self._control = folder / CONTROL
        self._spec = spec
        self._endpoint = endpoint
        self._keeper: _OwnKeeper | _FoundKeeper | None = None
        self._ended = (
            threading.Event()
        )  # nothing of the host lives: its numbers may be a stranger's from now on
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)
        }
        self._environment = {
            **inherited,
            **connection_variables(str(self._base), endpoint),
            "PYTHONUNBUFFERED": "1",  # as in the image: a line is in the log when it is printed
            **spec.environment,
            BASE_DIR_VARIABLE: str(self._base),
            "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit then looks up no host name
        }

    @classmethod
    def adopt(cls, spec: HostSpec, *, folder: Path, endpoint: str, notes: tuple[str, ...]) -> "ProcessHost":
        """A host that was started by a service that is gone."""
        host = cls(spec, folder=folder, endpoint=endpoint)
        host.notes = notes
        host._keeper = _FoundKeeper(host._control, host._base)
        return host

    def fill(self, files: Iterable[InputFile], check: Callable[[], None]) -> None:
        remove_tree(self._folder)
        self._control.mkdir(parents=True)
        for directory in self._spec.directories:
            (self._base / directory).mkdir(parents=True, exist_ok=True)
        for folder in self._spec.folders:
            link_tree(folder, self._base, check)
        for file in files:
            check()
            target = self._base / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _size, source = file.open()
            with source, target.open("xb") as copy:
                for chunk in read_chunks(source, check):
                    copy.write(chunk)

    def start(self) -> None:
        (self._control / _ENDPOINT_FILE).write_text(self._endpoint, encoding="utf-8")
        keeper.prepare(self._control)
        try:
            process = subprocess.Popen(
                [*_KEEPER, str(self._control), *COMMAND, *self._spec.arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise HostError(f"InternalServerError: cannot start {_KEEPER[0]}: {error}") from error
        self._keeper = _OwnKeeper(process)

    def output(self, skip: Mapping[int, int]) -> Generator[tuple[int, bytes]]:
        yield from skipped(self._kept_output(), skip)

    def _kept_output(self) -> Iterator[tuple[int, bytes]]:
        with (self._control / keeper.JOURNAL).open("rb") as journal:
            while True:
                # Asked first: what is then read is all that there is.
                ended = self._ended.is_set()
                yield from _frames(journal)
                if ended:
                    return
                self._ended.wait(_POLL_SECONDS)

    def wait(self) -> HostExit:
        assert self._keeper is not None
        code = self._keeper.wait()
        if not self._ended.is_set():
            # A container's processes end with its first one; those that left its group are found by the
            # tree in their environment.
            kill_marked(self._base)
            self._ended.set()
        status = keeper.read_status(self._control)
        if status is not None and status[1] == keeper.FULL:
            raise HostError(f"{DISK_FULL}: what the program printed cannot be kept in {self._folder}")
        if code is None:
            raise HostError("InternalServerError: the training program vanished, and its keeper with it")
        return HostExit(code=code if code >= 0 else 128 - code)

    def terminate(self) -> None:
        if self._keeper is not None and not self._ended.is_set():
            self._keeper.signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._keeper is not None and not self._ended.is_set():
            # The keeper stays for a moment, and keeps what was printed last.
            pid = self._keeper.pid
            if pid is not None:
                kill_trees([pid], spare=pid)
            kill_marked(self._base, spare=lambda found: found == pid)

    def read(self, path: PurePosixPath, limit: int) -> bytes | None:
        try:
            descriptor = os.open(self._base / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None  # absent, a link, or a folder of that name: no regular file all the same
        with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor, not a path
            return file.read(limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None

    def entries(self, folder: PurePosixPath) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        root = self._base / folder
        if root.is_dir() and not root.is_symlink():
            yield from folder_entries(root, inside=PurePosixPath("/opt/ml") / folder)

    def remove(self) -> None:
        self.kill()
        if self._keeper is not None:
            with contextlib.suppress(HostError):  # how it ended matters to nobody any more
                self.wait()
        remove_tree(self._folder)
        # The job's folder holds one folder a host; the last one takes it along.
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()


class _OwnKeeper:
    """A keeper that this service started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process.poll() is None else None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int | None:
        """The program's exit code, once all that it printed is kept; None where nobody knows it."""
        return self._process.wait()


class _FoundKeeper:
    """A keeper that an earlier service started, and that may have ended since."""

    def __init__(self, control: Path, base: Path) -> None:
        self._control = control
        self._descriptor: int | None = None
        status = keeper.read_status(control)
        assert status is not None
        self._pid = status[0]
        if status[1] == keeper.RUNNING:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(self._pid)
                # The number may be a stranger's by now.
                if self._pid in marked(base):
                    self._descriptor = descriptor
                else:
                    os.close(descriptor)

    @property
    def pid(self) -> int | None:
        return self._pid if self._running(timeout=0) else None

    def signal(self, number: int) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def wait(self) -> int | None:
        """As _OwnKeeper has it."""
        self._running(timeout=None)
        status = keeper.read_status(self._control)
        return status[2] if status is not None and status[1] != keeper.RUNNING else None

    def _running(self, *, timeout: float | None) -> bool:
        if self._descriptor is None:
            return False
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return not poll.poll(timeout)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _frames(journal: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The whole frames from here on; the place is then behind the last of them."""
    while True:
        begin = journal.tell()
        head = journal.read(keeper.FRAME.size)
        if len(head) == keeper.FRAME.size:
            stream, length = keeper.FRAME.unpack(head)
            data = journal.read(length)
            if len(data) == length:
                yield stream, data
                continue
        journal.seek(begin)
        return
