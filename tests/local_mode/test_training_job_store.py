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


def test_tags_belong_to_an_arn(store: TrainingJobStore) -> None:
    """A key has one value, the first order stays, and the 51st tag changes nothing."""
    create(store)
    store.add_tags("arn:job", {"b": "1", "a": "2"})
    assert list(store.add_tags("arn:job", {"c": "3", "b": "4"}).items()) == [
        ("b", "4"),
        ("a", "2"),
        ("c", "3"),
    ]
    with pytest.raises(ValidationException, match="51 tags; a resource has at most 50"):
        store.add_tags("arn:job", {f"k{number}": "" for number in range(48)})
    store.delete_tags("arn:job", ["a", "none"])
    assert store.tags("arn:job") == {"b": "4", "c": "3"}
    with pytest.raises(ValidationException, match="Requested resource not found: arn:none"):
        store.tags("arn:none")


def test_tags_of_a_home_from_before_there_were_any(store: TrainingJobStore, tmp_path: Path) -> None:
    """A store of the first version has its tags in the requests alone: they are taken over, once."""
    request = {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]}
    store.create(name="tagged", arn="arn:tagged", request=request, message="Starting it")
    create(store)
    with sqlite3.connect(tmp_path / "jobs.sqlite") as old:
        old.executescript("DROP TABLE tags; PRAGMA user_version = 0")
    old.close()
    for expected in ({"a": "1", "b": ""}, {"b": ""}):
        again = TrainingJobStore(tmp_path / "jobs.sqlite")
        assert again.tags("arn:tagged") == expected
        assert again.tags("arn:job") == {}
        again.delete_tags("arn:tagged", ["a"])
        again.close()


def test_a_deleted_job_leaves_nothing(store: TrainingJobStore) -> None:
    """Job, metrics and tags go together; one that runs stays, and so does every other job."""
    for name in ("job", "other"):
        create(store, name)
        store.add_metrics(name, [MetricValue(name="m", value=0.5, time=1)])
        store.add_tags(f"arn:{name}", {"a": "b"})
    with pytest.raises(ServiceError, match="in status InProgress") as caught:
        store.delete("job")
    assert caught.value.code == "ResourceInUse"
    store.end("job", status=COMPLETED, secondary_status="Completed", message="done")
    store.delete("job")
    with pytest.raises(ValidationException, match="Requested resource not found"):
        store.delete("job")
    create(store)
    assert (store.tags("arn:job"), store.metrics("job")) == ({}, [])
    assert (store.tags("arn:other"), len(store.metrics("other"))) == ({"a": "b"}, 1)


def test_a_failed_change_changes_nothing(store: TrainingJobStore) -> None:
    """A transaction that breaks off leaves the store as it was, and usable."""
    with pytest.raises(sqlite3.IntegrityError):
        store.add_metrics("no-such-job", [MetricValue(name="m", value=1.0, time=1)])
    assert create(store).status == "InProgress"
