"""Sending to AWS and following there, botocore's Stubber in AWS's place."""

import datetime as dt
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.response import StreamingBody

from jobs.errors import JobError
from jobs.interruptions import Interruptions
from jobs.run import Ending, follow_to_end, refuse_unfollowed, send
from jobs.screen import Advance
from jobs.target import Target
from tests.jobs.harness import StubbedAws

JOB = "drydock-1"
GROUP = "/aws/sagemaker/TrainingJobs"
ARN = f"arn:aws:sagemaker:eu-central-1:123456789012:training-job/{JOB}"
NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)


def description(status: str, secondary: str, **fields: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": JOB,
        "TrainingJobArn": ARN,
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "AlgorithmSpecification": {
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "test:loss", "Regex": "(1)"},
                {"Name": "test:accuracy", "Regex": "(1)"},
            ],
        },
        "ModelArtifacts": {"S3ModelArtifacts": f"s3://bucket/out/{JOB}/output/model.tar.gz"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out/"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "CreationTime": NOW,
        **fields,
    }


class Script:
    """What AWS answers, in the order in which it is asked."""

    def __init__(self, aws: StubbedAws) -> None:
        self.aws = aws
        self._token = 0

    def described(self, status: str, secondary: str, **fields: Any) -> "Script":
        reply = description(status, secondary, **fields)
        self.aws.sagemaker.add_response("describe_training_job", reply, {"TrainingJobName": JOB})
        return self

    def no_log_group(self) -> "Script":
        self.aws.logs.add_client_error("describe_log_streams", "ResourceNotFoundException")
        return self

    def logged(self, *messages: str, stream: str = f"{JOB}/algo-1-1700000000") -> "Script":
        """One look at the log: the stream is found, its new events are read up to its end."""
        self.aws.logs.add_response(
            "describe_log_streams",
            {"logStreams": [{"logStreamName": stream}]},
            {"logGroupName": GROUP, "logStreamNamePrefix": f"{JOB}/"},
        )
        if messages:
            self._page(stream, messages, self._token + 1)
        self._page(stream, (), self._token)
        return self

    def _page(self, stream: str, messages: Sequence[str], next_token: int) -> None:
        expected: dict[str, Any] = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True}
        if self._token:
            expected["nextToken"] = f"f/{self._token}"
        events = [{"timestamp": 1, "message": message, "ingestionTime": 1} for message in messages]
        reply = {"events": events, "nextForwardToken": f"f/{next_token}"}
        self.aws.logs.add_response("get_log_events", reply, expected)
        self._token = next_token

    def object(self, name: str, content: bytes | None) -> "Script":
        """One download; None where there is no such object."""
        if content is None:
            self.aws.s3.add_client_error("head_object", "404", http_status_code=404)
            return self
        key = {"Bucket": "bucket", "Key": f"out/{JOB}/output/{name}"}
        head = {"ContentLength": len(content), "ETag": '"1"'}
        self.aws.s3.add_response("head_object", head, key)
        body = StreamingBody(io.BytesIO(content), len(content))
        self.aws.s3.add_response("get_object", {**head, "Body": body}, None)
        return self


@pytest.fixture
def script(aws: StubbedAws) -> Script:
    return Script(aws)


@pytest.fixture
def interruptions() -> Iterator[Interruptions]:
    with Interruptions.caught() as caught:
        yield caught


def archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def followed(script: Script, interruptions: Interruptions, download_to: Path | None = None) -> Ending:
    target = Target(clients=script.aws.clients, service=None, is_aws=True, poll_seconds=0.001)
    return follow_to_end(target, JOB, interruptions=interruptions, download_to=download_to)


def test_the_whole_request_is_sent(aws: StubbedAws, good_request: dict[str, Any]) -> None:
    """CreateTrainingJob gets the request as it is, field for field."""
    aws.sagemaker.add_response("create_training_job", {"TrainingJobArn": ARN}, good_request)
    assert send(aws.clients, [good_request]) == JOB


