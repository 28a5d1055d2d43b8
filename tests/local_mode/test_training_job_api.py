"""The operations of training jobs and of tags, by boto3 against a service with the process engine."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from tests.engines.harness import BUCKET, LocalSageMaker, local_sagemaker

# A program that ends at once needs no data, model or framework.
QUICK = "print('done')"
FOREVER = "import time\nprint('here', flush=True)\ntime.sleep(600)"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSageMaker]:
    with local_sagemaker("process", tmp_path_factory.mktemp("home-api")) as running:
        yield running
    assert running.leftovers() == []


@pytest.fixture(scope="module")
def ended(service: LocalSageMaker) -> dict[str, Any]:
    """The description of a job that has ended, for tests that only look at one."""
    tags = [{"Key": "project", "Value": "bins"}, {"Key": "größe", "Value": ""}]
    return service.run(service.script("ended", QUICK, Tags=tags))


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    """The error's code and its message."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def tags_of(service: LocalSageMaker, arn: str) -> dict[str, str]:
    tags = service.client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
    return {tag["Key"]: tag["Value"] for tag in tags}


def test_tags_are_added_listed_and_deleted(service: LocalSageMaker, ended: dict[str, Any]) -> None:
    """Those of the request are there; AddTags adds and overwrites and returns all; a key is deleted once."""
    client, arn = service.client("sagemaker"), ended["TrainingJobArn"]
    assert tags_of(service, arn) == {"project": "bins", "größe": ""}
    added = client.add_tags(
        ResourceArn=arn, Tags=[{"Key": "project", "Value": "boxes"}, {"Key": "b", "Value": "2"}]
    )
    assert added["Tags"] == [
        {"Key": "project", "Value": "boxes"},
        {"Key": "größe", "Value": ""},
        {"Key": "b", "Value": "2"},
    ]
    client.delete_tags(ResourceArn=arn, TagKeys=["b", "not-there"])
    assert tags_of(service, arn) == {"project": "boxes", "größe": ""}
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "project", "Value": "bins"}])


def test_tags_that_cannot_be(service: LocalSageMaker, ended: dict[str, Any]) -> None:
    """More than 50, the reserved prefix and an unknown resource are refused, and nothing is half done."""
    client, arn = service.client("sagemaker"), ended["TrainingJobArn"]
    before = tags_of(service, arn)
    many = [{"Key": f"k{number}", "Value": "v"} for number in range(49)]
    code, message = refusal(client.add_tags, ResourceArn=arn, Tags=many)
    assert (code, "51 tags; a resource has at most 50" in message) == ("ValidationException", True)
    reserved = [{"Key": "ok", "Value": ""}, {"Key": "aws:x", "Value": ""}]
    code, message = refusal(client.add_tags, ResourceArn=arn, Tags=reserved)
    assert (code, "Value 'aws:x' at 'tags.2.member.key'" in message) == ("ValidationException", True)
    request = service.request("reserved-tag", Tags=[{"Key": "aws:x", "Value": ""}])
    assert refusal(client.create_training_job, **request)[0] == "ValidationException"
    for call, more in (
        (client.add_tags, {"Tags": []}),
        (client.list_tags, {}),
        (client.delete_tags, {"TagKeys": ["a"]}),
    ):
        code, message = refusal(call, ResourceArn=f"{arn}-not", **more)
        assert code == "ValidationException"
        assert f"Requested resource not found: {arn}-not" in message
    assert tags_of(service, arn) == before


def test_tags_survive_a_killed_service(tmp_path: Path) -> None:
    """What AddTags has confirmed is there after kill -9 and a new start on the same home."""
    with local_sagemaker("process", tmp_path / "home") as first:
        arn = first.run(first.script("tagged", QUICK))["TrainingJobArn"]
        first.client("sagemaker").add_tags(ResourceArn=arn, Tags=[{"Key": "kept", "Value": "yes"}])
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(timeout=10)
    with local_sagemaker("process", tmp_path / "home") as second:
        assert tags_of(second, arn) == {"kept": "yes"}


