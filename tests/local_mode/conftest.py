"""A service for the tests of its front: in this process where that is all a test needs, else a real one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_mode.home import Home
from local_mode.lifetime import running
from local_mode.service import Service
from tests.local_mode.harness import RunningService, client, start_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as it was, in this process."""
    home = Home(tmp_path_factory.mktemp("home"))
    with running(home, port=0, engine="process") as started:
        yield started


@pytest.fixture(scope="session")
def aws(service: Service) -> Iterator[Callable[[str], Any]]:
    """Clients of the shared service: `aws("s3")`; making one takes a third of a second, so they are kept."""
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            made[name] = client(service.endpoint, name)
        return made[name]

    yield get
    for one in made.values():
        one.close()


@pytest.fixture
def services() -> Iterator[Callable[..., RunningService]]:
    """Starts services as processes of their own, and ends those that still run."""
    started: list[RunningService] = []

    def start(home: Path, *options: str) -> RunningService:
        started.append(start_service(home, *options))
        return started[-1]

    yield start
    for one in started:
        one.close()
