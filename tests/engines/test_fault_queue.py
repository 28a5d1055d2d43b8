"""Many jobs at once: as many as --max-jobs run, the others wait in order."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.engines.harness import LocalSageMaker, local_sagemaker

pytestmark = pytest.mark.slow

COUNT, LIMIT = 10, 2


def tiny(service: LocalSageMaker, name: str) -> dict[str, Any]:
    """A job that does next to nothing, on either engine."""
    return service.offline(name, "print('hello')\n", "echo hello; sleep 0.5")


def test_ten_jobs_wait_for_their_turn(engine: str, tmp_path: Path) -> None:
    """Ten jobs end in order, two run side by side; one that is stopped while it waits never runs."""
    with local_sagemaker(engine, tmp_path, "--max-jobs", str(LIMIT)) as service:
        names = [service.create(tiny(service, f"queued-{number}")) for number in range(COUNT)]
        waiting = service.describe(names[-1])
        assert waiting["SecondaryStatus"] == "Starting"
        message = waiting["SecondaryStatusTransitions"][-1]["StatusMessage"]
        assert message.startswith(f"Waiting for one of {LIMIT} running jobs to end"), message
        service.client("sagemaker").stop_training_job(TrainingJobName=names[-1])
        stopped = service.finish(names[-1])
        assert stopped["TrainingJobStatus"] == "Stopped"
        assert "TrainingStartTime" not in stopped

        jobs = [service.finish(name) for name in names[:-1]]
        assert {job["TrainingJobStatus"] for job in jobs} == {"Completed"}
        starts = [job["TrainingStartTime"] for job in jobs]
        # Two that begin side by side may pass each other; nobody passes two.
        assert all(starts[place] < starts[place + LIMIT] for place in range(len(starts) - LIMIT))
        together = [
            sum(job["TrainingStartTime"] <= start < job["TrainingEndTime"] for job in jobs)
            for start in starts
        ]
        assert max(together) == LIMIT
        assert all("hello" in service.log(name) for name in names[:-1])
        assert service.leftovers() == []


def test_waiting_jobs_survive_a_kill(engine: str, tmp_path: Path) -> None:
    """Jobs that wait when the service is killed run in the next one, in the order of their creation."""
    with local_sagemaker(engine, tmp_path, "--max-jobs", "1") as service:
        names = [service.create(tiny(service, f"patient-{number}")) for number in range(3)]
        service.process.kill()
        service.process.wait()
    with local_sagemaker(engine, tmp_path, "--max-jobs", "1") as service:
        jobs = [service.finish(name) for name in names]
        assert [job["TrainingJobStatus"] for job in jobs] == ["Completed"] * 3
        for before, after in pairwise(jobs):
            assert before["TrainingEndTime"] <= after["TrainingStartTime"]
        assert service.leftovers() == []
