"""A local SageMaker on each engine, and the clients' environments.

A client that cannot be installed, and an engine that is not there, are skipped with their reason; with
DRYDOCK_REQUIRE_CLIENTS=1 and DRYDOCK_REQUIRE_DOCKER=1, as in CI, they fail.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drydock.data import synthetic
from tests.clients.environment import UnavailableError, programs_of
from tests.clients.harness import BUCKET, IMAGE, Client, Proxy, refusing_proxy
from tests.engines.conftest import need_docker
from tests.engines.harness import LocalSageMaker, local_sagemaker

_TELEMETRY_OFF = """\
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""


@pytest.fixture(scope="session", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalSageMaker]:
    """A service that the clients' tests of one engine share, with a bucket of theirs."""
    engine = str(request.param)
    if engine == "docker":
        need_docker(IMAGE)
    with local_sagemaker(engine, tmp_path_factory.mktemp(f"home-clients-{engine}")) as running:
        running.client("s3").create_bucket(Bucket=BUCKET)
        yield running
    assert running.leftovers() == []


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn bins, few and small, in folders `train`, `validation` and `test`."""
    folder = tmp_path_factory.mktemp("clients-data") / "bins"
    synthetic.write_set(folder, synthetic.Options(images=25, seed=0, size=32))
    return folder


@pytest.fixture(scope="session")
def internet() -> Iterator[Proxy]:
    """What any client asked of machines other than this one; must be empty in the end."""
    with refusing_proxy() as proxy:
        yield proxy


@pytest.fixture
def client_alone(internet: Proxy, tmp_path: Path) -> Iterator[Callable[[str], Client]]:
    """`client_alone("boto3")`: that client's environment, with nothing of AWS to talk to."""

    def get(name: str) -> Client:
        try:
            programs = programs_of(name)
        except UnavailableError as error:
            (pytest.fail if os.environ.get("DRYDOCK_REQUIRE_CLIENTS") == "1" else pytest.skip)(str(error))
        home = tmp_path / "user"
        home.mkdir()
        settings = home / "sagemaker.yaml"
        settings.write_text(_TELEMETRY_OFF)
        return Client(
            programs=programs,
            home=home,
            variables={
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_EC2_METADATA_DISABLED": "true",
                "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings),
                **internet.variables(),
            },
        )

    internet.asked.clear()
    yield get
    assert internet.asked == [], "a client went to AWS itself"


@pytest.fixture
def client(service: LocalSageMaker, client_alone: Callable[[str], Client]) -> Callable[[str], Client]:
    """`client("boto3")`: that client's environment, led to the service as docs/local-sagemaker.md says."""

    def get(name: str) -> Client:
        alone = client_alone(name)
        return replace(alone, variables={**alone.variables, "AWS_ENDPOINT_URL": service.endpoint})

    return get