def test_a_job_that_has_ended_is_deleted(service: LocalSageMaker) -> None:
    """The job goes with its metrics and tags, its name is free; its log and what it made stay."""
    client, s3 = service.client("sagemaker"), service.client("s3")
    script = "import os\nprint('loss=0.5')\nopen(os.environ['SM_MODEL_DIR'] + '/weights', 'w').close()"
    algorithm = service.request("x")["AlgorithmSpecification"]
    request = service.script(
        "deleted",
        script,
        Tags=[{"Key": "a", "Value": "b"}],
        AlgorithmSpecification=algorithm
        | {"MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]},
    )
    first = service.run(request)
    assert [metric["Value"] for metric in first["FinalMetricDataList"]] == [0.5]
    client.delete_training_job(TrainingJobName="deleted")
    code, message = refusal(client.describe_training_job, TrainingJobName="deleted")
    assert (code, message) == ("ValidationException", "Requested resource not found.")
    assert refusal(client.delete_training_job, TrainingJobName="deleted")[0] == "ValidationException"
    assert refusal(client.list_tags, ResourceArn=first["TrainingJobArn"])[0] == "ValidationException"
    key = first["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{BUCKET}/")
    assert s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] > 0
    assert "loss=0.5" in service.log("deleted")
    again = service.run(service.script("deleted", QUICK))
    assert again["TrainingJobStatus"] == "Completed"
    assert "FinalMetricDataList" not in again
    assert tags_of(service, again["TrainingJobArn"]) == {}


def test_a_job_that_runs_is_not_deleted(service: LocalSageMaker) -> None:
    """As long as a job is InProgress or Stopping it is in use."""
    client = service.client("sagemaker")
    name = service.create(service.script("in-use", FOREVER))
    service.until_logged(name, "here")
    code, message = refusal(client.delete_training_job, TrainingJobName=name)
    assert (code, "in status InProgress" in message) == ("ResourceInUse", True)
    client.stop_training_job(TrainingJobName=name)
    assert service.finish(name)["TrainingJobStatus"] == "Stopped"
    client.delete_training_job(TrainingJobName=name)


DEBUGGED = """\
import json, os, pathlib
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
for name in ("debughookconfig", "profilerconfig", "tensorboardoutputconfig"):
    file = base / "input/config" / f"{name}.json"
    print(name, json.dumps(json.loads(file.read_text()), sort_keys=True) if file.exists() else None)
def put(path, text):
    target = base / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
put("output/tensors/a/index.json", "tensors")
put("output/profiler/system/1.json", "profile")
put("output/board/events.out", "board")
(base / "output/tensors/link").symlink_to("a")
"""


def test_debugger_profiler_and_tensorboard_settings(service: LocalSageMaker) -> None:
    """The program reads its settings as files, what it leaves is uploaded, and Describe says them back."""
    settings: dict[str, Any] = {
        "DebugHookConfig": {
            "S3OutputPath": f"s3://{BUCKET}/debug/",
            "HookParameters": {"train.save_interval": "5"},
            "CollectionConfigurations": [
                {"CollectionName": "losses", "CollectionParameters": {"save_interval": "50"}}
            ],
        },
        "ProfilerConfig": {
            "S3OutputPath": f"s3://{BUCKET}/profile",
            "ProfilingIntervalInMilliseconds": 500,
            "ProfilingParameters": {"DetailedProfilingConfig": '{"StartStep": 5}'},
        },
        "TensorBoardOutputConfig": {
            "S3OutputPath": f"s3://{BUCKET}/board",
            "LocalPath": "/opt/ml/output/board",
        },
    }
    description = service.run(service.script("debugged", DEBUGGED, **settings))
    log = service.log("debugged")
    assert description["TrainingJobStatus"] == "Completed", log
    assert {field: description[field] for field in settings} == settings
    assert description["ProfilingStatus"] == "Enabled"
    read = {line.split()[0]: json.loads(line.partition(" ")[2]) for line in log if "config {" in line}
    assert read == {
        "debughookconfig": settings["DebugHookConfig"] | {"LocalPath": "/opt/ml/output/tensors"},
        "profilerconfig": settings["ProfilerConfig"],
        "tensorboardoutputconfig": settings["TensorBoardOutputConfig"],
    }
    s3 = service.client("s3")
    found = {
        key["Key"]: s3.get_object(Bucket=BUCKET, Key=key["Key"])["Body"].read()
        for prefix in ("debug/", "profile/", "board/")
        for key in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
    }
    assert found == {
        "debug/debugged/debug-output/a/index.json": b"tensors",
        "profile/debugged/profiler-output/system/1.json": b"profile",
        "board/debugged/tensorboard-output/events.out": b"board",
    }
    assert any("/opt/ml/output/tensors/link not uploaded" in line for line in log)