def test_requests_are_sent_in_order(aws: StubbedAws) -> None:
    """A model, its configuration, then the endpoint that needs both; the first refusal ends it."""
    model = {"ModelName": "m", "ExecutionRoleArn": "arn:aws:iam::123456789012:role/sagemaker"}
    configuration = {
        "EndpointConfigName": "c",
        "ProductionVariants": [{"VariantName": "v", "ModelName": "m"}],
    }
    endpoint = {"EndpointName": "e", "EndpointConfigName": "c"}
    aws.sagemaker.add_response("create_model", {"ModelArn": "arn:aws:sagemaker:m" + "x" * 20}, model)
    aws.sagemaker.add_client_error("create_endpoint_config", "ResourceInUse", "there is one")
    with pytest.raises(
        JobError, match=r"CreateEndpointConfig: ResourceInUse: there is one \(sent before it: CreateModel\)"
    ):
        send(aws.clients, [model, configuration, endpoint])


def test_what_cannot_be_followed_is_refused_before_it_is_sent(good_request: dict[str, Any]) -> None:
    """An endpoint takes minutes, and nobody would see it fail: --no-wait must be said."""
    refuse_unfollowed([good_request])
    with pytest.raises(JobError, match="cannot follow CreateEndpoint: pass --no-wait"):
        refuse_unfollowed([{"EndpointName": "e", "EndpointConfigName": "c"}])
    with pytest.raises(JobError, match="several training jobs"):
        refuse_unfollowed([good_request, good_request])


