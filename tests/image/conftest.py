"""What the tests of the image share: a docker client, the built image, the scripts as modules."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
IMAGE = "drydock-train:latest"


def skip_or_fail(reason: str) -> None:
    """Skip, but where CI says that Docker must be there."""
    if os.environ.get("DRYDOCK_REQUIRE_DOCKER"):
        pytest.fail(reason)
    pytest.skip(reason)


def load(path: str) -> ModuleType:
    """A script below docker/ as a module: that folder is no package, for it would hide the docker SDK."""
    name = f"drydock_script_{Path(path).stem}"
    specification = importlib.util.spec_from_file_location(name, REPOSITORY / path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def docker_cli() -> str:
    """A docker client that builds and whose engine answers."""
    found = subprocess.run(
        ["bash", "-c", ". docker/client.sh && docker_client"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode != 0:
        skip_or_fail(found.stderr.strip())
    return found.stdout.strip()


@pytest.fixture(scope="session")
def image(docker_cli: str) -> str:
    """The training image that `make build` made."""
    found = subprocess.run(
        [docker_cli, "image", "inspect", IMAGE],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if found.returncode != 0:
        skip_or_fail(f"no image {IMAGE}: run make build")
    return IMAGE


@pytest.fixture(scope="session")
def in_image(docker_cli: str, image: str) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run a program in a fresh container of the image, without a network."""

    def run(
        *command: str, options: tuple[str, ...] = (), stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        program, *arguments = command
        return subprocess.run(
            [
                docker_cli,
                "run",
                "--rm",
                "--interactive",
                "--network=none",
                f"--entrypoint={program}",
                *options,
                image,
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    return run


@pytest.fixture(scope="session")
def registry_script() -> ModuleType:
    return load("docker/registry.py")


@pytest.fixture(scope="session")
def slim_script() -> ModuleType:
    return load("docker/train/slim.py")
