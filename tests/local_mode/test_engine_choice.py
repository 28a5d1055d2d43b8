"""Which engine is taken, and what it says of images."""

from pathlib import Path

import pytest

from local_mode.engines import choose_engine
from local_mode.engines.base import EngineUnavailableError
from local_mode.engines.images import local_names, repository_name
from local_mode.errors import ValidationException
from local_mode.home import Home


class Unused:
    """Listeners of an engine that starts no host."""

    def open(self, address: str, port: int | None = None) -> int:
        raise AssertionError(address, port)

    def close(self, address: str) -> None:
        raise AssertionError(address)


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-daemon.sock")


@pytest.mark.usefixtures("no_docker")
def test_auto_falls_back_to_processes(tmp_path: Path) -> None:
    """Where no daemon answers, `auto` takes processes and says why; `docker` is an error in one line."""
    home = Home(tmp_path)
    engine, reason = choose_engine("auto", home=home, endpoint="http://127.0.0.1:1", listeners=Unused())
    assert engine.name == "process"
    assert reason == f"no Docker engine answers: there is no socket {tmp_path}/no-daemon.sock"
    with pytest.raises(EngineUnavailableError) as caught:
        choose_engine("docker", home=home, endpoint="http://127.0.0.1:1", listeners=Unused())
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="unknown engine 'podman'"):
        choose_engine("podman", home=home, endpoint="http://127.0.0.1:1", listeners=Unused())


@pytest.mark.parametrize(
    ("image", "field"),
    [
        ("drydock-train", None),
        ("drydock-train:2f3a@sha256:" + "0" * 64, None),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/team/drydock-train:2f3a", None),
        ("drydock-serve:latest", "TrainingImage drydock-serve:latest"),
        ("localhost:5000/drydock-train-2", "TrainingImage localhost:5000/drydock-train-2"),
    ],
)
def test_processes_run_drydock_s_own_image(tmp_path: Path, image: str, field: str | None) -> None:
    """The process engine takes its image by the repository's name and refuses every other, saying so."""
    engine, _ = choose_engine(
        "process", home=Home(tmp_path), endpoint="http://127.0.0.1:1", listeners=Unused()
    )
    request = {"AlgorithmSpecification": {"TrainingImage": image}}
    if field is None:
        engine.check(request)
        request["AlgorithmSpecification"]["ContainerEntrypoint"] = "x"
        field = "ContainerEntrypoint"
    with pytest.raises(ValidationException, match=f"{field}: the process engine"):
        engine.check(request)


def test_names_of_an_image() -> None:
    """An ECR address is looked for under the name that the build gave it, then under its own."""
    address = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/drydock-train:2f3a"
    assert local_names(address) == ("drydock-train:2f3a", address)
    assert local_names("debian:bookworm") == ("debian:bookworm",)
    assert repository_name("localhost:5000/team/image@sha256:0") == "image"
