"""ListTrainingJobs and DescribeTrainingJob over a store of jobs."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from local_mode.errors import ValidationException
from local_mode.service import Service
from local_mode.store import COMPLETED, FAILED, TrainingJobStore
from local_mode.training_jobs.operations import OPERATIONS

REQUEST: dict[str, Any] = {
    "TrainingJobName": "job",
    "RoleArn": "arn:aws:iam::000000000000:role/drydock",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out/"},
    "Tags": [{"Key": "a", "Value": "b"}],
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Four jobs; the operations tested here need nothing of a service but its store."""
    store = TrainingJobStore(tmp_path / "jobs.sqlite")
    for name, status in (("Bins-2", COMPLETED), ("bins-1", FAILED), ("dogs", COMPLETED), ("later", None)):
        store.create(name=name, arn=f"arn:{name}", request=REQUEST, message="Starting it")
        if status is not None:
            store.end(name, status=status, secondary_status=status, message="ended")
    yield cast("Service", SimpleNamespace(jobs=SimpleNamespace(store=store)))
    store.close()


def token(*parts: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


def names(service: Service, **request: Any) -> list[str]:
    reply = OPERATIONS["ListTrainingJobs"](service, request)
    return [summary["TrainingJobName"] for summary in reply["TrainingJobSummaries"]]


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({}, ["Bins-2", "bins-1", "dogs", "later"]),
        ({"SortOrder": "Descending"}, ["later", "dogs", "bins-1", "Bins-2"]),
        ({"SortBy": "Name"}, ["Bins-2", "bins-1", "dogs", "later"]),
        ({"SortBy": "Status", "SortOrder": "Ascending"}, ["Bins-2", "dogs", "bins-1", "later"]),
        ({"NameContains": "BINS"}, ["Bins-2", "bins-1"]),
        ({"StatusEquals": "Completed"}, ["Bins-2", "dogs"]),
        ({"StatusEquals": "Completed", "MaxResults": 2}, ["Bins-2"]),
        ({"WarmPoolStatusEquals": "Available"}, []),
        ({"TrainingPlanArnEquals": f"arn:{'x' * 50}"}, []),
        ({"CreationTimeAfter": datetime.now(tz=UTC) + timedelta(hours=1)}, []),
        ({"CreationTimeBefore": datetime.now(tz=UTC) - timedelta(hours=1)}, []),
        ({"LastModifiedTimeBefore": datetime.now(tz=UTC) + timedelta(hours=1), "MaxResults": 1}, ["Bins-2"]),
    ],
)
def test_filters_and_order(service: Service, request_: dict[str, Any], found: list[str]) -> None:
    """Each filter and order of ListTrainingJobs does what AWS's does."""
    # Jobs of one millisecond are in the order of their names.
    result = names(service, **request_)
    assert sorted(result) == sorted(found)
    if "SortBy" in request_:
        assert result == found


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("Ascending", ["Bins-2", "bins-1", "dogs", "later"]),
        ("Descending", ["later", "dogs", "bins-1", "aaa", "Bins-2"]),
    ],
)
def test_pages_join_to_the_whole_list(service: Service, order: str, found: list[str]) -> None:
    """NextToken goes on behind the page's last job, whatever was created in between."""
    request = {"MaxResults": 3, "SortOrder": order, "SortBy": "Name"}
    first = OPERATIONS["ListTrainingJobs"](service, request)
    service.jobs.store.create(name="aaa", arn="arn", request=REQUEST, message="Starting it")
    second = OPERATIONS["ListTrainingJobs"](service, request | {"NextToken": first["NextToken"]})
    pages = [first, second]
    assert [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]] == found
    assert "NextToken" not in second


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"NextToken": "x"}, "NextToken"),
        ({"NextToken": "bnVsbA=="}, "NextToken"),
        ({"NextToken": token("Name", "Ascending", "dogs"), "SortBy": "Status"}, "another SortBy"),
        ({"NextToken": token("Name", "Ascending", "dogs"), "SortOrder": "Descending"}, "another SortBy"),
    ],
)
def test_what_it_does_not_do_is_refused(service: Service, request_: dict[str, Any], reason: str) -> None:
    """A token of someone else's, or of another order, is refused by name."""
    with pytest.raises(ValidationException, match=reason):
        names(service, **request_)


def test_describe_shows_request_and_state(service: Service) -> None:
    """The reply has the request's own fields that AWS shows, its state, and AWS's default time limit."""
    reply = OPERATIONS["DescribeTrainingJob"](service, {"TrainingJobName": "later"})
    assert reply["RoleArn"] == REQUEST["RoleArn"]
    assert "Tags" not in reply
    assert reply["StoppingCondition"] == {"MaxRuntimeInSeconds": 86_400}
    assert reply["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bucket/out/later/output/model.tar.gz"}
    assert reply["TrainingJobStatus"] == "InProgress"
    assert "TrainingEndTime" not in reply
    with pytest.raises(ValidationException, match="Requested resource not found"):
        OPERATIONS["DescribeTrainingJob"](service, {"TrainingJobName": "unknown"})
