"""One suite on every engine: the fixtures that start a service on each."""

import contextlib
import gc
import os
import warnings
from collections.abc import Iterator

import pytest

from tests.engines.harness import IMAGE, LocalSageMaker, local_sagemaker
from tests.engines.images import Images

REQUIRED = os.environ.get("DRYDOCK_REQUIRE_DOCKER") == "1"


def docker_problem(image: str | None) -> str | None:
    """Why the docker engine cannot be tested here; None when it can."""
    with warnings.catch_warnings():
        # The docker SDK leaves the socket of a connection that failed to the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        problem = _ask_docker(image)
        gc.collect()
    return problem


def _ask_docker(image: str | None) -> str | None:
    import docker  # noqa: PLC0415  an optional part

    try:
        with contextlib.closing(docker.DockerClient.from_env(timeout=5)) as client:
            if image is not None and not client.images.list(image):
                return f"no image {image}: make build"
    except docker.errors.DockerException as error:
        return f"no Docker engine answers: {error}"
    return None


def need_docker(image: str | None = None) -> None:
    """Skips the test with its reason, or fails it where DRYDOCK_REQUIRE_DOCKER=1."""
    problem = docker_problem(image)
    if problem is not None:
        (pytest.fail if REQUIRED else pytest.skip)(problem)


@pytest.fixture(scope="session", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "docker":
        need_docker(IMAGE)
    return str(request.param)


@pytest.fixture(scope="session")
def service(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSageMaker]:
    """A service that the tests of one engine share; each test's jobs have names of their own."""
    home = tmp_path_factory.mktemp(f"home-{engine}")
    with local_sagemaker(engine, home) as running:
        yield running
    assert running.leftovers() == []


@pytest.fixture(scope="session")
def docker_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSageMaker]:
    """The docker engine alone, without the training image."""
    need_docker()
    with local_sagemaker("docker", tmp_path_factory.mktemp("home-images")) as running:
        yield running
    assert running.leftovers() == []


@pytest.fixture(scope="module")
def images(docker_service: LocalSageMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """Images of the test's own, removed after its module."""
    import docker  # noqa: PLC0415  an optional part

    with contextlib.closing(docker.DockerClient.from_env()) as client:
        built = Images(client, tmp_path_factory.mktemp("images"))
        yield built
        built.remove()
