"""The aws CLI 1, in an environment of its own, against the local SageMaker."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.harness import BUCKET, IMAGE, QUICK, REPOSITORY, ROLE, Client
from tests.engines.harness import LocalSageMaker

JOB = "drydock-train-cli"


@pytest.mark.slow
def test_awscli(client: Callable[[str], Client], service: LocalSageMaker, data: Path, tmp_path: Path) -> None:
    """Data up, the request that `jobs` prints, its wait, its log, its artifact, all by `aws`."""
    cli = client("awscli1")

    def aws(*arguments: str) -> str:
        # AWS_ENDPOINT_URL is left out: the option alone must do.
        return cli.run("aws", "--endpoint-url", service.endpoint, *arguments, AWS_ENDPOINT_URL="").stdout

    aws("s3", "sync", "--no-progress", str(data), f"s3://{BUCKET}/cli")
    files = sum(each.is_file() for each in data.rglob("*"))
    assert f"Total Objects: {files}\n" in aws("s3", "ls", "--recursive", "--summarize", f"s3://{BUCKET}/cli/")
    assert aws("s3", "sync", str(data), f"s3://{BUCKET}/cli") == ""  # nothing has changed

    request = tmp_path / "request.json"
    request.write_text(dry_run(service.endpoint))
    created = json.loads(aws("sagemaker", "create-training-job", "--cli-input-json", f"file://{request}"))
    assert created["TrainingJobArn"].endswith(f":training-job/{JOB}")
    service.finish(JOB)  # for `aws` asks every two minutes only
    aws("sagemaker", "wait", "training-job-completed-or-stopped", "--training-job-name", JOB)
    text = ("--output", "text", "--query")
    described = aws(
        "sagemaker", "describe-training-job", "--training-job-name", JOB, *text, "TrainingJobStatus"
    )
    assert described == "Completed\n"
    listed = aws(
        "sagemaker",
        "list-training-jobs",
        "--name-contains",
        JOB,
        *text,
        "TrainingJobSummaries[0].TrainingJobName",
    )
    assert listed == f"{JOB}\n"

    group = ("--log-group-name", "/aws/sagemaker/TrainingJobs")
    stream = aws(
        "logs",
        "describe-log-streams",
        *group,
        "--log-stream-name-prefix",
        f"{JOB}/",
        *text,
        "logStreams[0].logStreamName",
    ).strip()
    log = json.loads(aws("logs", "get-log-events", *group, "--log-stream-name", stream, "--start-from-head"))
    assert [each["message"] for each in log["events"]] == service.log(JOB)

    aws("s3", "cp", f"s3://{BUCKET}/drydock/{JOB}/output/model.tar.gz", str(tmp_path))
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        assert "model.json" in archive.getnames()
    refused = cli.attempt("aws", "sagemaker", "describe-training-job", "--training-job-name", "nobody")
    assert refused.returncode != 0
    assert "(ValidationException)" in refused.stderr


def dry_run(endpoint: str) -> str:
    """What `python -m jobs run jobs/train.yaml --dry-run --json` prints for AWS."""
    command = [sys.executable, "-m", "jobs", "run", "jobs/train.yaml", "--dry-run", "--json"]
    changes = [f"--set=HyperParameters.{name}={value}" for name, value in QUICK.items()]
    done = subprocess.run(
        [*command, *changes],
        cwd=REPOSITORY,
        env={
            "DATA": f"s3://{BUCKET}/cli",
            "BUCKET": BUCKET,
            "ROLE_ARN": ROLE,
            "TRAIN_IMAGE": IMAGE,
            "JOB_ID": "cli",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
