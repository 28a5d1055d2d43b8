"""AWS as botocore's Stubber plays it."""

import boto3
from botocore.stub import Stubber

from jobs.client import Clients


class StubbedAws:
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
