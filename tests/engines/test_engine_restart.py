"""The end of a service by its user, and the next one on its home; test_recovery.py has its other ends."""

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


def test_a_service_that_stops_ends_its_jobs(engine: str, tmp_path: Path) -> None:
    """SIGTERM to the service stops the running job as StopTrainingJob would, and leaves nothing behind."""
    with local_sagemaker(engine, tmp_path) as service:
        name = start_sleeping(service)
    assert service.process.returncode == 0
    assert service.leftovers() == []
    with local_sagemaker(engine, tmp_path) as service:
        assert service.describe(name)["TrainingJobStatus"] == "Stopped"
