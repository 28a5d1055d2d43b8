"""One container of a job, from its creation to the end of its volume and network."""

import contextlib
import http
import struct
import tarfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

import docker
import docker.errors
import docker.types
from docker.models.containers import Container
from docker.models.networks import Network

from drydock.contract import DEFAULT_BASE_DIR
from local_mode.engines.base import (
    STDERR,
    STDOUT,
    HostError,
    HostExit,
    HostSpec,
    InputFile,
    skipped,
)
from local_mode.engines.docker_calls import DOCKER_ERRORS, docker_errors, one_line
from local_mode.engines.tars import read_tar_stream, tar_stream, without_top

if TYPE_CHECKING:
    from docker.types import CancellableStream

_FRAME = struct.Struct(">BxxxL")  # stream and length: https://docs.docker.com/reference/api/engine/ (attach)
_LOG_PIECE_BYTES = 16384


class DockerHost:
    """One container; its volume, network and listener go with it."""

    def __init__(
        self,
        container: Container,
        spec: HostSpec,
        *,
        network: Network | None,
        notes: tuple[str, ...],
        cleanup: contextlib.ExitStack,
    ) -> None:
        self.notes = notes
        # Takes the daemon a tenth of a second or two: done while the outputs are packed.
        self._disconnect = threading.Thread(target=remove_early, args=(network,), daemon=True)
        self._container = container
        self._spec = spec
        self._cleanup = cleanup
        self._attached: CancellableStream[tuple[bytes | None, bytes | None]] | None = None

    def fill(self, files: Iterable[InputFile], check: Callable[[], None]) -> None:
        """Streams one archive into the volume; no file is held in memory."""
        base = PurePosixPath(DEFAULT_BASE_DIR)
        stream = tar_stream(base.name, self._spec.directories, files, check)
        with docker_errors(f"cannot fill {base}"):
            # Its parent: Docker leaves the mode of the folder alone that it unpacks into.
            self._container.put_archive(str(base.parent), stream)

    def start(self) -> None:
        with docker_errors("cannot start the container"), self._image_errors():
            # Attached before it starts: not a line is missed.
            self._attached = self._container.attach(
                stdout=True, stderr=True, stream=True, logs=True, demux=True
            )
            self._container.start()

    def output(self, skip: Mapping[int, int]) -> Generator[tuple[int, bytes]]:
        if self._attached is None:
            yield from skipped(self._kept_output(), skip)
            return
        try:
            for stdout, stderr in self._attached:
                if stdout:
                    yield STDOUT, stdout
                if stderr:
                    yield STDERR, stderr
        except GeneratorExit:
            # Nobody takes it any more: the daemon must not wait for that.
            with contextlib.suppress(OSError, docker.errors.DockerException):
                self._attached.close()
            raise

    def _kept_output(self) -> Iterator[tuple[int, bytes]]:
        """What the daemon has kept from the start, and then what comes."""
        assert self._container.client is not None
        api = self._container.client.api
        # The SDK's own `logs` does not tell the two streams apart.
        address = f"{api.base_url}/v{api.api_version}/containers/{self._container.id}/logs"
        options = {"stdout": 1, "stderr": 1, "follow": 1}
        with (
            docker_errors("cannot read the container's log"),
            contextlib.closing(api.get(address, params=options, stream=True, timeout=None)) as reply,
        ):
            reply.raise_for_status()
            while len(head := reply.raw.read(_FRAME.size)) == _FRAME.size:
                stream, length = _FRAME.unpack(head)
                data = reply.raw.read(length)
                # A piece of a longer line has this length; where the last one ends, this driver
                # forgets the newline (moby, until 23.0).
                if length < _LOG_PIECE_BYTES and not data.endswith(b"\n"):
                    data += b"\n"
                yield stream, data

    def wait(self) -> HostExit:
        with docker_errors("cannot wait for the container"):
            status = self._container.wait(timeout=None)
            if self._disconnect.ident is None:
                self._disconnect.start()
            self._container.reload()
        return HostExit(
            code=int(status["StatusCode"]), out_of_memory=bool(self._container.attrs["State"]["OOMKilled"])
        )

    def terminate(self) -> None:
        self._signal("SIGTERM")

    def kill(self) -> None:
        self._signal("SIGKILL")

    def read(self, path: PurePosixPath, limit: int) -> bytes | None:
        found = None
        for info, content in self._archive(path):  # to its end, so that the connection is free
            if info.name == path.name and content is not None:  # not a file in a folder of that name
                found = content.read(limit)
        return found

    def entries(self, folder: PurePosixPath) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        yield from without_top(self._archive(folder), folder.name)

    def remove(self) -> None:
        """Removes all; the first error is raised after the rest has been tried."""
        if self._disconnect.ident is not None:
            self._disconnect.join()
        with docker_errors("cannot remove the container"):
            self._cleanup.close()

    def _archive(self, path: PurePosixPath) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        with docker_errors(f"cannot read {DEFAULT_BASE_DIR}/{path}"):
            try:
                chunks, _status = self._container.get_archive(f"{DEFAULT_BASE_DIR}/{path}")
            except docker.errors.NotFound:
                self._container.reload()  # raises where it is the container that is gone
                return
            yield from read_tar_stream(chunks)

    @contextlib.contextmanager
    def _image_errors(self) -> Iterator[None]:
        """What Docker says of an image that cannot start, as the user's error that it is."""
        try:
            yield
        except docker.errors.APIError as error:
            # 400 is what an image without `train` gets, and 500 one whose USER is not in its passwd file.
            text = one_line(error)
            if error.status_code != http.HTTPStatus.BAD_REQUEST and not text.startswith("unable to find "):
                raise
            # Before it stands the chain of programs that passed the error on.
            text = text.rpartition("unable to start container process: ")[2].removesuffix(": unknown")
            hint = "; a training image has an executable `train` on its PATH" if "$PATH" in text else ""
            raise HostError(
                f"ClientError: cannot start the training image {self._spec.image}: {text}{hint}"
            ) from error

    def _signal(self, name: str) -> None:
        try:
            self._container.kill(name)
        except docker.errors.APIError as error:
            if error.status_code not in {404, 409}:  # gone, or ended already
                raise HostError(f"InternalServerError: Docker: {one_line(error)}") from error


def remove_early(network: Network | None) -> None:
    """What fails here is tried again, and told, when the host is removed."""
    if network is not None:
        with contextlib.suppress(*DOCKER_ERRORS):
            network.remove()
