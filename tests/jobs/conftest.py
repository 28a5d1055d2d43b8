"""What the tests of `jobs` share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from jobs.client import Clients

REPOSITORY = Path(__file__).resolve().parents[2]


class StubbedClients:
    """Clients of an AWS that answers what a test says, and fails the test on any other call."""

    def __init__(self) -> None:
        session = boto3.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1"
        )
        self.clients = Clients(**{name: session.client(name) for name in ("sagemaker", "logs", "s3")})
        self.sagemaker = Stubber(self.clients.sagemaker)
        self.logs = Stubber(self.clients.logs)
        self.s3 = Stubber(self.clients.s3)
        for stubber in (self.sagemaker, self.logs, self.s3):
            stubber.activate()

    def assert_all_called(self) -> None:
        for stubber in (self.sagemaker, self.logs, self.s3):
            stubber.assert_no_pending_responses()


@pytest.fixture
def aws() -> Iterator[StubbedClients]:
    """AWS as botocore's Stubber plays it; every answer that a test gives must have been asked for."""
    stubbed = StubbedClients()
    yield stubbed
    stubbed.assert_all_called()


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
