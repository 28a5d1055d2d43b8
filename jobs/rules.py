"""Rules of SageMaker that no single field states: between fields, and within a list.

Each rule belongs to a shape of botocore's model and holds wherever that shape occurs, so what is true
of a training job is true of a tuning job's training jobs too. Source: the API reference of
CreateTrainingJob and of its data types
(https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html), and for tags
https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html.

A rule takes the value and the path of its shape and yields one sentence a violation. The values have not
passed their own checks when a rule sees them, so it looks only at those of the right type.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import regex  # type: ignore[import-untyped]  # publishes no types

NOT_NULL = "Member must not be null"
_SHOWN_CHARACTERS = 120  # of a value in a message

DEFAULT_MAX_RUNTIME_SECONDS = 86_400
MAX_RUNTIME_SECONDS = 28 * 86_400
_PROFILING_INTERVALS = (100, 200, 500, 1000, 5000, 60_000)
_RESERVED_TAG_PREFIX = "aws:"
# Of the instance types that train (https://aws.amazon.com/ec2/instance-types/). One that is in neither
# set is let pass: the list grows.
_FAMILIES_WITHOUT_DISK = frozenset(
    {
        *("c4", "c5", "c5n", "c6i", "c7i", "c7i-flex", "c8i", "c8i-flex"),
        *("m4", "m5", "m6i", "m7i", "m7i-flex", "m8i", "m8i-flex", "t3"),
        *("r5", "r6i", "r7i", "r8i", "r8i-flex", "p2", "p3"),
    }
)
_FAMILIES_WITH_DISK = frozenset(
    {
        *("g4dn", "g5", "g6", "g6e", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "r5d"),
        *("trn1", "trn1n", "trn2"),
    }
)

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
    runtime = value.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_SECONDS)
    wait = value.get("MaxWaitTimeInSeconds")
    if not isinstance(runtime, int):
        return
    if runtime > MAX_RUNTIME_SECONDS:
        where = field_at(path, "MaxRuntimeInSeconds")
        yield violation(
            runtime, where, f"Member must have value less than or equal to {MAX_RUNTIME_SECONDS} (28 days)"
        )
    if isinstance(wait, int) and wait < runtime:
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
    resources, algorithm = value.get("ResourceConfig"), value.get("AlgorithmSpecification")
    if isinstance(resources, Mapping):
        for field in ("SelectedInstanceType", "SelectedInstanceCount"):
            if field in resources:
                where = field_at("resourceConfig", field)
                yield violation(resources[field], where, "Member is of DescribeTrainingJob's reply only")
        if "InstancePreferences" in resources and value.get("EnableManagedSpotTraining") is True:
            where = field_at(path, "EnableManagedSpotTraining")
            yield violation(True, where, "Member excludes InstancePreferences")  # noqa: FBT003  the value shown
    mode = algorithm.get("TrainingInputMode") if isinstance(algorithm, Mapping) else None
    channels = value.get("InputDataConfig")
    for number, channel in enumerate(channels if isinstance(channels, list | tuple) else (), start=1):
        if isinstance(channel, Mapping):
            yield from _channel(channel, field_at(path, f"InputDataConfig.{number}.member"), mode)


def _channel(value: Mapping[str, Any], path: str, mode: Any) -> Iterator[str]:
    """`mode` is the job's own input mode, which a channel's replaces."""
    source = value.get("DataSource")
    objects = source.get("S3DataSource") if isinstance(source, Mapping) else None
    if not isinstance(objects, Mapping):
        return
    where = field_at(field_at(path, "DataSource"), "S3DataSource")
    augmented = objects.get("S3DataType") == "AugmentedManifestFile"
    if augmented and value.get("InputMode", mode) != "Pipe":
        yield violation(
            objects["S3DataType"], field_at(where, "S3DataType"), "Member can be set only in Pipe input mode"
        )
    if augmented and not objects.get("AttributeNames"):
        yield violation(
            None, field_at(where, "AttributeNames"), "Member must be present for an AugmentedManifestFile"
        )


def _algorithm_specification(value: Any, path: str) -> Iterator[str]:
    yield from _exactly_one(value, path, ("TrainingImage", "AlgorithmName"))


def _data_source(value: Any, path: str) -> Iterator[str]:
    yield from _exactly_one(value, path, ("S3DataSource", "FileSystemDataSource", "DatasetSource"))


def _resource_config(value: Any, path: str) -> Iterator[str]:
    one_kind = ("InstanceType", "InstanceCount")
    if "InstanceGroups" in value:
        yield from _excluded(value, path, one_kind, by="InstanceGroups")
    elif "InstancePreferences" in value:
        excluded = ("InstanceType", "InstancePlacementConfig")
        yield from _excluded(value, path, excluded, by="InstancePreferences")
        yield from _preferences(value, path)
    else:
        yield from _required(value, path, one_kind)
        yield from _volume(value, path)
    # The model's own minimum is 0, which AWS refuses.
    for field in ("InstanceCount", "VolumeSizeInGB"):
        if value.get(field) == 0:
            yield violation(0, field_at(path, field), "Member must have value greater than or equal to 1")


def _volume(value: Mapping[str, Any], path: str) -> Iterator[str]:
    """An instance type has either a disk of its own or a volume, whose size the request must say."""
    instance_type = str(value.get("InstanceType"))
    family = instance_type.removeprefix("ml.").partition(".")[0]
    if family in _FAMILIES_WITHOUT_DISK and "VolumeSizeInGB" not in value:
        where = field_at(path, "VolumeSizeInGB")
        yield violation(None, where, f"{NOT_NULL}: {instance_type} has no disk of its own")
    if family in _FAMILIES_WITH_DISK and value.get("VolumeKmsKeyId"):
        where = field_at(path, "VolumeKmsKeyId")
        yield violation(
            value["VolumeKmsKeyId"], where, f"Member excludes {instance_type}, which has a disk of its own"
        )


def _preferences(value: Mapping[str, Any], path: str) -> Iterator[str]:
    preferences = value["InstancePreferences"]
    if not isinstance(preferences, list | tuple):
        return
    counts = [isinstance(each, Mapping) and "InstanceCount" in each for each in preferences]
    if any(counts) != all(counts) or any(counts) == ("InstanceCount" in value):
        where = field_at(path, "InstanceCount")
        yield violation(
            value.get("InstanceCount"),
            where,
            "InstanceCount must be given here or in every InstancePreferences",
        )


def _excluded(value: Mapping[str, Any], path: str, fields: Sequence[str], *, by: str) -> Iterator[str]:
    for field in fields:
        if field in value:
            yield violation(value[field], field_at(path, field), f"Member excludes {by}")


def _profiler(value: Any, path: str) -> Iterator[str]:
    interval = value.get("ProfilingIntervalInMilliseconds")
    if isinstance(interval, int) and interval not in _PROFILING_INTERVALS:
        where = field_at(path, "ProfilingIntervalInMilliseconds")
        taken = ", ".join(map(str, _PROFILING_INTERVALS))
        yield violation(interval, where, f"Member must satisfy value set: [{taken}]")


def _tags(value: Any, path: str) -> Iterator[str]:
    yield from _unique("Key")(value, path)
    for number, tag in enumerate(value, start=1):
        key = tag.get("Key") if isinstance(tag, Mapping) else None
        if isinstance(key, str) and key.lower().startswith(_RESERVED_TAG_PREFIX):
            where = field_at(f"{path}.{number}.member", "Key")
            yield violation(
                key, where, f"Member must not begin with {_RESERVED_TAG_PREFIX}, which is reserved"
            )


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
    "InstanceGroups": _unique("InstanceGroupName"),
    "InstancePreferenceList": _unique("InstanceType"),
    "CollectionConfigurations": _unique("CollectionName"),
    "DebugRuleConfigurations": _unique("RuleConfigurationName"),
    "ProfilerRuleConfigurations": _unique("RuleConfigurationName"),
    "ProfilerConfig": _profiler,
    "ProfilerConfigForUpdate": _profiler,
    "TagList": _tags,
}
