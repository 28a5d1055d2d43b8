"""boto3: objects, jobs, waiters, paginators, logs and error codes."""

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

given = json.loads(sys.argv[1])
BUCKET = given["bucket"]
s3 = boto3.client("s3")
sagemaker = boto3.client("sagemaker")
logs = boto3.client("logs")
GROUP = "/aws/sagemaker/TrainingJobs"


def request(name: str, script: str) -> dict[str, Any]:
    """A job that runs a script of one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("program.py")
        info.size = len(script)
        archive.addfile(info, io.BytesIO(script.encode()))
    packed.seek(0)
    s3.upload_fileobj(packed, BUCKET, f"code/{name}.tar.gz")
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": given["image"], "TrainingInputMode": "File"},
        "RoleArn": given["role"],
        "HyperParameters": {
            "sagemaker_program": "program.py",
            "sagemaker_submit_directory": f"s3://{BUCKET}/code/{name}.tar.gz",
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/results"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def wait(name: str) -> dict[str, Any]:
    waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 100})
    found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
    return found


def objects() -> dict[str, Any]:
    """Files up and down, in parts, whole and listed by pages."""
    folder = Path.cwd()
    (folder / "big").write_bytes(os.urandom(20 << 20))
    s3.upload_file(str(folder / "big"), BUCKET, "boto3/big", ExtraArgs={"Metadata": {"made": "here"}})
    s3.download_file(BUCKET, "boto3/big", str(folder / "back"))
    for number in range(5):
        s3.put_object(Bucket=BUCKET, Key=f"boto3/many/{number}", Body=b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix="boto3/many/", PaginationConfig={"PageSize": 2}
    )
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("big", "back")]
    return {
        "same": digests[0] == digests[1],
        "metadata": s3.head_object(Bucket=BUCKET, Key="boto3/big")["Metadata"],
        "pages": [[each["Key"] for each in page["Contents"]] for page in pages],
    }


def jobs() -> dict[str, Any]:
    """Two jobs to their ends, one of them stopped, and what a client lists of them."""
    body = "import os\nfor i in range(25): print('line', i)\n"
    body += "open(os.environ['SM_MODEL_DIR'] + '/w', 'w').close()"
    sagemaker.create_training_job(**request("boto3-first", body))
    endless = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.1)"
    sagemaker.create_training_job(**request("boto3-second", endless))
    first = wait("boto3-first")
    s3.download_file(
        BUCKET, first["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{BUCKET}/"), "model.tar.gz"
    )
    with tarfile.open("model.tar.gz") as archive:
        members = archive.getnames()
    running = sagemaker.describe_training_job(TrainingJobName="boto3-second")["TrainingJobStatus"]
    sagemaker.stop_training_job(TrainingJobName="boto3-second")
    second = wait("boto3-second")
    pages = sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains="boto3-", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 1}
    )
    return {
        "statuses": [first["TrainingJobStatus"], running, second["TrainingJobStatus"]],
        "model": members,
        "pages": [[each["TrainingJobName"] for each in page["TrainingJobSummaries"]] for page in pages],
        "lines": lines("boto3-first"),
        "filtered": [
            event["message"]
            for page in logs.get_paginator("filter_log_events").paginate(
                logGroupName=GROUP, logStreamNamePrefix="boto3-first/", filterPattern="24"
            )
            for event in page["events"]
        ],
    }


def lines(name: str) -> list[str]:
    """A job's whole log by get_log_events, ten events at a time."""
    found = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
    told: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = logs.get_log_events(
            logGroupName=GROUP, logStreamName=found[0]["logStreamName"], startFromHead=True, limit=10, **token
        )
        told += [event["message"] for event in page["events"]]
        if token == {"nextToken": page["nextForwardToken"]}:
            return told
        token = {"nextToken": page["nextForwardToken"]}


def errors() -> dict[str, str]:
    """What each bad call is answered with."""
    unchecked = boto3.client("sagemaker", config=Config(parameter_validation=False))
    good = request("boto3-first", "")

    def code(call: Callable[[], Any]) -> str:
        try:
            call()
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "none"

    return {
        "used name": code(lambda: sagemaker.create_training_job(**good)),
        "bad name": code(lambda: sagemaker.create_training_job(**good | {"TrainingJobName": "a_b"})),
        "missing field": code(lambda: unchecked.create_training_job(TrainingJobName="boto3-less")),
        "unknown job": code(lambda: sagemaker.describe_training_job(TrainingJobName="boto3-nobody")),
        "stop of an ended job": code(lambda: sagemaker.stop_training_job(TrainingJobName="boto3-first")),
        "unknown operation": code(sagemaker.list_models),
        "unknown bucket": code(lambda: s3.list_objects_v2(Bucket="nobodys")),
        "unknown key": code(lambda: s3.get_object(Bucket=BUCKET, Key="nothing")),
        "unknown head": code(lambda: s3.head_object(Bucket=BUCKET, Key="nothing")),
        "unknown log": code(lambda: logs.get_log_events(logGroupName=GROUP, logStreamName="nobody/algo-1")),
    }


print(json.dumps({"objects": objects(), "jobs": jobs(), "errors": errors()}))
