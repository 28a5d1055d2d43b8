"""The docker engine: a host is a container with a volume at /opt/ml and a network of its job's own.

Files go in and out by Docker's archive API, so the daemon may be another user's or on another disk,
and nothing on this machine ends owned by root. Everything made carries two labels, the home and the
job, by which a later service finds what this one left.
"""

import contextlib
import hashlib
import http
import os
import struct
import tarfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import docker
import docker.errors
import docker.types
import requests.exceptions
from docker import utils as docker_utils
from docker.models.containers import Container
from docker.models.networks import Network

from drydock.contract import DEFAULT_BASE_DIR
from local_mode.engines.base import (
    ENDPOINT_VARIABLE,
    STDERR,
    STDOUT,
    EngineUnavailableError,
    HostError,
    HostExit,
    HostSpec,
    InputFile,
    Listeners,
    connection_variables,
    skipped,
)
from local_mode.engines.images import local_names, repository_name
from local_mode.engines.tars import read_tar_stream, tar_stream, without_top
from local_mode.errors import ValidationException

if TYPE_CHECKING:
    from docker.types import CancellableStream

HOME_LABEL, JOB_LABEL = "drydock.home", "drydock.job"
UNIX_SCHEME, DEFAULT_HOST = "unix://", "unix:///var/run/docker.sock"
_CONNECT_SECONDS = 2
_REMOVAL_SECONDS = 15
_POLL_SECONDS = 0.05
_CALL_SECONDS = 120  # of one call to the daemon; streams and waits have no limit
# The daemon's copy of the log is what a later service reads on from, so it has no limit; it goes with
# the container. `local` keeps bytes as they are, `json-file` only text.
_LOG_OPTIONS = {"max-size": "1000g", "max-file": "1", "compress": "false"}
_FRAME = struct.Struct(">BxxxL")  # stream and length: https://docs.docker.com/reference/api/engine/ (attach)
_LOG_PIECE_BYTES = 16384
# No way out of the network, and no address of this machine in it.
_ISOLATED = {"com.docker.network.bridge.inhibit_ipv4": "true"}
_DOCKER_ERRORS = (docker.errors.DockerException, requests.exceptions.RequestException)