def test_a_profiler_that_is_off_uploads_nothing(service: LocalSageMaker) -> None:
    """DisableProfiler is in the program's file, and the folder stays where it is; no hook, no hook's file."""
    path = f"s3://{BUCKET}/off"
    config = {"S3OutputPath": path, "DisableProfiler": True}
    description = service.run(service.script("profiler-off", DEBUGGED, ProfilerConfig=config))
    assert description["TrainingJobStatus"] == "Completed"
    assert description["ProfilingStatus"] == "Disabled"
    log = service.log("profiler-off")
    assert f"profilerconfig {json.dumps(config, sort_keys=True)}" in log
    assert "debughookconfig None" in log
    assert service.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="off/")["KeyCount"] == 0


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (
            {"DebugHookConfig": {"S3OutputPath": "s3://no-such-bucket/x"}},
            "ValidationException",
            "DebugHookConfig.S3OutputPath s3://no-such-bucket/x: no bucket no-such-bucket",
        ),
        (
            {"DebugHookConfig": {"S3OutputPath": f"s3://{BUCKET}/x", "LocalPath": "/tmp/tensors"}},
            "ValidationException",
            "DebugHookConfig.LocalPath /tmp/tensors",
        ),
        (
            {"TensorBoardOutputConfig": {"S3OutputPath": f"s3://{BUCKET}", "LocalPath": "/opt/ml/input/x"}},
            "ValidationException",
            "outside of /opt/ml/input",
        ),
        (
            {"DebugRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]},
            "ValidationException",
            "does not emulate DebugRuleConfigurations of CreateTrainingJob",
        ),
        (
            {"ProfilerRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]},
            "ValidationException",
            "does not emulate ProfilerRuleConfigurations of CreateTrainingJob",
        ),
        (
            {"EnableNetworkIsolation": True},
            "ValidationException",
            "EnableNetworkIsolation: the process engine has no container to apply it to",
        ),
        (
            {"StoppingCondition": {"MaxWaitTimeInSeconds": 5}},
            "ValidationException",
            "Value '5' at 'stoppingCondition.maxWaitTimeInSeconds' failed to satisfy constraint",
        ),
        (
            {"HyperParameters": {"k": "v" * 2501}},
            "ValidationException",
            "Map value must satisfy constraint: [Member must have length less than or equal to 2500]",
        ),
        ({"TrainingJobName": "ended"}, "ResourceInUse", "Training job names must be unique"),
    ],
)
@pytest.mark.usefixtures("ended")
def test_a_refusal_names_field_value_and_rule(
    service: LocalSageMaker, changes: dict[str, Any], code: str, words: str
) -> None:
    """Whatever cannot be is refused before anything starts, with AWS's code."""
    request = service.request("refused") | changes
    refused, message = refusal(service.client("sagemaker").create_training_job, **request)
    assert refused == code
    assert words in message


