"""From jobs/train.yaml and the environment to the request that is sent."""

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.hyperparameters import Hyperparameters
from drydock.metrics import METRICS
from jobs.__main__ import main
from jobs.channels import ChannelChange
from jobs.document import Change
from jobs.errors import JobError
from jobs.order import Order
from jobs.variables import Variables, new_job_id

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/drydock-train@sha256:" + "0" * 64
AWS: Mapping[str, str] = {
    "TRAIN_IMAGE": IMAGE,
    "ROLE_ARN": "arn:aws:iam::123456789012:role/sagemaker",
    "BUCKET": "artifacts",
    "DATA": "s3://bucket/bins",
}


def order(
    file: Path,
    environment: Mapping[str, str],
    *,
    local: bool = False,
    changes: Sequence[str] = (),
    channels: Sequence[str] = (),
    images_file: Path = Path("nowhere/images.json"),
) -> Order:
    return Order(
        file=file,
        changes=[Change.from_string(change) for change in changes],
        channels=[ChannelChange.from_string(channel) for channel in channels],
        variables=Variables(
            environment=environment, job_id="20261120-231500-3f9a", local=local, images_file=images_file
        ),
    )


def channel(name: str, address: str) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": address,
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "InputMode": "File",
    }


def image_folder(folder: Path, *names: str) -> Path:
    for name in names or ("1", "2"):
        (folder / name).mkdir(parents=True)
    return folder


def nothing_listed(address: str) -> Sequence[str]:
    pytest.fail(f"{address} was listed")


def addresses(request: Mapping[str, Any]) -> dict[str, str]:
    return {
        item["ChannelName"]: item["DataSource"]["S3DataSource"]["S3Uri"]
        for item in request["InputDataConfig"]
    }


def test_the_whole_request_for_aws(train_yaml: Path) -> None:
    """`make train` sends this and nothing else."""
    (request,) = order(train_yaml, AWS, changes=["HyperParameters.epochs=3"]).requests(lambda _: ["1", "2"])
    document = yaml.safe_load(train_yaml.read_text())
    assert request == {
        "TrainingJobName": "drydock-train-20261120-231500-3f9a",
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": metric.name, "Regex": metric.regex} for metric in METRICS.values()
            ],
        },
        "HyperParameters": {**document["HyperParameters"], "epochs": "3"},
        "InputDataConfig": [channel("train", "s3://bucket/bins")],
        "OutputDataConfig": {"S3OutputPath": "s3://artifacts/drydock"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 7200},
        "RoleArn": AWS["ROLE_ARN"],
    }


def test_the_hyperparameters_of_the_file_are_good(train_yaml: Path) -> None:
    """The training program takes what the document sends."""
    Hyperparameters.from_strings(yaml.safe_load(train_yaml.read_text())["HyperParameters"])


def test_channels_follow_from_what_a_bucket_holds(train_yaml: Path) -> None:
    """An s3:// prefix with a folder `train` gives each known folder as a channel, and no other."""
    asked = []

    def listed(address: str) -> Sequence[str]:
        asked.append(address)
        return ["old", "test", "train"]

    (request,) = order(train_yaml, {**AWS, "DATA": "s3://bucket/bins/"}).requests(listed)
    assert asked == ["s3://bucket/bins"]
    assert addresses(request) == {"train": "s3://bucket/bins/train", "test": "s3://bucket/bins/test"}


def test_channels_follow_from_what_a_folder_holds(train_yaml: Path, tmp_path: Path) -> None:
    """A local folder with `train` gives its known neighbours too; class folders alone are `train`."""
    split = image_folder(tmp_path / "split", "train/1", "validation/1", "test/1", "pretrained", "notes")
    (request,) = order(train_yaml, {"DATA": str(split)}, local=True).requests(nothing_listed)
    assert addresses(request) == {
        name: f"file://{split}/{name}" for name in ("train", "validation", "test", "pretrained")
    }
    whole = image_folder(tmp_path / "whole")
    (request,) = order(train_yaml, {"DATA": str(whole)}, local=True).requests(nothing_listed)
    assert request["InputDataConfig"] == [channel("train", f"file://{whole}")]


def test_a_local_run_needs_only_data(train_yaml: Path, tmp_path: Path) -> None:
    """Image, role and bucket have local values; the environment wins over them."""
    data = str(image_folder(tmp_path / "data"))
    (request,) = order(train_yaml, {"DATA": data}, local=True).requests(nothing_listed)
    assert request["AlgorithmSpecification"]["TrainingImage"] == "drydock-train:latest"
    assert request["RoleArn"] == "arn:aws:iam::000000000000:role/drydock-local"
    assert request["OutputDataConfig"]["S3OutputPath"] == "s3://drydock-local/drydock"
    environment = {"DATA": data, "TRAIN_IMAGE": "mine:1", "BUCKET": "other"}
    (request,) = order(train_yaml, environment, local=True).requests(nothing_listed)
    assert request["AlgorithmSpecification"]["TrainingImage"] == "mine:1"
    assert request["OutputDataConfig"]["S3OutputPath"] == "s3://other/drydock"


