"""The other way round: SDK 2's own local mode (docker-compose) runs our image."""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.harness import IMAGE, QUICK, Client
from tests.engines.conftest import need_docker

_NETWORK = "sagemaker-local"


@pytest.fixture
def compose(tmp_path: Path) -> Iterator[None]:
    """A docker-compose; afterwards what the SDK leaves of it is removed."""
    need_docker(IMAGE)
    if shutil.which("docker-compose") is None or shutil.which("docker") is None:
        required = os.environ.get("DRYDOCK_REQUIRE_CLIENTS") == "1"
        (pytest.fail if required else pytest.skip)("no docker-compose: install it (Debian: docker-compose)")
    networks = docker("network", "ls", "--format", "{{.Name}}").split()
    yield
    listed = docker(
        "ps", "--all", "--format", '{{.ID}} {{.Label "com.docker.compose.project.working_dir"}}'
    ).splitlines()
    if mine := [line.split()[0] for line in listed if str(tmp_path) in line]:
        docker("rm", "--force", *mine)
    if _NETWORK not in networks:
        docker("network", "rm", _NETWORK)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.usefixtures("compose")
def test_local_mode_runs_our_image(client_alone: Callable[[str], Client], data: Path, tmp_path: Path) -> None:
    """`instance_type="local"` trains to a model.tar.gz that holds our artifact."""
    for folder in ("root", "output"):
        (tmp_path / folder).mkdir()
    found = client_alone("sagemaker2").script(
        "sagemaker2_local",
        image=IMAGE,
        hyperparameters=QUICK,
        channels={name: str(data / name) for name in ("train", "validation", "test")},
        root=str(tmp_path / "root"),
        output=str(tmp_path / "output"),
    )
    assert "Test set: Average accuracy:" in found["output"]
    assert found["model"] == f"file://{tmp_path}/output/model.tar.gz"
    with tarfile.open(tmp_path / "output" / "model.tar.gz") as archive:
        assert {"model.json"} <= {Path(name).name for name in archive.getnames()}
