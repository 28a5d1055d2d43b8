"""What an engine is: the thing that starts the hosts of a job.

An Engine is `docker` (a container a host) or `process` (a process group a host). A Host lives through
`fill`, `start`, `output` and `wait`, then `read` and `entries`, then `remove`; every step may be the
last one, so `remove` works after any of them. A host whose program was started outlives the service:
`Engine.find` takes it over, and its `output` can be read again from any place.
"""

import io
import os
import tarfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Protocol

CHUNK_BYTES = 1 << 20
STDOUT, STDERR = 1, 2
CREDENTIALS_FILE = PurePosixPath("input/config/.aws-credentials")
# Not ours to mend by another try: the beginning of such a FailureReason.
DISK_FULL = "ClientError: this machine's disk is full"
ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
# boto3 wants some keys before it sends anything; these mean nothing anywhere.
DUMMY_CREDENTIALS = b"[default]\naws_access_key_id = drydock\naws_secret_access_key = drydock\n"


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One file of the `/opt/ml` tree, made before the host starts."""

    path: PurePosixPath  # below the tree's base
    open: Callable[[], tuple[int, BinaryIO]]  # size in bytes, and the bytes

    @classmethod
    def from_bytes(cls, path: PurePosixPath, content: bytes) -> "InputFile":
        return cls(path=path, open=lambda: (len(content), io.BytesIO(content)))


@dataclass(frozen=True, kw_only=True)
class InputFolder:
    """A folder of the user's own that a host reads in place and must not change."""

    path: PurePosixPath  # below the tree's base
    source: Path  # absolute


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """One host of a job, before it exists."""

    job_name: str
    host_name: str  # `algo-1`
    image: str  # as in the request
    entrypoint: tuple[str, ...]  # empty: the image's own
    arguments: tuple[str, ...]  # what follows the entrypoint; `train` unless the request says otherwise
    environment: Mapping[str, str]
    directories: tuple[PurePosixPath, ...]  # made empty below the tree's base
    folders: tuple[InputFolder, ...]
    wants_gpu: bool  # the instance type has one
    isolated: bool = False  # its network has the job's own hosts and nothing else


@dataclass(frozen=True, kw_only=True)
class HostExit:
    """How a host's program ended."""

    code: int  # 128 + N after signal N
    out_of_memory: bool = False  # the kernel said so


class Host(Protocol):
    """One container or process of a job."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should read in the job's log."""

    def fill(self, files: Iterable[InputFile], check: Callable[[], None]) -> None:
        """Writes the tree; `check` is called between pieces, and raises to end it."""

    def start(self) -> None:
        """Starts the program."""

    def output(self, skip: Mapping[int, int]) -> Generator[tuple[int, bytes]]:
        """What comes from STDOUT and STDERR, to the end of both; iterate it in a thread of its own.

        Apart, because each may hand over half a line. `skip` is how many bytes of each were read before.
        """

    def wait(self) -> HostExit:
        """Blocks until the program, and all that it started, is gone."""

    def terminate(self) -> None:
        """SIGTERM to the program. No error when it has ended."""

    def kill(self) -> None:
        """SIGKILL to everything in the host. No error when it has ended."""

    def read(self, path: PurePosixPath, limit: int) -> bytes | None:
        """The first `limit` bytes of a regular file of the tree; None where there is none."""

    def entries(self, folder: PurePosixPath) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        """What a folder of the tree holds, names relative to it; each file must be read before the next."""

    def remove(self) -> None:
        """Removes the host and everything it left on this machine; works after any step, and twice."""


class Engine(Protocol):
    """Starts hosts."""

    name: str

    def check(self, request: Mapping[str, Any]) -> None:
        """Raises ValidationException for a CreateTrainingJob request that this engine cannot run."""

    def create(self, spec: HostSpec, check: Callable[[], None]) -> Host:
        """Makes a host, not started; pulls its image if need be, calling `check` meanwhile.

        Raises HostError.
        """

    def find(self, spec: HostSpec) -> Host | None:
        """The host that an earlier service left; None where there is none, or its program was not started.

        Raises HostError.
        """

    def sweep(self, keep: Collection[str] = ()) -> None:
        """Removes what an earlier service left of hosts of this home, but for those of the jobs `keep`."""

    def close(self) -> None:
        """Gives back the engine's connections."""


class Listeners(Protocol):
    """The service's further addresses: containers cannot reach its loopback."""

    def open(self, address: str, port: int | None = None) -> int:
        """Listens on an IP address of this machine too; returns the port, `port` if that is free.

        Raises OSError.
        """

    def close(self, address: str) -> None:
        """Stops listening there."""


class EngineUnavailableError(Exception):
    """The engine does not work on this machine; the message says why, in one line."""


class HostError(Exception):
    """A host could not be made or started; the message is the FailureReason, prefix included."""


def connection_variables(base: str, endpoint: str) -> dict[str, str]:
    """Lets AWS's clients in a host reach the local SageMaker, and nothing but it.

    `base` is the tree's base as the host sees it. The credentials file is the dummy one of the tree:
    keys of the user's own are neither in the environment nor found by default.
    """
    return {
        ENDPOINT_VARIABLE: endpoint,
        "AWS_SHARED_CREDENTIALS_FILE": f"{base}/{CREDENTIALS_FILE}",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def read_chunks(file: BinaryIO, check: Callable[[], None]) -> Iterator[bytes]:
    """The rest of a file in pieces of at most CHUNK_BYTES."""
    while chunk := file.read(CHUNK_BYTES):
        check()
        yield chunk


def skipped(pieces: Iterable[tuple[int, bytes]], skip: Mapping[int, int]) -> Iterator[tuple[int, bytes]]:
    """The output of a host without the first `skip` bytes of each stream."""
    left = dict(skip)
    for stream, data in pieces:
        passed = min(left.get(stream, 0), len(data))
        left[stream] = left.get(stream, 0) - passed
        if passed < len(data):
            yield stream, data[passed:]
