"""The process engine: a host is a process group in the project's own environment, its tree a folder.

For machines without Docker. It runs the program that Drydock's own training image holds, so it takes
that image only, by its repository name.
"""

import contextlib
import os
import selectors
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from drydock.contract import BASE_DIR_VARIABLE
from local_mode.engines.base import (
    STDERR,
    STDOUT,
    HostError,
    HostExit,
    HostSpec,
    InputFile,
    connection_variables,
    read_chunks,
)
from local_mode.engines.folders import folder_entries, link_tree, remove_tree
from local_mode.engines.images import repository_name
from local_mode.engines.processes import kill_marked, kill_trees
from local_mode.errors import ValidationException

REPOSITORY = "drydock-train"
# -P: a folder of the job's is no place to import from.
COMMAND = (sys.executable, "-P", "-m", "drydock.training.entrypoint")
_GPU_DEVICE = Path("/dev/nvidiactl")
# Not inherited: they would reach another AWS, or another job's tree.
FOREIGN_PREFIXES = ("AWS_", "SAGEMAKER_", "SM_", "TRAINING_JOB_", "DRYDOCK_", "PYTHONPATH", "PYTHONHOME")


class ProcessEngine:
    """Hosts as processes; their folders lie below `jobs` (`Home.jobs`)."""

    name = "process"

    def __init__(self, *, jobs: Path, endpoint: str) -> None:
        self._jobs = jobs.absolute()
        self._endpoint = endpoint

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
        return ProcessHost(spec, folder=self._jobs / spec.job_name / spec.host_name, endpoint=self._endpoint)

    def sweep(self) -> None:
        """Kills processes whose tree lies below this home, and removes the trees."""
        kill_marked(self._jobs)
        for folder in self._jobs.iterdir() if self._jobs.is_dir() else ():
            remove_tree(folder)

    def close(self) -> None:
        """Nothing is held."""


class ProcessHost:
    """One process group; `folder` is its own and goes with it."""

    def __init__(self, spec: HostSpec, *, folder: Path, endpoint: str) -> None:
        no_gpu = spec.wants_gpu and not _GPU_DEVICE.exists()
        self.notes = (
            ("the instance type has a GPU, this machine has none: it runs without",) if no_gpu else ()
        )
        self._folder = folder
        self._base = folder / "ml"
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = False  # nothing of the group lives: its number may be a stranger's from now on
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

    def fill(self, files: Iterable[InputFile], check: Callable[[], None]) -> None:
        remove_tree(self._folder)
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
        try:
            self._process = subprocess.Popen(
                [*COMMAND, *self._spec.arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise HostError(f"InternalServerError: cannot start {COMMAND[0]}: {error}") from error

    def output(self) -> Iterator[tuple[int, bytes]]:
        assert self._process is not None
        streams = {STDOUT: self._process.stdout, STDERR: self._process.stderr}
        with contextlib.ExitStack() as open_streams, selectors.DefaultSelector() as selector:
            for number, stream in streams.items():
                assert stream is not None
                selector.register(open_streams.enter_context(stream), selectors.EVENT_READ, number)
            while selector.get_map():
                # Where both have something, what was printed comes before what was complained of.
                for key, _events in sorted(selector.select(), key=lambda ready: int(ready[0].data)):
                    chunk = os.read(key.fd, 65536)
                    if chunk:
                        yield key.data, chunk
                    else:
                        selector.unregister(key.fileobj)

    def wait(self) -> HostExit:
        assert self._process is not None
        code = self._process.wait()
        if self._gone:
            return HostExit(code=code if code >= 0 else 128 - code)
        # A container's processes end with its first one; whoever is left here also holds the log open.
        self._kill_rest()
        self._gone = True
        return HostExit(code=code if code >= 0 else 128 - code)

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None and not self._gone:
            kill_trees([self._process.pid])
            self._kill_rest()

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
        if self._process is not None:
            self.wait()
        remove_tree(self._folder)
        # The job's folder holds one folder a host; the last one takes it along.
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()

    def _kill_rest(self) -> None:
        assert self._process is not None
        # Members that left the group are found by the tree in their environment.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        kill_marked(self._base)
