"""Rules of SageMaker that no single field states: between fields, and within a list.

Each rule belongs to a shape of botocore's model and holds wherever that shape occurs, so what is true
of a training job is true of a tuning job's training jobs too. Source: the API reference of
CreateTrainingJob and of its data types
(https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html).

A rule takes the value and the path of its shape and yields one sentence a violation. The values have not
passed their own checks when a rule sees them, so it looks only at those of the right type.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import regex  # type: ignore[import-untyped]  # publishes no types

NOT_NULL = "Member must not be null"
_SHOWN_CHARACTERS = 120  # of a value in a message

Rule = Callable[[Any, str], Iterator[str]]


def field_at(path: str, field: str) -> str:
    """AWS's spelling: `outputDataConfig`, `S3OutputPath` -> `outputDataConfig.s3OutputPath`."""
    name = field[:1].lower() + field[1:]
    return f"{path}.{name}" if path else name


def violation(value: Any, path: str, constraint: str) -> str:
    """AWS's sentence; a long value is cut."""
    shown = "null" if value is None else f"'{shown_value(value)}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def shown_value(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _exactly_one(value: Mapping[str, Any], path: str, fields: Sequence[str]) -> Iterator[str]:
    given = [field for field in fields if field in value]
    if len(given) != 1:
        rule = f"exactly one of {', '.join(fields)} must be given, not {' and '.join(given) or 'none'}"
        yield f"Value at '{path}' failed to satisfy constraint: {rule}"


def _required(value: Mapping[str, Any], path: str, fields: Sequence[str]) -> Iterator[str]:
    for field in fields:
        if field not in value:
            yield violation(None, field_at(path, field), NOT_NULL)


def _unique(field: str) -> Rule:
    def rule(value: Any, path: str) -> Iterator[str]:
        items = [item.get(field) for item in value if isinstance(item, Mapping)]
        for name, count in Counter(item for item in items if isinstance(item, str)).items():
            if count > 1:
                yield violation(name, path, f"{field} must be unique within the list")

    return rule


def _metric_definition(value: Any, path: str) -> Iterator[str]:
    pattern, where = value.get("Regex"), field_at(path, "Regex")
    if not isinstance(pattern, str):
        return
    try:
        groups = regex.compile(pattern).groups
    except regex.error as error:
        yield violation(pattern, where, f"Member must be a valid regular expression: {error}")
        return
    if groups < 1:
        yield violation(pattern, where, "Member must have a capture group, which holds the metric's value")


def _stopping_condition(value: Any, path: str) -> Iterator[str]:
    runtime, wait = value.get("MaxRuntimeInSeconds"), value.get("MaxWaitTimeInSeconds")
    if isinstance(wait, int) and isinstance(runtime, int) and wait < runtime:
        where = field_at(path, "MaxWaitTimeInSeconds")
        yield violation(
            wait, where, f"Member must be greater than or equal to MaxRuntimeInSeconds ({runtime})"
        )


def _spot(value: Any, path: str) -> Iterator[str]:
    condition = value.get("StoppingCondition")
    wait = condition.get("MaxWaitTimeInSeconds") if isinstance(condition, Mapping) else None
    where = field_at(field_at(path, "StoppingCondition"), "MaxWaitTimeInSeconds")
    spot = value.get("EnableManagedSpotTraining") is True
    if spot and wait is None:
        yield violation(None, where, "Member must be present when EnableManagedSpotTraining is true")
    if not spot and wait is not None:
        yield violation(wait, where, "Member can be set only when EnableManagedSpotTraining is true")


def _training_job(value: Any, path: str) -> Iterator[str]:
    # Optional in botocore's model only since serverless customisation jobs share the request.
    if "ServerlessJobConfig" not in value:
        yield from _required(value, path, ("AlgorithmSpecification", "ResourceConfig"))
    yield from _spot(value, path)


def _algorithm_specification(value: Any, path: str) -> Iterator[str]:
    yield from _exactly_one(value, path, ("TrainingImage", "AlgorithmName"))


def _data_source(value: Any, path: str) -> Iterator[str]:
    yield from _exactly_one(value, path, ("S3DataSource", "FileSystemDataSource", "DatasetSource"))


def _resource_config(value: Any, path: str) -> Iterator[str]:
    one_kind = ("InstanceType", "InstanceCount")
    if "InstanceGroups" in value:
        for field in one_kind:
            if field in value:
                yield violation(value[field], field_at(path, field), "Member excludes InstanceGroups")
    elif "InstancePreferences" not in value:
        yield from _required(value, path, one_kind)
    # The model's own minimum is 0, which AWS refuses.
    for field in ("InstanceCount", "VolumeSizeInGB"):
        if value.get(field) == 0:
            yield violation(0, field_at(path, field), "Member must have value greater than or equal to 1")


# Shape of botocore's model -> its rule.
RULES: Mapping[str, Rule] = {
    "CreateTrainingJobRequest": _training_job,
    "HyperParameterTrainingJobDefinition": _spot,
    "AlgorithmSpecification": _algorithm_specification,
    "InputDataConfig": _unique("ChannelName"),
    "DataSource": _data_source,
    "MetricDefinitionList": _unique("Name"),
    "MetricDefinition": _metric_definition,
    "ResourceConfig": _resource_config,
    "StoppingCondition": _stopping_condition,
    "TagList": _unique("Key"),
}