def test_harmless_settings_are_said_back(service: LocalSageMaker) -> None:
    """A VPC, which nothing here has, and a shuffle of a folder change nothing, and Describe shows both."""
    service.client("s3").put_object(Bucket=BUCKET, Key="shuffled/one", Body=b"1")
    changes: dict[str, Any] = {
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/shuffled/"}
                },
                "ContentType": "image/jpeg",
                "ShuffleConfig": {"Seed": 7},
            }
        ],
        "Environment": {"FLAVOUR": "vanilla"},
        "DebugRuleConfigurations": [],
    }
    script = "import os\nprint(os.environ['FLAVOUR'], os.listdir(os.environ['SM_CHANNEL_TRAIN']))"
    description = service.run(service.script("harmless", script, **changes))
    assert description["TrainingJobStatus"] == "Completed"
    assert {field: description[field] for field in changes} == changes
    assert "vanilla ['one']" in service.log("harmless")


def test_a_manifest_names_the_files_of_a_channel(service: LocalSageMaker) -> None:
    """Each entry of a ManifestFile is an object, and its path below the channel's folder."""
    s3 = service.client("s3")
    for key in ("pictures/a/1.jpg", "pictures/b/2.jpg", "pictures/c/3.jpg"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    manifest = [{"prefix": f"s3://{BUCKET}/pictures/"}, "a/1.jpg", "c/3.jpg"]
    s3.put_object(Bucket=BUCKET, Key="lists/train.manifest", Body=json.dumps(manifest).encode())
    source = {"S3DataType": "ManifestFile", "S3Uri": f"s3://{BUCKET}/lists/train.manifest"}
    script = (
        "import os, pathlib\nroot = pathlib.Path(os.environ['SM_CHANNEL_TRAIN'])\n"
        "print(sorted((str(p.relative_to(root)), p.read_text()) for p in root.rglob('*') if p.is_file()))"
    )
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": source}}
    service.run(service.script("manifest", script, InputDataConfig=[channel]))
    assert "[('a/1.jpg', 'pictures/a/1.jpg'), ('c/3.jpg', 'pictures/c/3.jpg')]" in service.log("manifest")


def test_a_list_is_paged_by_boto3(service: LocalSageMaker, ended: dict[str, Any]) -> None:
    """boto3's own paginator sees every job once, and a filter by time takes datetimes."""
    client = service.client("sagemaker")
    whole = client.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    paged = client.get_paginator("list_training_jobs").paginate(PaginationConfig={"PageSize": 1})
    assert [job for page in paged for job in page["TrainingJobSummaries"]] == whole
    after = client.list_training_jobs(CreationTimeAfter=ended["CreationTime"])["TrainingJobSummaries"]
    assert "ended" not in [job["TrainingJobName"] for job in after]


def test_boto3_searches(service: LocalSageMaker, ended: dict[str, Any]) -> None:
    """By the wire an expression within an expression is read, and another resource is refused by name."""
    client = service.client("sagemaker")
    by_name = {"Filters": [{"Name": "TrainingJobArn", "Value": ended["TrainingJobArn"]}]}
    reply = client.search(Resource="TrainingJob", SearchExpression={"SubExpressions": [by_name]})
    ((result),) = reply["Results"]
    record = result["TrainingJob"]
    assert record["Tags"] == client.list_tags(ResourceArn=ended["TrainingJobArn"])["Tags"]
    assert record["SecondaryStatusTransitions"] == ended["SecondaryStatusTransitions"]
    code, message = refusal(client.search, Resource="Endpoint")
    assert (code, "does not emulate Resource 'Endpoint' of Search" in message) == (
        "ValidationException",
        True,
    )


@pytest.mark.parametrize(
    ("call", "request_", "operation"),
    [
        ("list_models", {}, "ListModels"),
        ("update_training_job", {"TrainingJobName": "ended"}, "UpdateTrainingJob"),
    ],
)
def test_an_operation_that_is_not_emulated_says_so(
    service: LocalSageMaker, call: str, request_: dict[str, Any], operation: str
) -> None:
    """A refused operation is named, and what there is instead."""
    code, message = refusal(getattr(service.client("sagemaker"), call), **request_)
    assert code == "UnknownOperationException"
    assert f"SageMaker {operation} is not emulated by the local SageMaker" in message