def test_channels_of_the_command_line_are_added_and_replaced(train_yaml: Path, tmp_path: Path) -> None:
    """`--channel` names a further channel or another place, and with `train` named DATA is not needed."""
    weights, train = tmp_path / "weights", image_folder(tmp_path / "images")
    weights.mkdir()
    (request,) = order(
        train_yaml, {}, local=True, channels=[f"train={train}", f"pretrained={weights}", "test=s3://b/t"]
    ).requests(nothing_listed)
    assert request["InputDataConfig"] == [
        channel("train", f"file://{train}"),
        channel("pretrained", f"file://{weights}"),
        channel("test", "s3://b/t"),
    ]


@pytest.mark.parametrize("name", ["TRAIN_IMAGE", "ROLE_ARN", "BUCKET", "DATA"])
def test_a_missing_variable_is_named_with_the_way_to_set_it(train_yaml: Path, name: str) -> None:
    """One line with the name and an example."""
    environment = {key: value for key, value in AWS.items() if key != name}
    with pytest.raises(JobError, match=rf"^the variable {name} is not set: .*{name}=") as caught:
        order(train_yaml, environment).requests(lambda _: ())
    assert "\n" not in str(caught.value)


def test_a_pushed_image_is_found(train_yaml: Path, tmp_path: Path) -> None:
    """TRAIN_IMAGE comes from build/images.json, address and digest, where the environment has none."""
    images = tmp_path / "images.json"
    images.write_text(json.dumps({"drydock-train": {"image": IMAGE}}))
    environment = {key: value for key, value in AWS.items() if key != "TRAIN_IMAGE"}
    (request,) = order(train_yaml, environment, images_file=images).requests(lambda _: ())
    assert request["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    images.write_text("{")
    with pytest.raises(JobError, match="push the image again"):
        order(train_yaml, environment, images_file=images).requests(lambda _: ())


def test_aws_gets_no_folder_of_this_machine(train_yaml: Path, tmp_path: Path) -> None:
    """DATA and --channel with a folder are refused for AWS, with the command that copies it."""
    for environment, channels in (
        ({**AWS, "DATA": str(tmp_path)}, []),
        ({**AWS, "DATA": f"file://{tmp_path}"}, []),
        (AWS, [f"pretrained={tmp_path}"]),
    ):
        with pytest.raises(JobError, match=r"AWS cannot read it: copy it to a bucket \(aws s3 sync"):
            order(train_yaml, environment, channels=channels).requests(lambda _: ())


def test_a_folder_that_is_not_there_is_named(train_yaml: Path, tmp_path: Path) -> None:
    """One line with the absolute path."""
    with pytest.raises(JobError, match=rf"{tmp_path}/none: no such folder"):
        order(train_yaml, {"DATA": str(tmp_path / "none")}, local=True).requests(nothing_listed)


def test_job_ids_are_utc_and_differ() -> None:
    """Two jobs of one second have two names."""
    now = dt.datetime(2026, 11, 20, 23, 15, tzinfo=dt.UTC)
    ids = {new_job_id(now) for _ in range(20)}
    assert len(ids) > 1
    assert all(re.fullmatch(r"20261120-231500-[0-9a-f]{4}", job_id) for job_id in ids)


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of this machine's has a say."""
    for name in (*AWS, "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("bare_environment")
def test_a_dry_run_prints_the_pure_request(
    train_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--dry-run` prints what would be sent and nothing else, in YAML and in JSON."""
    data = image_folder(tmp_path / "data", "train/1", "test/1")
    monkeypatch.setenv("DATA", str(data))
    monkeypatch.setenv("JOB_ID", "1")
    command = ["run", str(train_yaml), "--local", "--dry-run", "--set", "HyperParameters.epochs=1"]
    (expected,) = order(
        train_yaml, {"DATA": str(data), "JOB_ID": "1"}, local=True, changes=["HyperParameters.epochs=1"]
    ).requests(nothing_listed)
    assert main(command) == 0
    assert yaml.safe_load(capsys.readouterr().out) == expected
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.usefixtures("bare_environment")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ResourceConfig.InstanceType=ml.m5.xlarg", "did you mean 'ml.m5.xlarge'?"),
        ("TrainingJobName=a_b", "regular expression pattern"),
        ("Hyperparameters.lr=1", "Unknown field 'Hyperparameters'; did you mean 'HyperParameters'?"),
        ("StoppingCondition.MaxRuntimeInSeconds=soon", "Member must be an integer"),
    ],
)
def test_a_bad_change_is_said_before_a_service_is_started(
    train_yaml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    change: str,
    words: str,
) -> None:
    """Exit code 2, one line, and no trace of a service."""
    monkeypatch.setenv("DATA", str(image_folder(tmp_path / "data")))
    home = tmp_path / "home"
    command = ["run", str(train_yaml), "--local", "--port", "0", "--home", str(home), "--set", change]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not home.exists()
