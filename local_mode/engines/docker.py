"""The docker engine: a host is a container with a volume at /opt/ml and a network of its job's own.

Files go in and out by Docker's archive API, so the daemon may be another user's or on another disk,
and nothing on this machine ends owned by root. Everything made carries two labels, the home and the
job, by which a later service finds what this one left.
"""

import contextlib
import hashlib
import os
import urllib.parse
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.types
from docker import utils as docker_utils
from docker.models.containers import Container
from docker.models.networks import Network

from drydock.contract import DEFAULT_BASE_DIR
from local_mode.engines.base import (
    ENDPOINT_VARIABLE,
    EngineUnavailableError,
    HostError,
    HostSpec,
    Listeners,
    connection_variables,
)
from local_mode.engines.docker_calls import DOCKER_ERRORS, docker_errors, one_line, quietly
from local_mode.engines.docker_host import DockerHost
from local_mode.engines.images import local_names, repository_name
from local_mode.errors import ValidationException

HOME_LABEL, JOB_LABEL = "drydock.home", "drydock.job"
UNIX_SCHEME, DEFAULT_HOST = "unix://", "unix:///var/run/docker.sock"
_CONNECT_SECONDS = 2
_CALL_SECONDS = 120  # of one call to the daemon; streams and waits have no limit
# The daemon's copy of the log is what a later service reads on from, so it has no limit; it goes with
# the container. `local` keeps bytes as they are, `json-file` only text.
_LOG_OPTIONS = {"max-size": "1000g", "max-file": "1", "compress": "false"}
# No way out of the network, and no address of this machine in it.
_ISOLATED = {"com.docker.network.bridge.inhibit_ipv4": "true"}


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
        except DOCKER_ERRORS as error:
            raise EngineUnavailableError(one_line(error)) from error
        return information

    def check(self, request: Mapping[str, Any]) -> None:
        """Raises ValidationException for an image that is neither here nor in a registry that answers."""
        image = request["AlgorithmSpecification"]["TrainingImage"]
        if self._local_image(image) is not None:
            return
        try:
            self._client.images.get_registry_data(image)
        except DOCKER_ERRORS as error:
            hint = (
                "build it: make build"
                if repository_name(image).startswith("drydock-")
                else "build it (docker build -t NAME:TAG), or log in to its registry (docker login)"
            )
            raise ValidationException(
                f"AlgorithmSpecification.TrainingImage {image}: no such image on this machine, and it cannot "
                f"be pulled ({one_line(error)}); {hint}"
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
                cleanup.callback(quietly, network.remove)
                connection = {} if spec.isolated else self._connect(network, cleanup)
                volume = self._client.volumes.create(f"{prefix}-{spec.host_name}", labels=labels)
                cleanup.callback(quietly, volume.remove, force=True)
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
                cleanup.callback(quietly, container.remove, force=True, v=True)
            except DOCKER_ERRORS as error:
                raise HostError(f"InternalServerError: Docker: {one_line(error)}") from error
            notes: tuple[str, ...] = ()
            if spec.wants_gpu and not self._has_gpu:
                notes = ("the instance type has a GPU, this Docker has no nvidia runtime: it runs without",)
            return DockerHost(container, spec, network=network, notes=notes, cleanup=cleanup.pop_all())

    def find(self, spec: HostSpec) -> "DockerHost | None":
        prefix = self._prefix(spec)
        with contextlib.ExitStack() as cleanup, docker_errors("cannot take the container over"):
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
                cleanup.callback(quietly, network.remove)
                if not spec.isolated:
                    notes = self._answer_again(container, network, cleanup)
            volume = self._client.volumes.get(f"{prefix}-{spec.host_name}")
            cleanup.callback(quietly, volume.remove, force=True)
            cleanup.callback(quietly, container.remove, force=True, v=True)
            return DockerHost(container, spec, network=network, notes=notes, cleanup=cleanup.pop_all())

    def sweep(self, keep: Collection[str] = ()) -> None:
        """Removes containers, volumes and networks of this home."""
        mine: dict[str, str | list[str] | bool] = {"label": f"{HOME_LABEL}={self._home}"}
        for container in self._client.containers.list(all=True, filters=mine, ignore_removed=True):
            if container.labels.get(JOB_LABEL) not in keep:
                quietly(container.remove, force=True, v=True)
        for volume in self._client.volumes.list(filters=mine):
            if volume.attrs["Labels"].get(JOB_LABEL) not in keep:
                quietly(volume.remove, force=True)
        for network in self._client.networks.list(filters=mine):
            if network.attrs["Labels"].get(JOB_LABEL) not in keep:
                quietly(network.remove)

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
            raise HostError(f"{failed}: {one_line(error)}") from error

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