class DockerEngine:
    """Hosts as containers of the Docker daemon that the environment names (DOCKER_HOST)."""

    name = "docker"

    def __init__(
        self, client: docker.DockerClient, *, home: Path, listeners: Listeners, information: Mapping[str, Any]
    ) -> None:
        self._client = client
        self._listeners = listeners
        self._home = str(home)
        self.version: str = information["ServerVersion"]
        self._has_gpu = "nvidia" in information.get("Runtimes", {})
        # What a tmpfs has by default; Docker's 64 MiB kill DataLoader workers.
        self._shm_bytes = max(information["MemTotal"] // 2, 64 << 20)

    @classmethod
    def connect(cls, *, home: Path, listeners: Listeners) -> "DockerEngine":
        """Raises EngineUnavailableError where no daemon answers within two seconds."""
        information = cls.probe()
        client = docker.DockerClient.from_env(timeout=_CALL_SECONDS)
        return cls(client, home=home, listeners=listeners, information=information)

    @staticmethod
    def probe() -> Mapping[str, Any]:
        """What the daemon says about itself.

        Raises EngineUnavailableError where none answers within two seconds.
        """
        # Said better than the SDK does, which also leaves the socket that it tried open.
        host = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        if host.startswith(UNIX_SCHEME) and not Path(host.removeprefix(UNIX_SCHEME)).exists():
            raise EngineUnavailableError(f"there is no socket {host.removeprefix(UNIX_SCHEME)}")
        try:
            with contextlib.closing(docker.DockerClient.from_env(timeout=_CONNECT_SECONDS)) as client:
                information: Mapping[str, Any] = client.info()
        except _DOCKER_ERRORS as error:
            raise EngineUnavailableError(_one_line(error)) from error
        return information

    def check(self, request: Mapping[str, Any]) -> None:
        """Raises ValidationException for an image that is neither here nor in a registry that answers."""
        image = request["AlgorithmSpecification"]["TrainingImage"]
        if self._local_image(image) is not None:
            return
        try:
            self._client.images.get_registry_data(image)
        except _DOCKER_ERRORS as error:
            hint = (
                "build it: make build"
                if repository_name(image).startswith("drydock-")
                else "build it (docker build -t NAME:TAG), or log in to its registry (docker login)"
            )
            raise ValidationException(
                f"AlgorithmSpecification.TrainingImage {image}: no such image on this machine, and it cannot "
                f"be pulled ({_one_line(error)}); {hint}"
            ) from error

    def create(self, spec: HostSpec, check: Callable[[], None]) -> "DockerHost":
        check()
        labels = {HOME_LABEL: self._home, JOB_LABEL: spec.job_name}
        prefix = self._prefix(spec)
        with contextlib.ExitStack() as cleanup:
            try:
                image = self._local_image(spec.image) or self._pull(spec.image, check)
                network = self._client.networks.create(
                    prefix,
                    driver="bridge",
                    labels=labels,
                    check_duplicate=True,
                    internal=spec.isolated,
                    options=_ISOLATED if spec.isolated else None,
                )
                cleanup.callback(_quietly, network.remove)
                connection = {} if spec.isolated else self._connect(network, cleanup)
                volume = self._client.volumes.create(f"{prefix}-{spec.host_name}", labels=labels)
                cleanup.callback(_quietly, volume.remove, force=True)
                container = self._client.containers.create(
                    image,
                    command=list(spec.arguments),
                    entrypoint=list(spec.entrypoint) or None,
                    name=f"{prefix}-{spec.host_name}",
                    hostname=spec.host_name,
                    environment={**connection, **spec.environment},
                    labels=labels,
                    network=prefix,
                    networking_config={
                        prefix: self._client.api.create_endpoint_config(aliases=[spec.host_name])
                    },
                    mounts=_mounts(spec, volume.name),
                    security_opt=["no-new-privileges"],
                    shm_size=self._shm_bytes,
                    device_requests=self._device_requests(spec),
                    log_config=docker.types.LogConfig(type="local", config=_LOG_OPTIONS),
                )
                cleanup.callback(_quietly, container.remove, force=True, v=True)
            except _DOCKER_ERRORS as error:
                raise HostError(f"InternalServerError: Docker: {_one_line(error)}") from error
            notes: tuple[str, ...] = ()
            if spec.wants_gpu and not self._has_gpu:
                notes = ("the instance type has a GPU, this Docker has no nvidia runtime: it runs without",)
            return DockerHost(container, spec, network=network, notes=notes, cleanup=cleanup.pop_all())

    def find(self, spec: HostSpec) -> "DockerHost | None":
        prefix = self._prefix(spec)
        with contextlib.ExitStack() as cleanup, _docker_errors("cannot take the container over"):
            try:
                container = self._client.containers.get(f"{prefix}-{spec.host_name}")
            except docker.errors.NotFound:
                return None
            if container.status == "created":
                return None
            notes: tuple[str, ...] = ()
            network: Network | None = None
            with contextlib.suppress(docker.errors.NotFound):  # it goes once the program has ended
                network = self._client.networks.get(prefix)
            if network is not None:
                cleanup.callback(_quietly, network.remove)
                if not spec.isolated:
                    notes = self._answer_again(container, network, cleanup)
            volume = self._client.volumes.get(f"{prefix}-{spec.host_name}")
            cleanup.callback(_quietly, volume.remove, force=True)
            cleanup.callback(_quietly, container.remove, force=True, v=True)
            return DockerHost(container, spec, network=network, notes=notes, cleanup=cleanup.pop_all())

    def sweep(self, keep: Collection[str] = ()) -> None:
        """Removes containers, volumes and networks of this home."""
        mine: dict[str, str | list[str] | bool] = {"label": f"{HOME_LABEL}={self._home}"}
        for container in self._client.containers.list(all=True, filters=mine, ignore_removed=True):
            if container.labels.get(JOB_LABEL) not in keep:
                _quietly(container.remove, force=True, v=True)
        for volume in self._client.volumes.list(filters=mine):
            if volume.attrs["Labels"].get(JOB_LABEL) not in keep:
                _quietly(volume.remove, force=True)
        for network in self._client.networks.list(filters=mine):
            if network.attrs["Labels"].get(JOB_LABEL) not in keep:
                _quietly(network.remove)

    def close(self) -> None:
        self._client.close()

    def _prefix(self, spec: HostSpec) -> str:
        """Of all names of a job's things: two homes may have jobs of one name."""
        return f"drydock-{hashlib.sha256(self._home.encode()).hexdigest()[:8]}-{spec.job_name}"

    def _answer_again(
        self, container: Container, network: Network, cleanup: contextlib.ExitStack
    ) -> tuple[str, ...]:
        """Listens where the container's program looks for the service; returns what the user should know."""
        gateway = _gateway(network)
        variables = dict(entry.partition("=")[::2] for entry in container.attrs["Config"]["Env"])
        wanted = urllib.parse.urlsplit(variables.get(ENDPOINT_VARIABLE, ""))
        port = wanted.port if wanted.hostname == gateway else None
        try:
            reached = self._listeners.open(gateway, port)
        except OSError as error:
            # The address is there as long as the container runs.
            return () if container.status == "exited" else (f"cannot listen on the job's network: {error}",)
        cleanup.callback(self._listeners.close, gateway)
        if port not in {None, reached}:
            return (f"port {port} is taken: this job cannot reach the service at {wanted.geturl()}",)
        return ()

    def _local_image(self, reference: str) -> str | None:
        for name in local_names(reference):
            with contextlib.suppress(docker.errors.ImageNotFound, docker.errors.NullResource):
                return str(self._client.images.get(name).id)
        return None

    def _pull(self, reference: str, check: Callable[[], None]) -> str:
        repository, tag = docker_utils.parse_repository_tag(reference)
        failed = f"ClientError: cannot pull the training image {reference}"
        try:
            for line in self._client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
                check()
                if "error" in line:
                    raise HostError(f"{failed}: {line['error']}")
            return str(self._client.images.get(reference).id)
        except docker.errors.APIError as error:
            raise HostError(f"{failed}: {_one_line(error)}") from error

    def _connect(self, network: Network, cleanup: contextlib.ExitStack) -> dict[str, str]:
        """Has the service listen on the job's network; the variables by which its hosts find it."""
        network.reload()
        gateway = _gateway(network)
        try:
            port = self._listeners.open(gateway)
        except OSError as error:
            raise HostError(
                f"InternalServerError: cannot listen on the job's network {gateway}: {error}"
            ) from error
        cleanup.callback(self._listeners.close, gateway)
        return connection_variables(DEFAULT_BASE_DIR, f"http://{gateway}:{port}")

    def _device_requests(self, spec: HostSpec) -> list[docker.types.DeviceRequest] | None:
        if not (spec.wants_gpu and self._has_gpu):
            return None
        return [docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])]


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
        self._disconnect = threading.Thread(target=_remove_early, args=(network,), daemon=True)
        self._container = container
        self._spec = spec
        self._cleanup = cleanup
        self._attached: CancellableStream[tuple[bytes | None, bytes | None]] | None = None

    def fill(self, files: Iterable[InputFile], check: Callable[[], None]) -> None:
        """Streams one archive into the volume; no file is held in memory."""
        base = PurePosixPath(DEFAULT_BASE_DIR)
        stream = tar_stream(base.name, self._spec.directories, files, check)
        with _docker_errors(f"cannot fill {base}"):
            # Its parent: Docker leaves the mode of the folder alone that it unpacks into.
            self._container.put_archive(str(base.parent), stream)

    def start(self) -> None:
        with _docker_errors("cannot start the container"), self._image_errors():
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
            _docker_errors("cannot read the container's log"),
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
        with _docker_errors("cannot wait for the container"):
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
        with _docker_errors("cannot remove the container"):
            self._cleanup.close()

    def _archive(self, path: PurePosixPath) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        with _docker_errors(f"cannot read {DEFAULT_BASE_DIR}/{path}"):
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
            text = _one_line(error)
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
                raise HostError(f"InternalServerError: Docker: {_one_line(error)}") from error


