"""Log streams as a client follows them."""

from collections.abc import Iterator
from typing import Any

from tests.engines.harness import LocalSageMaker, polls

GROUP = "/aws/sagemaker/TrainingJobs"


def pages(service: LocalSageMaker, name: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of a job's one stream as they come, until the caller has enough."""
    logs = service.client("logs")
    token: dict[str, str] = {}
    for _ in polls():
        try:
            found = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")
        except logs.exceptions.ResourceNotFoundException:
            continue
        if found["logStreams"]:
            break
    stream = found["logStreams"][0]["logStreamName"]
    for _ in polls():
        page = logs.get_log_events(logGroupName=GROUP, logStreamName=stream, startFromHead=True, **token)
        yield page["events"]
        token = {"nextToken": page["nextForwardToken"]}
