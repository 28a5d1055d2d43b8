"""One suite on both engines: a user's script from its request to its artifact."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.harness import BUCKET, STOP_GRACE_SECONDS, LocalSageMaker

pytestmark = pytest.mark.slow

SURVEY = """\
import json, os, pathlib, sys
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
config = base / "input" / "config"
seen = {
    "config": {f.stem: json.loads(f.read_text()) for f in config.glob("*.json")},
    "files": {
        str(file.relative_to(base)): file.read_text()
        for file in (base / "input" / "data").rglob("*") if file.is_file()
    },
    "environment": dict(os.environ),
}
out = base / "output" / "data"
(out / "deep").mkdir()
(out / "deep" / "seen.json").write_text(json.dumps(seen))
(base / "model" / "weights.bin").write_bytes(bytes(1000))
try:
    (base / "input" / "data" / "local" / "inner" / "one.txt").unlink()
except OSError as error:
    print("kept:", error)
for number in range(2000):
    print(f"line {number}", file=sys.stderr if number % 500 == 499 else sys.stdout, flush=number % 500 >= 498)
print("accuracy=0.25")
print("accuracy=0.75 loss=1.5e-1")
"""

WAIT = """\
import os, pathlib, signal, sys, time
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
(base / "model" / "checkpoint").write_text("half")
def stop(number, frame):
    print("told to stop", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("waiting", flush=True)
time.sleep(600)
"""

TICK = """\
import time
for _ in range(5):
    print(f"now {time.time() * 1000:.0f}", flush=True)
    time.sleep(0.2)
"""

DEAF = """\
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
command = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(command, start_new_session=True, env={})
print("child", child.pid, flush=True)
print("waiting", flush=True)
time.sleep(600)
"""

FILE_CHANNEL = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}


def channel(name: str, uri: str) -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {**FILE_CHANNEL, "S3Uri": uri}}}


def messages(description: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["Status"], each["StatusMessage"]) for each in description["SecondaryStatusTransitions"]]


def is_sleeping(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"time.sleep(600)" in command


def test_a_job_from_request_to_artifact(service: LocalSageMaker, tmp_path: Path) -> None:
    """The script finds its tree and environment, and what it leaves comes to the S3OutputPath whole."""
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "inner" / "one.txt").write_text("1")
    service.client("s3").put_object(Bucket=BUCKET, Key="data/a/x.txt", Body=b"x")
    request = service.script(
        "whole",
        SURVEY,
        InputDataConfig=[
            channel("local", f"file://{tmp_path}/data"),
            channel("remote", f"s3://{BUCKET}/data") | {"ContentType": "text/plain"},
        ],
        Environment={"GREETING": "hello"},
    )
    request["HyperParameters"]["epochs"] = "3"
    request["AlgorithmSpecification"]["MetricDefinitions"] = [
        {"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"},
        {"Name": "loss", "Regex": r"loss=(\S+)"},
        {"Name": "never", "Regex": "never=(.*)"},
    ]
    description = service.run(request)
    log = service.log("whole")
    assert description["TrainingJobStatus"] == "Completed", log

    assert messages(description) == [
        ("Starting", "Preparing the instances for training"),
        ("Downloading", "Downloading input data"),
        ("Training", "Training image download completed. Training in progress."),
        ("Uploading", "Uploading generated training model"),
        ("Completed", "Training job completed"),
    ]
    metrics = {each["MetricName"]: each["Value"] for each in description["FinalMetricDataList"]}
    assert metrics == pytest.approx({"accuracy": 0.75, "loss": 0.15})
    assert description["BillableTimeInSeconds"] >= 1

    numbers = [int(line.removeprefix("line ")) for line in log if line.startswith("line ")]
    assert sorted(numbers) == list(range(2000))
    # stdout and stderr are two pipes; each keeps its own order.
    own = [number for number in numbers if number % 500 != 499]
    assert own == sorted(own)

    artifact = description["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifact == f"s3://{BUCKET}/results/whole/output/model.tar.gz"
    assert (service.unpack(artifact, tmp_path / "model") / "weights.bin").stat().st_size == 1000
    data = service.unpack(artifact.replace("model.tar", "output.tar"), tmp_path / "output")
    seen = json.loads((data / "deep" / "seen.json").read_text())
    assert seen["config"]["hyperparameters"] == request["HyperParameters"]
    assert seen["config"]["resourceconfig"] == {
        "current_host": "algo-1",
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "ml.m5.large",
                "hosts": ["algo-1"],
            }
        ],
        "network_interface_name": "eth0",
    }
    file_mode = {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    assert seen["config"]["inputdataconfig"] == {
        "local": file_mode,
        "remote": {"ContentType": "text/plain", **file_mode},
    }
    assert seen["files"] == {
        "input/data/local/inner/one.txt": "1",
        "input/data/remote/a/x.txt": "x",
    }
    environment = seen["environment"]
    assert environment["TRAINING_JOB_NAME"] == "whole"
    assert environment["TRAINING_JOB_ARN"] == description["TrainingJobArn"]
    assert (environment["AWS_REGION"], environment["GREETING"]) == ("us-east-1", "hello")
    assert not [name for name, value in environment.items() if "the-users-own" in value]
    # The user's folder is as it was, though the script tried to delete from it.
    assert (tmp_path / "data" / "inner" / "one.txt").read_text() == "1"


def test_a_script_that_fails(service: LocalSageMaker) -> None:
    """An exit code and an exception end the job as Failed, the code and the reason in FailureReason."""
    exits = service.create(service.script("exits-7", "import sys\nprint('so be it')\nsys.exit(7)\n"))
    raises = service.create(service.script("raises", "raise ValueError('no such bin: 12')\n"))
    description = service.finish(exits)
    assert description["TrainingJobStatus"] == description["SecondaryStatus"] == "Failed"
    reason = description["FailureReason"]
    assert reason.startswith("AlgorithmError: "), reason
    assert reason.endswith(", exit code: 7"), reason
    assert messages(description)[-1] == ("Failed", "Training job failed")
    assert "so be it" in service.log(exits)
    reason = service.finish(raises)["FailureReason"]
    assert "no such bin: 12" in reason
    assert reason.endswith(", exit code: 1")
    assert len(reason) <= 1024


def test_a_job_is_stopped(service: LocalSageMaker, tmp_path: Path) -> None:
    """StopTrainingJob sends SIGTERM, and the model so far is uploaded; a job that ended is not stopped."""
    client = service.client("sagemaker")
    name = service.create(service.script("stopped", WAIT))
    service.until_logged(name, "waiting")
    client.stop_training_job(TrainingJobName=name)
    assert service.describe(name)["TrainingJobStatus"] in {"Stopping", "Stopped"}
    description = service.finish(name)
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert [status for status, _ in messages(description)][-3:] == ["Stopping", "Uploading", "Stopped"]
    assert "FailureReason" not in description
    assert "told to stop" in service.log(name)
    artifact = description["ModelArtifacts"]["S3ModelArtifacts"]
    assert (service.unpack(artifact, tmp_path) / "checkpoint").read_text() == "half"
    with pytest.raises(client.exceptions.ClientError, match="is in status Stopped") as caught:
        client.stop_training_job(TrainingJobName=name)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_a_job_is_stopped_before_it_trains(service: LocalSageMaker) -> None:
    """StopTrainingJob right behind CreateTrainingJob ends the job as Stopped, wherever it was by then."""
    name = service.create(service.script("stopped-early", WAIT))
    service.client("sagemaker").stop_training_job(TrainingJobName=name)
    description = service.finish(name)
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert messages(description)[0][0] == "Starting"
    assert messages(description)[-1] == ("Stopped", "Training job stopped")


def test_a_job_over_its_time(service: LocalSageMaker, tmp_path: Path) -> None:
    """MaxRuntimeInSeconds ends the job as Stopped, MaxRuntimeExceeded, with SIGTERM and its model."""
    request = service.script("too-long", WAIT, StoppingCondition={"MaxRuntimeInSeconds": 8})
    description = service.run(request)
    assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == (
        "Stopped",
        "MaxRuntimeExceeded",
    )
    assert messages(description)[-1][1] == "Training job runtime exceeded MaxRuntimeInSeconds provided"
    assert "told to stop" in service.log("too-long")
    artifact = description["ModelArtifacts"]["S3ModelArtifacts"]
    assert (service.unpack(artifact, tmp_path) / "checkpoint").read_text() == "half"


def test_lines_come_at_once(service: LocalSageMaker) -> None:
    """A flushed line has its event within half a second, while the job runs."""
    service.run(service.script("ticks", TICK))
    delays = [
        event["timestamp"] - int(event["message"].removeprefix("now "))
        for event in service.events("ticks")
        if event["message"].startswith("now ")
    ]
    assert len(delays) == 5
    assert min(delays) < 500  # the best of five: the machine may be busy


def test_a_script_that_ignores_sigterm(service: LocalSageMaker) -> None:
    """SIGKILL follows the grace, and takes the processes that left the group along."""
    name = service.create(service.script("deaf", DEAF))
    service.until_logged(name, "waiting")
    service.client("sagemaker").stop_training_job(TrainingJobName=name)
    description = service.finish(name)
    assert description["SecondaryStatus"] == "Stopped"
    assert any(f"no end {STOP_GRACE_SECONDS} s after SIGTERM" in line for line in service.log(name))
    assert not [each for each in service.leftovers() if "deaf" in each or "process" in each]
    (child,) = [int(line.split()[1]) for line in service.log(name) if line.startswith("child ")]
    if service.engine == "process":  # a container's numbers are its own
        assert not is_sleeping(child)


def test_data_that_is_not_there(service: LocalSageMaker, tmp_path: Path) -> None:
    """A prefix without objects and an empty folder end the job with a ClientError that names them."""
    for name, uri in (("no-objects", f"s3://{BUCKET}/none/"), ("empty-folder", f"file://{tmp_path}")):
        description = service.run(service.script(name, SURVEY, InputDataConfig=[channel("train", uri)]))
        assert description["TrainingJobStatus"] == "Failed"
        assert description["FailureReason"].startswith("ClientError: Data download failed:")
        assert uri.removeprefix("file://") in description["FailureReason"]


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"TrainingJobName": "used"}, "ResourceInUse", "must be unique"),
        (
            {"AlgorithmSpecification": {"TrainingImage": "no-such-image:1", "TrainingInputMode": "File"}},
            "ValidationException",
            "no-such-image:1",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "drydock-train", "TrainingInputMode": "Pipe"}},
            "ValidationException",
            "AlgorithmSpecification.TrainingInputMode 'Pipe'",
        ),
        ({"CheckpointConfig": {"S3Uri": "s3://bucket/x"}}, "ValidationException", "CheckpointConfig"),
        (
            {"InputDataConfig": [channel("train", "file:///no/such/folder")]},
            "ValidationException",
            "channel train: S3Uri file:///no/such/folder: no such folder",
        ),
        (
            {"OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket/x"}},
            "ValidationException",
            "no-such-bucket",
        ),
    ],
)
def test_a_request_that_cannot_work_is_refused(
    service: LocalSageMaker, change: dict[str, Any], code: str, reason: str
) -> None:
    """What can be known before the start is refused in one line, and no job is made of it."""
    client = service.client("sagemaker")
    if (
        reason == "must be unique"
        and not client.list_training_jobs(NameContains="used")["TrainingJobSummaries"]
    ):
        service.run(service.script("used", "print('once')\n"))
    with pytest.raises(client.exceptions.ClientError) as caught:
        client.create_training_job(**(service.request("refused") | change))
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert reason in error["Message"]
    assert "\n" not in error["Message"]
    with pytest.raises(client.exceptions.ClientError, match="Requested resource not found"):
        service.describe("refused")
