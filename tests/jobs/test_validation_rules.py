"""The rules that no single field states: each broken once, and each boundary kept."""

from typing import Any

import pytest

from jobs.validation import RequestError, validate

Request = dict[str, Any]
PROFILER = {"S3OutputPath": "s3://bucket/profiler"}
PREFERENCE = {"InstanceType": "ml.m5.large", "InstanceCount": 1}


def changed(request: Request, changes: Request) -> Request:
    """`a.b.0.c` is the place of a change; None takes the field away."""
    for path, value in changes.items():
        *way, last = path.split(".")
        place: Any = request
        for step in way:
            place = place[int(step)] if step.isdigit() else place[step]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return request


SOURCE = "InputDataConfig.0.DataSource.S3DataSource"
PREFERENCES = {"ResourceConfig.InstanceType": None, "ResourceConfig.InstanceCount": None}


@pytest.mark.parametrize(
    ("changes", "where", "rule"),
    [
        (
            {"StoppingCondition.MaxRuntimeInSeconds": 2_419_201},
            "Value '2419201' at 'stoppingCondition.maxRuntimeInSeconds'",
            "Member must have value less than or equal to 2419200 (28 days)",
        ),
        (
            {"StoppingCondition": {"MaxWaitTimeInSeconds": 86_399}, "EnableManagedSpotTraining": True},
            "Value '86399' at 'stoppingCondition.maxWaitTimeInSeconds'",
            "Member must be greater than or equal to MaxRuntimeInSeconds (86400)",
        ),
        (
            {"ResourceConfig.VolumeSizeInGB": None},
            "Value null at 'resourceConfig.volumeSizeInGB'",
            "Member must not be null: ml.m5.xlarge has no disk of its own",
        ),
        (
            {"ResourceConfig.InstanceType": "ml.g5.xlarge", "ResourceConfig.VolumeKmsKeyId": "key"},
            "Value 'key' at 'resourceConfig.volumeKmsKeyId'",
            "Member excludes ml.g5.xlarge, which has a disk of its own",
        ),
        (
            {"ResourceConfig.InstanceGroups": [PREFERENCE | {"InstanceGroupName": "g"}]}
            | {"ResourceConfig.InstanceCount": None},
            "Value 'ml.m5.xlarge' at 'resourceConfig.instanceType'",
            "Member excludes InstanceGroups",
        ),
        (
            {"ResourceConfig.InstancePreferences": [PREFERENCE], "ResourceConfig.InstanceCount": None},
            "Value 'ml.m5.xlarge' at 'resourceConfig.instanceType'",
            "Member excludes InstancePreferences",
        ),
        (
            {"ResourceConfig.InstancePreferences": [PREFERENCE], "ResourceConfig.InstanceType": None},
            "Value '1' at 'resourceConfig.instanceCount'",
            "InstanceCount must be given here or in every InstancePreferences",
        ),
        (
            PREFERENCES | {"ResourceConfig.InstancePreferences": [PREFERENCE, PREFERENCE]},
            "Value 'ml.m5.large' at 'resourceConfig.instancePreferences'",
            "InstanceType must be unique within the list",
        ),
        (
            {f"{SOURCE}.S3DataType": "AugmentedManifestFile", f"{SOURCE}.AttributeNames": ["a"]},
            "Value 'AugmentedManifestFile' at 'inputDataConfig.1.member.dataSource.s3DataSource.s3DataType'",
            "Member can be set only in Pipe input mode",
        ),
        (
            {f"{SOURCE}.S3DataType": "AugmentedManifestFile", "InputDataConfig.0.InputMode": "Pipe"},
            "Value null at 'inputDataConfig.1.member.dataSource.s3DataSource.attributeNames'",
            "Member must be present for an AugmentedManifestFile",
        ),
        (
            {"ProfilerConfig": PROFILER | {"ProfilingIntervalInMilliseconds": 300}},
            "Value '300' at 'profilerConfig.profilingIntervalInMilliseconds'",
            "Member must satisfy value set: [100, 200, 500, 1000, 5000, 60000]",
        ),
        (
            {"DebugHookConfig": PROFILER | {"CollectionConfigurations": [{"CollectionName": "c"}] * 2}},
            "Value 'c' at 'debugHookConfig.collectionConfigurations'",
            "CollectionName must be unique within the list",
        ),
        (
            {"Tags": [{"Key": "AWS:x", "Value": ""}]},
            "Value 'AWS:x' at 'tags.1.member.key'",
            "Member must not begin with aws:, which is reserved",
        ),
    ],
)
def test_a_rule_between_fields_names_field_value_and_rule(
    good_request: Request, changes: Request, where: str, rule: str
) -> None:
    """One broken rule is one message, in AWS's form."""
    with pytest.raises(RequestError) as caught:
        validate("CreateTrainingJob", changed(good_request, changes))
    assert caught.value.messages == (f"{where} failed to satisfy constraint: {rule}",)


@pytest.mark.parametrize(
    "changes",
    [
        {"StoppingCondition.MaxRuntimeInSeconds": 2_419_200},
        {"StoppingCondition": {"MaxWaitTimeInSeconds": 86_400}, "EnableManagedSpotTraining": True},
        {"ResourceConfig.InstanceType": "ml.g5.xlarge", "ResourceConfig.VolumeSizeInGB": None},
        PREFERENCES | {"ResourceConfig.InstancePreferences": [PREFERENCE]},
        {
            f"{SOURCE}.S3DataType": "AugmentedManifestFile",
            f"{SOURCE}.AttributeNames": ["a"],
            "AlgorithmSpecification.TrainingInputMode": "Pipe",
        },
        {"ProfilerConfig": PROFILER | {"ProfilingIntervalInMilliseconds": 500}},
        {"ProfilerConfig": {"DisableProfiler": True}},
        {"Tags": [{"Key": "my-aws:x", "Value": ""}]},
        {"HyperParameters": {f"h{number}": "v" * 2500 for number in range(100)}},
    ],
)
def test_what_keeps_a_rule_just_so_passes(good_request: Request, changes: Request) -> None:
    """The last value on the good side of each rule is taken."""
    validate("CreateTrainingJob", changed(good_request, changes))
