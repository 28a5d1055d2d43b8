"""What the local SageMaker does with each field of each of its operations: done, harmless or refused.

SUPPORT is the whole truth: a field of botocore's model that is not in it is refused by name. The tables
in docs/support.md are made from it by `local_mode.support_document`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_mode.errors import ValidationException

DONE, HARMLESS, REFUSED = "done", "harmless", "refused"
CREATE_TRAINING_JOB = "CreateTrainingJob"


@dataclass(frozen=True, kw_only=True)
class Support:
    """What becomes of one field."""

    verdict: str
    note: str = ""
    only: tuple[Any, ...] = ()  # the values taken; empty: all that the API's model allows
    why: str = ""  # no other value is taken; a refusal says it too


def _done(note: str = "", *, only: tuple[Any, ...] = (), why: str = "") -> Support:
    return Support(verdict=DONE, note=note, only=only, why=why)


def _harmless(note: str, *, only: tuple[Any, ...] = ()) -> Support:
    return Support(verdict=HARMLESS, note=note, only=only)


_FILE_MODE = (
    "CompressionType and RecordWrapperType are for Pipe mode; in File mode leave them out or set None"
)
_LOCAL_PATH = "below `/opt/ml`, outside of `/opt/ml/input`"
_TAGGED = "of a training job"
_UPLOADED = "what the program leaves is uploaded to S3OutputPath`/JOB/{}/` once it has ended"

# `[]` is an item of a list, `{}` a value of a map. A field that is off either way when it says so
# (`only=(False,)`) is taken, so that clients that always send it work.
_CREATE_TRAINING_JOB: Mapping[str, Support] = {
    "TrainingJobName": _done("unique within a home; a name used before is `ResourceInUse`"),
    "HyperParameters{}": _done("`hyperparameters.json`"),
    "AlgorithmSpecification.TrainingImage": _done(
        "an ECR address is looked up as NAME:TAG on this machine first, then pulled; "
        "the process engine takes `drydock-train` only"
    ),
    "AlgorithmSpecification.TrainingInputMode": _done(only=("File",)),
    "AlgorithmSpecification.MetricDefinitions[].Name": _done(),
    "AlgorithmSpecification.MetricDefinitions[].Regex": _done(
        "each whole line is searched, for at most a second; the first group that matched is the value"
    ),
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": _harmless("every value is kept anyway"),
    "AlgorithmSpecification.ContainerEntrypoint[]": _done("refused by the process engine"),
    "AlgorithmSpecification.ContainerArguments[]": _done("refused by the process engine"),
    "RoleArn": _harmless("nothing here asks for permission"),
    "InputDataConfig[].ChannelName": _done(),
    "InputDataConfig[].DataSource.S3DataSource.S3DataType": _done(
        "in a `ManifestFile` each entry is the path below the channel's folder",
        only=("S3Prefix", "ManifestFile"),
    ),
    "InputDataConfig[].DataSource.S3DataSource.S3Uri": _done(
        "`s3://` from the local S3; `file://` too, which AWS does not take"
    ),
    "InputDataConfig[].DataSource.S3DataSource.S3DataDistributionType": _done(only=("FullyReplicated",)),
    "InputDataConfig[].ContentType": _done("`inputdataconfig.json`"),
    "InputDataConfig[].CompressionType": _done(only=("None",), why=_FILE_MODE),
    "InputDataConfig[].RecordWrapperType": _done(only=("None",), why=_FILE_MODE),
    "InputDataConfig[].InputMode": _done(only=("File",)),
    "InputDataConfig[].ShuffleConfig.Seed": _harmless(
        "it orders the objects of a channel; the files of a folder, which File mode makes, have no order"
    ),
    "OutputDataConfig.KmsKeyId": _harmless("empty means no key; a key is refused", only=("",)),
    "OutputDataConfig.S3OutputPath": _done(
        "`s3://` into the local S3; `file://` too, which AWS does not take"
    ),
    "OutputDataConfig.CompressionType": _done(only=("GZIP",)),
    "ResourceConfig.InstanceType": _done(
        "`resourceconfig.json`; `ml.g*` and `ml.p*` get this machine's GPUs where Docker has the nvidia "
        "runtime, else the log says that there is none; processors and memory are this machine's"
    ),
    "ResourceConfig.InstanceCount": _done(only=(1,)),
    "ResourceConfig.VolumeSizeInGB": _harmless("a job has this machine's disk"),
    "ResourceConfig.KeepAlivePeriodInSeconds": _harmless("zero means no warm pool", only=(0,)),
    "StoppingCondition.MaxRuntimeInSeconds": _done("SIGTERM, 120 s, SIGKILL; counted from TrainingStartTime"),
    "StoppingCondition.MaxPendingTimeInSeconds": _harmless(
        "a job waits for its turn (`--max-jobs`) without a limit"
    ),
    "RetryStrategy.MaximumRetryAttempts": _done(
        "after an InternalServerError: the engine's fault, or a host that vanished"
    ),
    "Tags[].Key": _done(),
    "Tags[].Value": _done(),
    "VpcConfig.SecurityGroupIds[]": _harmless("there is no VPC here to be in"),
    "VpcConfig.Subnets[]": _harmless("there is no VPC here to be in"),
    "EnableNetworkIsolation": _done(
        "the container's network reaches nothing, this service neither; data and results are moved as ever; "
        "the process engine refuses `true`"
    ),
    "EnableInterContainerTrafficEncryption": _harmless("one host has no traffic between hosts"),
    "EnableManagedSpotTraining": _done(only=(False,)),
    "DebugHookConfig.LocalPath": _done(_LOCAL_PATH),
    "DebugHookConfig.S3OutputPath": _done(_UPLOADED.format("debug-output")),
    "DebugHookConfig.HookParameters{}": _done("`debughookconfig.json`"),
    "DebugHookConfig.CollectionConfigurations[].CollectionName": _done("`debughookconfig.json`"),
    "DebugHookConfig.CollectionConfigurations[].CollectionParameters{}": _done("`debughookconfig.json`"),
    "TensorBoardOutputConfig.LocalPath": _done(_LOCAL_PATH),
    "TensorBoardOutputConfig.S3OutputPath": _done(_UPLOADED.format("tensorboard-output")),
    "ProfilerConfig.S3OutputPath": _done(
        f"{_UPLOADED.format('profiler-output')}, from `/opt/ml/output/profiler`; "
        "the platform's own samples of the system are not taken"
    ),
    "ProfilerConfig.ProfilingIntervalInMilliseconds": _done(
        "`profilerconfig.json`; the platform's own samples of the system are not taken"
    ),
    "ProfilerConfig.ProfilingParameters{}": _done("`profilerconfig.json`"),
    "ProfilerConfig.DisableProfiler": _done("`profilerconfig.json`; `true`: nothing is uploaded"),
    "Environment{}": _done("wins over what the local SageMaker sets itself"),
    "RemoteDebugConfig.EnableRemoteDebug": _done(only=(False,)),
    "InfraCheckConfig.EnableInfraCheck": _done(only=(False,)),
    "SessionChainingConfig.EnableSessionTagChaining": _done(only=(False,)),
}


_SEARCH_EXPRESSION: Mapping[str, Support] = {
    "Filters[].Name": _done(
        "any property of a TrainingJob; `Metrics.`, `HyperParameters.` and `Tags.` with a name"
    ),
    "Filters[].Operator": _done("text is compared as it is, letter case too"),
    "Filters[].Value": _done(),
    "NestedFilters[].NestedPropertyName": _done(),
    "NestedFilters[].Filters[].Name": _done(),
    "NestedFilters[].Filters[].Operator": _done(),
    "NestedFilters[].Filters[].Value": _done(),
}

# Operation of SageMaker's model -> its request's fields.
SUPPORT: Mapping[str, Mapping[str, Support]] = {
    CREATE_TRAINING_JOB: _CREATE_TRAINING_JOB,
    "DescribeTrainingJob": {"TrainingJobName": _done()},
    "ListTrainingJobs": {
        "NextToken": _done(),
        "MaxResults": _done("10 unless given"),
        "CreationTimeAfter": _done(),
        "CreationTimeBefore": _done(),
        "LastModifiedTimeAfter": _done(),
        "LastModifiedTimeBefore": _done(),
        "NameContains": _done("whatever its letter case"),
        "StatusEquals": _done("with MaxResults too it filters the page, as on AWS: a page may be short"),
        "SortBy": _done(),
        "SortOrder": _done(),
        "WarmPoolStatusEquals": _done("no job here has a warm pool: none is found"),
        "TrainingPlanArnEquals": _done("no job here has a training plan: none is found"),
    },
    "StopTrainingJob": {"TrainingJobName": _done()},
    "DeleteTrainingJob": {
        "TrainingJobName": _done("the job, its metrics and tags go; its log and its objects in S3 stay")
    },
    "Search": {
        "Resource": _done(only=("TrainingJob",)),
        **{f"SearchExpression.{path}": each for path, each in _SEARCH_EXPRESSION.items()},
        "SearchExpression.SubExpressions[]": _done("the same within itself"),
        "SearchExpression.Operator": _done(),
        "SortBy": _done("any property with a single value; jobs without it come last"),
        "SortOrder": _done(),
        "NextToken": _done(),
        "MaxResults": _done("10 unless given"),
        "CrossAccountFilterOption": _harmless("there is one account", only=("SameAccount",)),
    },
    "AddTags": {"ResourceArn": _done(_TAGGED), "Tags[].Key": _done(), "Tags[].Value": _done()},
    "ListTags": {
        "ResourceArn": _done(_TAGGED),
        "NextToken": _done("there is never a second page: any token is refused"),
        "MaxResults": _done(),
    },
    "DeleteTags": {"ResourceArn": _done(_TAGGED), "TagKeys[]": _done()},
}


def check(operation: str, request: Mapping[str, Any]) -> None:
    """Raises ValidationException for the first field, or value, that is not emulated here."""
    fields = SUPPORT[operation]
    for path, generic, value in _nodes(request, fields):
        supported = fields.get(generic)
        if supported is None:
            if value != [] and not any(known.startswith(_below(generic)) for known in fields):
                raise ValidationException(
                    f"The local SageMaker does not emulate {path} of {operation}; "
                    "remove it or run the job on AWS"
                )
        elif supported.only and value not in supported.only:
            taken = " or ".join(repr(each) for each in supported.only)
            why = f" ({supported.why})" if supported.why else ""
            raise ValidationException(
                f"The local SageMaker does not emulate {path} {value!r} of {operation}, only {taken}{why}; "
                "change it or run the job on AWS"
            )


def _below(generic: str) -> tuple[str, ...]:
    return f"{generic}.", f"{generic}[", f"{generic}{{"


def _nodes(
    value: Any, fields: Mapping[str, Support], path: str = "", generic: str = ""
) -> Iterator[tuple[str, str, Any]]:
    """Every node below the request: its path, the same without indexes and keys, its value."""
    # A map of the API has keys of the user's own; it is told from a structure by the table.
    if isinstance(value, Mapping):
        is_map = f"{generic}{{}}" in fields
        for name, member in value.items():
            here = f"{path}.{name}" if path else name
            below = f"{generic}{{}}" if is_map else f"{generic}.{name}" if generic else name
            yield here, below, member
            if below not in fields:  # else done, or refused, with all that is in it
                yield from _nodes(member, fields, here, below)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield f"{path}[{index}]", f"{generic}[]", member
            if f"{generic}[]" not in fields:
                yield from _nodes(member, fields, f"{path}[{index}]", f"{generic}[]")