def _gateway(network: Network) -> str:
    gateway: str = network.attrs["IPAM"]["Config"][0]["Gateway"].partition("/")[0]
    return gateway


def _mounts(spec: HostSpec, volume: str) -> list[docker.types.Mount]:
    return [
        docker.types.Mount(DEFAULT_BASE_DIR, volume, type="volume", no_copy=True),
        *(
            docker.types.Mount(
                f"{DEFAULT_BASE_DIR}/{folder.path}", str(folder.source), type="bind", read_only=True
            )
            for folder in spec.folders
        ),
    ]


@contextlib.contextmanager
def _docker_errors(what: str) -> Iterator[None]:
    try:
        yield
    except _DOCKER_ERRORS as error:
        raise HostError(f"InternalServerError: Docker: {what}: {_one_line(error)}") from error


def _quietly(remove: Callable[..., Any], **options: Any) -> None:
    """Removes what may be going already.

    Someone else's `docker rm` holds a container, its volume and its network until it is through: a conflict
    is waited out.
    """
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while True:
        try:
            remove(**options)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            conflict = error.status_code in {http.HTTPStatus.CONFLICT, http.HTTPStatus.FORBIDDEN}
            if not conflict or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def _remove_early(network: Network | None) -> None:
    """What fails here is tried again, and told, when the host is removed."""
    if network is not None:
        with contextlib.suppress(*_DOCKER_ERRORS):
            network.remove()


def _one_line(error: Exception) -> str:
    text = getattr(error, "explanation", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")
