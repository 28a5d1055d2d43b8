"""Done or refused: no field of a request is ignored in silence."""

from typing import Any

import botocore.session
import pytest

from jobs.validation import validate
from local_mode import support
from local_mode.errors import ValidationException

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
    support.check(REQUEST)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"DebugHookConfig": {"S3OutputPath": "s3://b/x"}}, "DebugHookConfig of"),
        ({"VpcConfig": {}}, "VpcConfig of"),
        ({"ProfilerConfig": {"S3OutputPath": "s3://b/x"}}, "ProfilerConfig.S3OutputPath of"),
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
    ],
)
def test_what_is_not_emulated_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    """The refusal says which field, where it stands, and what would be taken."""
    with pytest.raises(ValidationException, match=f"does not emulate {named}"):
        support.check(REQUEST | change)


def test_the_table_declares_fields_that_exist() -> None:
    """A name in SUPPORT that botocore's model does not have would refuse nothing and promise something."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    fields = set(support.leaves(model.operation_model("CreateTrainingJob").input_shape))
    assert set(support.SUPPORT) <= fields


def test_the_document_is_current() -> None:
    """docs/support.md is what SUPPORT says; `python -m local_mode.support` writes it."""
    assert support.DOCUMENT.read_text(encoding="utf-8") == support.document()
