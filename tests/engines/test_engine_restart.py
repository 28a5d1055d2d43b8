"""The end of a service, by its user or by kill -9, and the next one on its home."""

import signal
from pathlib import Path

import pytest

from tests.engines.harness import LocalSageMaker, local_sagemaker

pytestmark = pytest.mark.slow

SLEEP = """\
import time
print("waiting", flush=True)
time.sleep(600)
"""


def start_sleeping(service: LocalSageMaker) -> str:
    name = service.create(service.script("sleeper", SLEEP))
    service.until_logged(name, "waiting")
    return name


def test_a_killed_service_loses_no_job(engine: str, tmp_path: Path) -> None:
    """After kill -9 the next service ends the job as Failed with that reason and removes what it left."""
    with local_sagemaker(engine, tmp_path) as service:
        name = start_sleeping(service)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        assert service.leftovers() != []
    with local_sagemaker(engine, tmp_path) as service:
        description = service.describe(name)
        assert description["TrainingJobStatus"] == "Failed"
        assert description["FailureReason"] == (
            "InternalServerError: the local SageMaker was restarted while the job ran"
        )
        assert "waiting" in service.log(name)
        assert service.leftovers() == []


def test_a_service_that_stops_ends_its_jobs(engine: str, tmp_path: Path) -> None:
    """SIGTERM to the service stops the running job as StopTrainingJob would, and leaves nothing behind."""
    with local_sagemaker(engine, tmp_path) as service:
        name = start_sleeping(service)
    assert service.process.returncode == 0
    assert service.leftovers() == []
    with local_sagemaker(engine, tmp_path) as service:
        assert service.describe(name)["TrainingJobStatus"] == "Stopped"
