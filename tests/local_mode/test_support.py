"""Done or refused: no field of a request is ignored in silence."""

from typing import Any

import pytest

from jobs.validation import service_model, validate
from local_mode import support, support_document
from local_mode.errors import ValidationException
from local_mode.server import SAGEMAKER

REQUEST: dict[str, Any] = {
    "TrainingJobName": "job",
    "HyperParameters": {"epochs": "1"},
    "AlgorithmSpecification": {
        "TrainingImage": "drydock-train",
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "m", "Regex": "m=(.*)"}],
    },
    "RoleArn": "arn:aws:iam::000000000000:role/drydock",
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train"}},
            "CompressionType": "None",
            "RecordWrapperType": "None",
        }
    ],
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out", "KmsKeyId": ""},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "Tags": [{"Key": "project", "Value": "drydock"}],
    "Environment": {"DebugHookConfig": "a key of the user's own"},
    "EnableManagedSpotTraining": False,
    "EnableNetworkIsolation": False,
}


def test_an_ordinary_request_is_taken() -> None:
    """The fields that the service acts on pass, and so do those that say `off`."""
    validate("CreateTrainingJob", REQUEST)
    support.check("CreateTrainingJob", REQUEST)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"DebugRuleConfigurations": [{"RuleConfigurationName": "r"}]}, "DebugRuleConfigurations of"),
        ({"ProfilerRuleConfigurations": [{}]}, "ProfilerRuleConfigurations of"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/x"}}, "CheckpointConfig of"),
        ({"EnableManagedSpotTraining": True}, "EnableManagedSpotTraining True of"),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2}},
            "ResourceConfig.InstanceCount 2 of",
        ),
        (
            {"OutputDataConfig": {"S3OutputPath": "s3://b/x", "KmsKeyId": "k"}},
            "OutputDataConfig.KmsKeyId 'k'",
        ),
        (
            {"InputDataConfig": [REQUEST["InputDataConfig"][0] | {"InputMode": "Pipe"}]},
            r"InputDataConfig\[0\].InputMode 'Pipe' of CreateTrainingJob, only 'File'",
        ),
        (
            {"InputDataConfig": [REQUEST["InputDataConfig"][0] | {"CompressionType": "Gzip"}]},
            r"InputDataConfig\[0\].CompressionType 'Gzip' of CreateTrainingJob, only 'None' \(.* File mode",
        ),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    """The refusal says which field, where it stands, and what would be taken."""
    with pytest.raises(ValidationException, match=f"does not emulate {named}"):
        support.check("CreateTrainingJob", REQUEST | change)


def test_a_list_of_nothing_asks_for_nothing() -> None:
    """Clients send empty lists of what they do not use."""
    support.check("CreateTrainingJob", REQUEST | {"DebugRuleConfigurations": []})


def test_the_table_declares_fields_that_exist() -> None:
    """A name in SUPPORT that botocore's model does not have would refuse nothing and promise something."""
    for operation, fields in support.SUPPORT.items():
        shape = service_model().operation_model(operation).input_shape
        assert set(fields) <= set(support_document.leaves(shape)), operation


def test_the_table_has_the_operations_that_are_served() -> None:
    """Whatever is dispatched is checked by the table first, and the table promises nothing else."""
    assert set(support.SUPPORT) == set(SAGEMAKER.operations)


def test_the_document_is_current() -> None:
    """docs/support.md is what the tables say; `make docs` writes it."""
    assert support_document.DOCUMENT.read_text(encoding="utf-8") == support_document.document()
