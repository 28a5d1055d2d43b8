"""What the tests of `jobs` share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.harness import REPOSITORY, StubbedAws


@pytest.fixture
def aws() -> Iterator[StubbedAws]:
    """AWS as botocore's Stubber plays it; every answer that a test gives must have been asked for."""
    stubbed = StubbedAws()
    try:
        yield stubbed
    finally:
        stubbed.close()


@pytest.fixture
def train_yaml() -> Path:
    return REPOSITORY / "jobs" / "train.yaml"


@pytest.fixture
def good_request() -> dict[str, Any]:
    """A CreateTrainingJob request that AWS would take."""
    return {
        "TrainingJobName": "drydock-1",
        "AlgorithmSpecification": {
            "TrainingImage": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/drydock-train:1",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "test:loss", "Regex": "loss: ([0-9.]+)"}],
        },
        "HyperParameters": {"epochs": "2"},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/train"}},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "RoleArn": "arn:aws:iam::123456789012:role/sagemaker",
    }
