"""`python -m jobs run` on its way to AWS: what is said before anything leaves the machine."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from jobs import target
from jobs.__main__ import main
from tests.jobs.harness import StubbedAws

ENVIRONMENT: Mapping[str, str] = {
    "TRAIN_IMAGE": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/drydock-train:1",
    "ROLE_ARN": "arn:aws:iam::123456789012:role/sagemaker",
    "BUCKET": "artifacts",
    "DATA": "s3://bucket/bins",
    "JOB_ID": "1",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user's environment without any AWS configuration."""
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def test_without_a_region_one_line_says_so(train_yaml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No region is guessed."""
    assert main(["run", str(train_yaml)]) == 2
    assert capsys.readouterr().err == (
        "error: no AWS region: set AWS_REGION=REGION, or use a profile that has one\n"
    )


def test_without_credentials_one_line_says_so(
    train_yaml: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What DATA holds cannot be seen, and the way round is named."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert main(["run", str(train_yaml), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot see what s3://bucket/bins holds (no AWS credentials" in error
    assert main(["run", str(train_yaml), "--dry-run", "--channel", "train=s3://bucket/bins/train"]) == 0


def test_make_train_sends_the_document(
    train_yaml: Path,
    aws: StubbedAws,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What goes to AWS is what `--dry-run` prints, with the channels that the bucket holds."""
    monkeypatch.setattr(target, "aws_clients", lambda: aws.clients)
    listed = {"CommonPrefixes": [{"Prefix": "bins/train/"}, {"Prefix": "bins/test/"}]}
    asked = {"Bucket": "bucket", "Prefix": "bins/", "Delimiter": "/"}
    for _ in range(2):
        aws.s3.add_response("list_objects_v2", listed, asked)
    assert main(["run", str(train_yaml), "--dry-run", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    arn = "arn:aws:sagemaker:eu-central-1:123456789012:training-job/drydock-train-1"
    aws.sagemaker.add_response("create_training_job", {"TrainingJobArn": arn}, printed)
    assert main(["run", str(train_yaml), "--no-wait"]) == 0
    assert [channel["ChannelName"] for channel in printed["InputDataConfig"]] == ["train", "test"]
    assert "python -m jobs follow drydock-train-1\n" in capsys.readouterr().out
