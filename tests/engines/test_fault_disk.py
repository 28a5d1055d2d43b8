"""A full disk under the home: what was asked for fails with that reason, and the service lives on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.engines.conftest import need_docker
from tests.engines.harness import BUCKET, IMAGE, LocalSageMaker, local_sagemaker, polls

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20
DISK = 40 * MEGABYTE
READ = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}

LOUD = "for number in range(100_000): print(number, 'x' * 1000)"
LARGE = """\
import os, pathlib
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
(base / "model" / "weights").write_bytes(os.urandom(22 << 20))
"""
PATIENT = """\
import os, pathlib, time
flag = pathlib.Path(os.environ["FLAG"])
print("waiting", flush=True)
while not flag.exists():
    time.sleep(0.05)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of DISK bytes."""
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system can be mounted by root only, where the machine allows it")
    yield home
    subprocess.run(["umount", "--lazy", str(home)], check=True)


def fill(home: Path) -> Path:
    """Takes all the space that is left."""
    ballast = home / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for piece in (MEGABYTE, 4096, 1):
            try:
                while True:
                    file.write(bytes(piece))
            except OSError:
                continue
    return ballast


def failure(service: LocalSageMaker, request: dict[str, Any]) -> str:
    description = service.run(request)
    assert description["TrainingJobStatus"] == "Failed", service.log(request["TrainingJobName"])[-3:]
    reason = str(description["FailureReason"])
    assert "full" in reason or "No space left" in reason, reason
    return reason


def create_many(service: LocalSageMaker, request: dict[str, Any]) -> None:
    """SQLite's log has some space of its own left."""
    for number in range(2000):
        service.create(request | {"TrainingJobName": f"refused-{number}"})


def test_a_full_disk(disk: Path, tmp_path: Path) -> None:
    """Put, download, log and upload each fail alone, what was there stays, and the next job works."""
    with local_sagemaker("process", disk) as service:
        s3 = service.client("s3")
        s3.put_object(Bucket=BUCKET, Key="kept", Body=b"old")
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=BUCKET, Key="kept", Body=bytes(2 * DISK))
        assert caught.value.response["Error"]["Code"] == "InsufficientStorage"
        assert str(disk) in caught.value.response["Error"]["Message"]
        assert s3.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"old"

        s3.put_object(Bucket=BUCKET, Key="data/large", Body=os.urandom(DISK // 2))
        source = {**READ, "S3Uri": f"s3://{BUCKET}/data/"}
        channel = {"ChannelName": "train", "DataSource": {"S3DataSource": source}}
        reason = failure(service, service.script("download", LARGE, InputDataConfig=[channel]))
        assert reason.startswith("ClientError: this machine's disk is full"), reason
        s3.delete_object(Bucket=BUCKET, Key="data/large")

        reason = failure(service, service.script("upload", LARGE))
        assert "upload failed" in reason, reason

        failure(service, service.script("log", LOUD))
        # The log that filled it is kept: the user makes room.
        service.client("sagemaker").delete_training_job(TrainingJobName="log")
        for path in (disk / "logs").rglob("*"):
            if path.is_file() and path.stat().st_size > MEGABYTE:
                os.truncate(path, 0)
        assert service.run(service.script("next", "print('hello')\n"))["TrainingJobStatus"] == "Completed"

        flag = tmp_path / "flag"
        name = service.create(service.script("ends-on-it", PATIENT, Environment={"FLAG": str(flag)}))
        service.until_logged(name, "waiting")
        request = service.script("refused", LARGE)
        ballast = fill(disk)
        with pytest.raises(ClientError, match="InsufficientStorage"):
            create_many(service, request)
        flag.touch()
        description = service.finish(name)
        assert description["TrainingJobStatus"] in {"Completed", "Failed"}
        ballast.unlink()
        for _ in polls():
            states = service.client("sagemaker").list_training_jobs(StatusEquals="InProgress")
            if not states["TrainingJobSummaries"]:
                break
        assert service.run(service.script("last", "print('hello')\n"))["TrainingJobStatus"] == "Completed"
        assert service.leftovers() == []


@pytest.mark.docker
def test_a_log_that_fills_the_disk(disk: Path) -> None:
    """With Docker too a job whose log has no space is ended with that reason, and its container goes."""
    need_docker(IMAGE)
    with local_sagemaker("docker", disk) as service:
        algorithm = {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-c"],
            "ContainerArguments": [LOUD],
        }
        failure(service, service.request("loud", AlgorithmSpecification=algorithm))
        assert service.leftovers() == []


def test_a_service_that_stops_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    """Its programs end with it all the same, and the next service says how the job ended."""
    flag = tmp_path / "flag"
    with local_sagemaker("process", disk) as service:
        name = service.create(service.script("stopped", PATIENT, Environment={"FLAG": str(flag)}))
        service.until_logged(name, "waiting")
        ballast = fill(disk)
    assert [each for each in service.leftovers() if each.startswith("process")] == []
    ballast.unlink()
    with local_sagemaker("process", disk) as service:
        description = service.finish(name)
        assert description["TrainingJobStatus"] in {"Stopped", "Failed"}
        assert service.leftovers() == []
