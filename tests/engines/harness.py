"""A local SageMaker of a test's own, driven by boto3 as any client would."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.config

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BUCKET = "engine-tests"
IMAGE = "drydock-train:latest"
STOP_GRACE_SECONDS = 3
ENDED = ("Completed", "Failed", "Stopped")
_DEADLINE_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class LocalSageMaker:
    """A running service and its clients."""

    engine: str
    home: Path
    endpoint: str
    process: subprocess.Popen[str]

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=botocore.config.Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
        )

    def request(self, name: str, **changes: Any) -> dict[str, Any]:
        """A whole CreateTrainingJob request; `changes` replace its fields."""
        return {
            "TrainingJobName": name,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "RoleArn": "arn:aws:iam::000000000000:role/drydock-tests",
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/results"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        } | changes

    def script(self, name: str, script: str, **changes: Any) -> dict[str, Any]:
        """The same for a user's own script, as the SDK's script mode sends it."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            info = tarfile.TarInfo("program.py")
            info.size = len(script.encode())
            archive.addfile(info, io.BytesIO(script.encode()))
        key = f"code/{name}/sourcedir.tar.gz"
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=packed.getvalue())
        parameters = {
            "sagemaker_program": json.dumps("program.py"),
            "sagemaker_submit_directory": json.dumps(f"s3://{BUCKET}/{key}"),
        }
        return self.request(name, HyperParameters=parameters, **changes)

    def offline(self, name: str, script: str, shell: str, **changes: Any) -> dict[str, Any]:
        """A program that asks nothing of the service, so that it may be killed at any moment.

        A Python script for the process engine, one line of shell in a container.
        """
        if self.engine == "process":
            folder = self.home.with_name(f"{self.home.name}-code-{name}")
            folder.mkdir(exist_ok=True)
            (folder / "program.py").write_text(script)
            parameters = {
                "sagemaker_program": json.dumps("program.py"),
                "sagemaker_submit_directory": json.dumps(str(folder)),
            }
            return self.request(name, HyperParameters=parameters, **changes)
        request = self.request(name, **changes)
        request["AlgorithmSpecification"] |= {
            "ContainerEntrypoint": ["sh", "-c"],
            "ContainerArguments": [shell],
        }
        return request

    def create(self, request: Mapping[str, Any]) -> str:
        self.client("sagemaker").create_training_job(**request)
        return str(request["TrainingJobName"])

    def describe(self, name: str) -> dict[str, Any]:
        description: dict[str, Any] = self.client("sagemaker").describe_training_job(TrainingJobName=name)
        return description

    def finish(self, name: str) -> dict[str, Any]:
        """The job's description once it has ended."""
        for _ in polls():
            description = self.describe(name)
            if description["TrainingJobStatus"] in ENDED:
                return description
        raise AssertionError(f"{name} has not ended: {description}; its log: {self.log(name)}")

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self.finish(self.create(request))

    def until_logged(self, name: str, line: str) -> None:
        for _ in polls():
            if line in self.log(name):
                return
            assert self.describe(name)["TrainingJobStatus"] == "InProgress", self.log(name)
        raise AssertionError(f"{name} never printed {line!r}: {self.log(name)}")

    def log(self, name: str) -> list[str]:
        """Every line of the job's log."""
        return [event["message"] for event in self.events(name)]

    def events(self, name: str) -> list[dict[str, Any]]:
        logs = self.client("logs")
        group = "/aws/sagemaker/TrainingJobs"
        try:
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")
        except logs.exceptions.ResourceNotFoundException:
            return []
        events: list[dict[str, Any]] = []
        for stream in streams["logStreams"]:
            token: dict[str, str] = {}
            while True:
                page = logs.get_log_events(
                    logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True, **token
                )
                events += page["events"]
                if page["nextForwardToken"] == token.get("nextToken"):
                    break
                token = {"nextToken": page["nextForwardToken"]}
        return events

    def unpack(self, uri: str, target: Path) -> Path:
        """Downloads and unpacks an archive that the job left."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            archive.extractall(target, filter="data")
        return target

    def leftovers(self) -> list[str]:
        """Folders, processes, containers, volumes and networks of jobs of this home."""
        found = [str(path) for path in (self.home / "jobs").iterdir()]
        mark = f"SAGEMAKER_BASE_DIR={self.home}/".encode()
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdecimal() and mark in (process / "environ").read_bytes():
                    found.append(f"process {process.name}")
        if self.engine == "docker":
            import docker  # noqa: PLC0415  only where the engine is

            filters: dict[str, Any] = {"label": f"drydock.home={self.home}"}
            with contextlib.closing(docker.DockerClient.from_env()) as client:
                found += [
                    f"container {each.name}" for each in client.containers.list(all=True, filters=filters)
                ]
                found += [f"volume {each.name}" for each in client.volumes.list(filters=filters)]
                found += [f"network {each.name}" for each in client.networks.list(filters=filters)]
        return found


@contextlib.contextmanager
def local_sagemaker(engine: str, home: Path, *options: str) -> Iterator[LocalSageMaker]:
    """Starts a service on a free port, stops it at the end, and then wants a clean exit."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # What must never be seen in a host: keys of the user's own.
    environment |= {
        "AWS_ACCESS_KEY_ID": "the-users-own-key",
        "AWS_SECRET_ACCESS_KEY": "the-users-own-secret",
        "DRYDOCK_STOP_GRACE_SECONDS": str(STOP_GRACE_SECONDS),
    }
    command = [
        sys.executable,
        "-m",
        "local_mode",
        "up",
        "--port",
        "0",
        "--engine",
        engine,
        "--home",
        str(home),
        *options,
    ]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().split()
            assert ready[:1] == ["ready"], f"no ready line from {command}: {ready}"
            service = LocalSageMaker(
                engine=ready[2].removeprefix("engine="), home=home, endpoint=ready[1], process=process
            )
            service.client("s3").create_bucket(Bucket=BUCKET)
            yield service
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=60)
    # -9: the test itself killed it.
    assert process.returncode in {0, -signal.SIGKILL}


def polls() -> Iterator[None]:
    """Ten times a second, until the deadline."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        yield
        time.sleep(0.1)