def test_a_completed_job(
    script: Script, interruptions: Interruptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log lines come once and in order, statuses where they change; metrics, files and cost at the end."""
    script.described("InProgress", "Starting").no_log_group()
    script.described("InProgress", "Training").logged("one", "two\n")
    script.described("InProgress", "Training").logged()
    final = {
        "FinalMetricDataList": [
            {"MetricName": "test:accuracy", "Value": 0.5, "Timestamp": NOW},
            {"MetricName": "test:loss", "Value": 1.25, "Timestamp": NOW},
        ],
        "TrainingTimeInSeconds": 100,
        "BillableTimeInSeconds": 40,
        "EnableManagedSpotTraining": True,
    }
    script.described("Completed", "Completed", **final).logged("three")
    script.logged("late").logged()
    script.object("model.tar.gz", b"model")
    script.object("output.tar.gz", archive({"loss.png": "png", "per/class.csv": "csv"}))

    ending = followed(script, interruptions, tmp_path)

    assert capsys.readouterr().out.splitlines() == [
        "== Starting", "== Training", "one", "two", "== Completed", "three", "late",
    ]  # fmt: skip
    folder = tmp_path / JOB
    assert ending == Ending(
        exit_code=0,
        text=f"""\
Metrics, last values
  test:loss      1.2500
  test:accuracy  0.5000

Artifacts
  s3://bucket/out/{JOB}/output/model.tar.gz
  s3://bucket/out/{JOB}/output/output.tar.gz

Files
  {folder}/model.tar.gz
  {folder}/output.tar.gz
  {folder}/output/loss.png
  {folder}/output/per/class.csv

Completed: {JOB}
Training took 100 s; billable: 40 s of 1 x ml.m5.xlarge, 60% saved by spot \
(prices: https://aws.amazon.com/sagemaker/pricing/)""",
        error=None,
    )
    assert (folder / "model.tar.gz").read_bytes() == b"model"
    assert (folder / "output" / "per" / "class.csv").read_text() == "csv"


@pytest.mark.parametrize(
    ("status", "secondary", "exit_code"),
    [("Failed", "Failed", 1), ("Stopped", "MaxRuntimeExceeded", 3), ("Stopped", "Stopped", 3)],
)
def test_a_job_that_did_not_complete(
    script: Script, interruptions: Interruptions, *, status: str, secondary: str, exit_code: int
) -> None:
    """Each end has its exit code, and a failure its reason."""
    reason = {"FailureReason": "AlgorithmError: no lr, exit code: 2"} if status == "Failed" else {}
    script.described(status, secondary, **reason).no_log_group().no_log_group()
    ending = followed(script, interruptions)
    assert ending.exit_code == exit_code
    assert ending.error == reason.get("FailureReason")
    shown = f"{status}: {JOB}" if status == secondary else f"{status} ({secondary}): {JOB}"
    assert shown in ending.text


def test_a_failure_stays_one_when_there_are_no_results(
    script: Script, interruptions: Interruptions, tmp_path: Path
) -> None:
    """A failed job without archives is no error beside the job's own."""
    script.described("Failed", "Failed", FailureReason="AlgorithmError: x").no_log_group().no_log_group()
    script.object("model.tar.gz", None).object("output.tar.gz", None)
    ending = followed(script, interruptions, tmp_path)
    assert (ending.exit_code, ending.error) == (1, "AlgorithmError: x")


@pytest.mark.parametrize("name", ["../../evil", "/evil"])
def test_an_archive_cannot_write_elsewhere(
    script: Script, interruptions: Interruptions, tmp_path: Path, name: str
) -> None:
    """A name that leads out of the folder is refused or stays inside, and nothing else is written."""
    script.described("Completed", "Completed").no_log_group().no_log_group()
    script.object("model.tar.gz", b"model").object("output.tar.gz", archive({name: "x"}))
    ending = followed(script, interruptions, tmp_path / "results")
    outside = [path for path in tmp_path.rglob("evil") if tmp_path / "results" / JOB not in path.parents]
    assert not outside
    assert not Path("/evil").exists()
    if name.startswith(".."):
        assert ending.exit_code == 4
        assert "was not unpacked" in (ending.error or "")


def test_a_broken_archive_is_one_line(script: Script, interruptions: Interruptions, tmp_path: Path) -> None:
    """A completed job whose results cannot be read ends with exit code 4 and the reason."""
    script.described("Completed", "Completed").no_log_group().no_log_group()
    script.object("model.tar.gz", b"model").object("output.tar.gz", b"no archive")
    ending = followed(script, interruptions, tmp_path)
    assert ending.exit_code == 4
    assert "was not unpacked" in (ending.error or "")
    assert "\n" not in (ending.error or "")


def test_an_unknown_job_is_out_of_sight(script: Script, interruptions: Interruptions) -> None:
    """Following a job that is not there is exit code 4 with AWS's words."""
    script.aws.sagemaker.add_client_error(
        "describe_training_job", "ValidationException", "Requested resource not found."
    )
    with pytest.raises(JobError, match=r"lost sight of drydock-1: .*Requested resource not found") as caught:
        followed(script, interruptions)
    assert caught.value.exit_code == 4


def test_a_log_line_cannot_move_the_cursor(
    script: Script, interruptions: Interruptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences and control characters of the job's program do not reach the terminal."""
    script.described("Completed", "Completed").logged("\x1b[2Ja\x1b]0;title\x07b\rc\td\x08").logged()
    followed(script, interruptions)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["ab", "c\td"]


def test_lines_of_several_hosts_name_them(
    script: Script, interruptions: Interruptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """With two instances each line says whose it is."""
    resources = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30}
    script.described("Completed", "Completed", ResourceConfig=resources)
    script.logged("hello", stream=f"{JOB}/algo-2-1700000000").logged(stream=f"{JOB}/algo-2-1700000000")
    followed(script, interruptions)
    assert "algo-2 | hello" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "done", "epochs"),
    [
        ("Epoch 3: step 6 of 9 (67 %), running loss 1.3", 2 + 6 / 9, None),
        ("Epoch 3: Validation set: Average loss: 1.0", 3, None),
        ("Epoch 3 of 12: 12.3 s", 3, 12),
        ("Epoch 3/12", 3, 12),
        ("epoch=3 loss=1", 3, None),
    ],
)
def test_progress_is_read_from_the_log(text: str, done: float, epochs: int | None) -> None:
    """Our lines and those of many programs say how far the training is."""
    advance = Advance.from_line(text)
    assert advance is not None
    assert advance.epochs_done == pytest.approx(done)
    assert advance.epochs == epochs
    assert Advance.from_line("Device: CPU") is None
