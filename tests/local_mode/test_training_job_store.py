"""The store: jobs outlive the service, and no change is seen before it is safe."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_mode.errors import ServiceError, ValidationException
from local_mode.store import COMPLETED, FAILED, RUNNING, MetricValue, TrainingJob, TrainingJobStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrainingJobStore]:
    opened = TrainingJobStore(tmp_path / "jobs.sqlite")
    yield opened
    opened.close()


def create(store: TrainingJobStore, name: str = "job") -> TrainingJob:
    return store.create(name=name, arn=f"arn:{name}", request={"A": {"B": ["1", 2]}}, message="Starting it")


def test_a_job_s_life(store: TrainingJobStore) -> None:
    """Each secondary status ends when the next begins; a new message alone begins none."""
    create(store)
    store.enter("job", "Starting", "Preparing it")
    store.enter("job", "Training", "Training it")
    store.start("job")
    store.end("job", status=FAILED, secondary_status="Failed", message="It failed", failure_reason="why")
    job = store.get("job")
    assert [(each.status, each.message) for each in job.transitions] == [
        ("Starting", "Preparing it"),
        ("Training", "Training it"),
        ("Failed", "It failed"),
    ]
    assert [each.ended for each in job.transitions] == [
        job.transitions[1].started,
        job.transitions[2].started,
        job.transitions[2].started,
    ]
    assert (job.status, job.secondary_status, job.failure_reason) == (FAILED, "Failed", "why")
    assert job.started is not None
    assert job.ended == job.modified
    assert job.request == {"A": {"B": ["1", 2]}}


def test_what_another_connection_sees_is_committed(store: TrainingJobStore, tmp_path: Path) -> None:
    """A second connection, as after kill -9, sees every change as soon as the call returns."""
    create(store)
    store.add_metrics("job", [MetricValue(name="m", value=0.5, time=1)])
    store.request_stop("job", "Stopping it")
    again = TrainingJobStore(tmp_path / "jobs.sqlite")
    assert again.get("job") == store.get("job")
    assert again.metrics("job") == [MetricValue(name="m", value=0.5, time=1)]
    assert [job.name for job in again.all(statuses=RUNNING)] == ["job"]
    again.close()


def test_names_are_unique_for_ever(store: TrainingJobStore) -> None:
    """A name is taken even by a job that has ended."""
    create(store)
    store.end("job", status=COMPLETED, secondary_status="Completed", message="done")
    with pytest.raises(ServiceError, match="Training job names must be unique") as caught:
        create(store)
    assert caught.value.code == "ResourceInUse"


def test_only_a_job_in_progress_is_stopped(store: TrainingJobStore) -> None:
    """An unknown job, one that stops and one that has ended are refused as AWS does."""
    with pytest.raises(ValidationException, match="Requested resource not found"):
        store.request_stop("job", "Stopping it")
    create(store)
    store.request_stop("job", "Stopping it")
    with pytest.raises(ValidationException, match="is in status Stopping"):
        store.request_stop("job", "Stopping it")
    store.end("job", status=COMPLETED, secondary_status="Completed", message="done")
    with pytest.raises(ValidationException, match="is in status Completed"):
        store.request_stop("job", "Stopping it")


def test_final_metrics_are_the_last_values(store: TrainingJobStore) -> None:
    """Of each metric the last value stays, in the order in which they first appeared."""
    create(store)
    create(store, "other")
    for time, (job, name, value) in enumerate(
        [("job", "b", 1.0), ("job", "a", 2.0), ("other", "a", 9.0), ("job", "b", 3.0)]
    ):
        store.add_metrics(job, [MetricValue(name=name, value=value, time=time)])
    assert store.final_metrics("job") == [
        MetricValue(name="b", value=3.0, time=3),
        MetricValue(name="a", value=2.0, time=1),
    ]


def test_many_threads_write(store: TrainingJobStore) -> None:
    """Jobs write from threads of their own, and no change is lost or mixed up."""
    names = [f"job-{number}" for number in range(8)]

    def live(name: str) -> None:
        create(store, name)
        for value in range(20):
            store.add_metrics(name, [MetricValue(name="m", value=float(value), time=value)])
        store.end(name, status=COMPLETED, secondary_status="Completed", message="done")

    threads = [threading.Thread(target=live, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {job.name: job.status for job in store.all()} == dict.fromkeys(names, COMPLETED)
    assert all([value.value for value in store.metrics(name)] == list(range(20)) for name in names)


def test_a_failed_change_changes_nothing(store: TrainingJobStore) -> None:
    """A transaction that breaks off leaves the store as it was, and usable."""
    with pytest.raises(sqlite3.IntegrityError):
        store.add_metrics("no-such-job", [MetricValue(name="m", value=1.0, time=1)])
    assert create(store).status == "InProgress"
