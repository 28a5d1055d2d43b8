"""boto3, in an environment of its own, against the local SageMaker."""

from collections.abc import Callable

import pytest

from tests.clients.harness import BUCKET, IMAGE, ROLE, Client


@pytest.mark.slow
def test_boto3(client: Callable[[str], Client]) -> None:
    """Objects, jobs, waiters, paginators, logs and errors are what boto3's callers know from AWS."""
    found = client("boto3").script("boto3_jobs", bucket=BUCKET, image=IMAGE, role=ROLE)
    assert found["objects"] == {
        "same": True,
        "metadata": {"made": "here"},
        "pages": [
            ["boto3/many/0", "boto3/many/1"],
            ["boto3/many/2", "boto3/many/3"],
            ["boto3/many/4"],
        ],
    }
    jobs = found["jobs"]
    assert jobs["statuses"] == ["Completed", "InProgress", "Stopped"]
    assert jobs["model"] == ["w"]
    assert [each for page in jobs["pages"] for each in page] == ["boto3-first", "boto3-second"]
    assert [each for each in jobs["lines"] if each.startswith("line ")] == [f"line {i}" for i in range(25)]
    assert jobs["filtered"] == ["line 24"]
    assert found["errors"] == {
        "used name": "ResourceInUse",
        "bad name": "ValidationException",
        "missing field": "ValidationException",
        "unknown job": "ValidationException",
        "stop of an ended job": "ValidationException",
        "unknown operation": "UnknownOperationException",
        "unknown bucket": "NoSuchBucket",
        "unknown key": "NoSuchKey",
        "unknown head": "404",
        "unknown log": "ResourceNotFoundException",
    }
