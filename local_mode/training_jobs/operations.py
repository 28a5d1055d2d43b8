"""The operations of training jobs: requests and replies as boto3 has them."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import botocore.session

from local_mode.errors import ValidationException
from local_mode.service import Service
from local_mode.store import TrainingJob, TrainingJobStore, moment
from local_mode.training_jobs.outputs import MODEL_ARCHIVE, Destination
from local_mode.training_jobs.run import DEFAULT_MAX_RUNTIME_SECONDS

_DEFAULT_MAX_RESULTS = 10
# No job here has what these filter by.
_FIND_NONE = ("WarmPoolStatusEquals", "TrainingPlanArnEquals")

_SORT_KEYS: Mapping[str, Callable[[TrainingJob], tuple[str, ...]]] = {
    "Name": lambda job: (job.name,),
    "CreationTime": lambda job: (job.created.isoformat(timespec="milliseconds"), job.name),
    "Status": lambda job: (job.status, job.name),
}


def create_training_job(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    return {"TrainingJobArn": service.jobs.create(request).arn}


def describe_training_job(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    store = service.jobs.store
    return describe(store.get(request["TrainingJobName"]), store)


def stop_training_job(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    service.jobs.stop(request["TrainingJobName"])
    return {}


def delete_training_job(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    service.jobs.delete(request["TrainingJobName"])
    return {}


def list_training_jobs(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """A page; `NextToken` says the place of its last job, so that jobs that come meanwhile move nothing."""
    sort_by, order = request.get("SortBy", "CreationTime"), request.get("SortOrder", "Ascending")
    key, descending = _SORT_KEYS[sort_by], order == "Descending"
    found = sorted(
        (job for job in service.jobs.store.all() if _matches(job, request)), key=key, reverse=descending
    )
    if "NextToken" in request:
        last = _place(request["NextToken"], sort_by, order)
        found = [job for job in found if (key(job) < last if descending else key(job) > last)]
    limit = request.get("MaxResults", _DEFAULT_MAX_RESULTS)
    page = found[:limit]
    # AWS takes the page first and filters it by status then, where both are given.
    wanted = request.get("StatusEquals") if "MaxResults" in request else None
    shown = [job for job in page if wanted in (None, job.status)]
    reply: dict[str, Any] = {"TrainingJobSummaries": [_summary(job) for job in shown]}
    if len(found) > len(page):
        reply["NextToken"] = _token(sort_by, order, key(page[-1]))
    return reply


OPERATIONS: Mapping[str, Callable[[Service, dict[str, Any]], dict[str, Any]]] = {
    "CreateTrainingJob": create_training_job,
    "DeleteTrainingJob": delete_training_job,
    "DescribeTrainingJob": describe_training_job,
    "ListTrainingJobs": list_training_jobs,
    "StopTrainingJob": stop_training_job,
}


def describe(job: TrainingJob, store: TrainingJobStore) -> dict[str, Any]:
    """DescribeTrainingJob's reply: the request's fields and what became of them."""
    destination = Destination.from_uri(job.request["OutputDataConfig"]["S3OutputPath"])
    reply = {name: value for name, value in job.request.items() if name in _described_fields()}
    reply |= {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
        # The API's model requires it of every reply: where the model will be, if the job leaves one.
        "ModelArtifacts": {"S3ModelArtifacts": destination.artifact(job.name, MODEL_ARCHIVE)},
        "StoppingCondition": {
            "MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_SECONDS,
            **job.request.get("StoppingCondition", {}),
        },
        "CreationTime": job.created,
        "LastModifiedTime": job.modified,
        "SecondaryStatusTransitions": [
            {
                "Status": transition.status,
                "StartTime": transition.started,
                **({"EndTime": transition.ended} if transition.ended else {}),
                "StatusMessage": transition.message,
            }
            for transition in job.transitions
        ],
        "EnableNetworkIsolation": job.request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": job.request.get(
            "EnableInterContainerTrafficEncryption", False
        ),
        "EnableManagedSpotTraining": False,
        "ProfilingStatus": "Disabled" if _profiles_nothing(job.request) else "Enabled",
    }
    if job.failure_reason is not None:
        reply["FailureReason"] = job.failure_reason
    if job.started is not None:
        reply["TrainingStartTime"] = job.started
    if job.ended is not None:
        reply["TrainingEndTime"] = job.ended
    if job.started is not None and job.ended is not None:
        seconds = max(1, round((job.ended - job.started).total_seconds()))
        reply["TrainingTimeInSeconds"] = reply["BillableTimeInSeconds"] = seconds
    if metrics := store.final_metrics(job.name):
        reply["FinalMetricDataList"] = [
            {"MetricName": metric.name, "Value": metric.value, "Timestamp": moment(metric.time)}
            for metric in metrics
        ]
    return reply


def _summary(job: TrainingJob) -> dict[str, Any]:
    return {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "CreationTime": job.created,
        **({"TrainingEndTime": job.ended} if job.ended else {}),
        "LastModifiedTime": job.modified,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
    }


def _profiles_nothing(request: Mapping[str, Any]) -> bool:
    profiler = request.get("ProfilerConfig")
    return profiler is None or profiler.get("DisableProfiler", False)


def _matches(job: TrainingJob, request: Mapping[str, Any]) -> bool:
    """Every filter, but StatusEquals where MaxResults is given too: see `list_training_jobs`."""
    return (
        not any(field in request for field in _FIND_NONE)
        and request.get("NameContains", "").lower() in job.name.lower()
        and ("MaxResults" in request or request.get("StatusEquals", job.status) == job.status)
        and _between(job.created, request.get("CreationTimeAfter"), request.get("CreationTimeBefore"))
        and _between(
            job.modified, request.get("LastModifiedTimeAfter"), request.get("LastModifiedTimeBefore")
        )
    )


def _between(time: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or time > _aware(after)) and (before is None or time < _aware(before))


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _token(sort_by: str, order: str, place: tuple[str, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort_by, order, *place]).encode()).decode()


def _place(token: str, sort_by: str, order: str) -> tuple[str, ...]:
    try:
        place = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, UnicodeError, json.JSONDecodeError):
        place = None
    if not isinstance(place, list) or not all(isinstance(part, str) for part in place):
        raise ValidationException("NextToken: this is none of the tokens that ListTrainingJobs gave")
    if place[:2] != [sort_by, order]:
        raise ValidationException("NextToken: it belongs to a list with another SortBy or SortOrder")
    return tuple(place[2:])


@cache
def _described_fields() -> frozenset[str]:
    model = botocore.session.get_session().get_service_model("sagemaker")
    return frozenset(model.operation_model("DescribeTrainingJob").output_shape.members)
