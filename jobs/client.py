"""Where requests go: AWS, or the local SageMaker, by the same boto3 clients."""

import os
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.config
import botocore.exceptions

from jobs.errors import JobError

LOCAL_REGION = "us-east-1"
ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
_SERVICES = ("sagemaker", "logs", "s3")


@dataclass(frozen=True, kw_only=True)
class Clients:
    """The boto3 clients that a job needs."""

    sagemaker: Any
    logs: Any
    s3: Any


def is_loopback(url: str | None) -> bool:
    """Whether an endpoint is on this machine, and so no AWS."""
    return url is not None and urllib.parse.urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def local_clients(endpoint: str) -> Clients:
    """Clients of the local SageMaker, with keys that mean nothing and past every proxy."""
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    session = boto3.Session(**keys, region_name=LOCAL_REGION)
    config = botocore.config.Config(
        proxies={}, s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 3}
    )
    return Clients(**{name: session.client(name, endpoint_url=endpoint, config=config) for name in _SERVICES})


def aws_clients() -> Clients:
    """Clients of AWS, by the user's own configuration (`AWS_PROFILE`, ...). Raises `JobError`."""
    # boto3 reads AWS_DEFAULT_REGION alone, AWS's other clients AWS_REGION.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    # Following a job asks again and again: throttling is waited out, by AWS's own adaptive rules.
    config = botocore.config.Config(retries={"mode": "adaptive", "total_max_attempts": 8})
    try:
        return Clients(**{name: session.client(name, config=config) for name in _SERVICES})
    except botocore.exceptions.NoRegionError as error:
        raise JobError("no AWS region: set AWS_REGION=REGION, or use a profile that has one") from error
    except botocore.exceptions.BotoCoreError as error:
        raise JobError(f"no AWS clients: {error}") from error


def said(error: Exception) -> str:
    """One line for what AWS or the way to it answered."""
    if isinstance(error, botocore.exceptions.ClientError):
        answer: Mapping[str, Any] = error.response.get("Error", {})
        return f"{error.operation_name}: {answer.get('Code', 'Unknown')}: {answer.get('Message', '')}"
    if isinstance(error, botocore.exceptions.NoCredentialsError):
        return "no AWS credentials: run `aws configure`, or set AWS_PROFILE"
    return " ".join(str(error).split())


def ensure_bucket(s3: Any, bucket: str) -> None:
    """Make a bucket of the local service where it is not there yet."""
    try:
        s3.head_bucket(Bucket=bucket)
    except botocore.exceptions.ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
            raise
        s3.create_bucket(Bucket=bucket)


def list_folders(s3: Any, address: str) -> Sequence[str]:
    """The names of the folders directly below an s3:// address. Raises `JobError`."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    names: list[str] = []
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            names += [found["Prefix"][len(prefix) :].rstrip("/") for found in page.get("CommonPrefixes", [])]
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        advice = "or name the channels: --channel train=s3://BUCKET/PREFIX"
        raise JobError(f"cannot see what {address} holds ({said(error)}): mend that, {advice}") from error
    return names
