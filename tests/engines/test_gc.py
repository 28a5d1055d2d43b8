"""`gc` by age and size, beside a running service and where it was killed."""

import signal
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.engines.harness import BUCKET, LocalSageMaker, local_sagemaker
from tests.local_mode.harness import run_command

pytestmark = pytest.mark.slow

MODEL = """\
import os, pathlib
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
(base / "model" / "weights").write_bytes(os.urandom(1_000_000))
print("done")
"""
WAIT = "import time\nprint('waiting', flush=True)\ntime.sleep(600)\n"


def names(service: LocalSageMaker) -> set[str]:
    page = service.client("sagemaker").list_training_jobs(MaxResults=100)
    return {job["TrainingJobName"] for job in page["TrainingJobSummaries"]}


def keys(service: LocalSageMaker) -> set[str]:
    page = service.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="results/")
    return {each["Key"] for each in page.get("Contents", ())}


def gc(home: Path, *options: str) -> str:
    ended = run_command("gc", "--home", home, *options)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_old_and_large_jobs_go(tmp_path: Path) -> None:
    """It removes ended jobs with all that is theirs, the oldest first, and never a running one."""
    with local_sagemaker("process", tmp_path) as service:
        s3 = service.client("s3")
        for number in (1, 2, 3):
            service.run(service.script(f"job-{number}", MODEL))
        sleeper = service.create(service.script("sleeper", WAIT))
        service.until_logged(sleeper, "waiting")
        others = {"results/job-1.txt", "results/job-1/notes", "results/job-10/output/model.tar.gz"}
        for key in others:
            s3.put_object(Bucket=BUCKET, Key=key, Body=b"somebody's")
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key="abandoned")["UploadId"]
        s3.upload_part(Bucket=BUCKET, Key="abandoned", UploadId=upload, PartNumber=1, Body=bytes(2_000_000))

        said = gc(tmp_path, "--older-than", "0s", "--dry-run")
        assert "would be freed 5.0 MB: 3 jobs" in said, said
        assert names(service) == {"job-1", "job-2", "job-3", "sleeper"}

        assert "freed 0.0 MB: 0 jobs" in gc(tmp_path, "--older-than", "1d", "--keep-bytes", "1GB")
        said = gc(tmp_path, "--keep-bytes", "2.5MB")
        assert "removed: job-1," in said
        assert "freed 1.0 MB: 1 jobs" in said, said
        assert names(service) == {"job-2", "job-3", "sleeper"}
        assert keys(service) == others | {f"results/job-{n}/output/model.tar.gz" for n in (2, 3)}
        assert service.log("job-1") == []
        assert "done" in service.log("job-2")
        with pytest.raises(ClientError, match="Requested resource not found"):
            service.describe("job-1")

        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
    said = gc(tmp_path, "--older-than", "0s")
    assert "freed 4.0 MB: 2 jobs" in said, said
    assert "1 multipart uploads" in said
    with local_sagemaker("process", tmp_path) as service:
        assert names(service) == {"sleeper"}
        assert keys(service) == others
        assert service.describe(sleeper)["TrainingJobStatus"] == "InProgress"
        # Its name is free again.
        assert service.run(service.script("job-1", MODEL))["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    "options", [("--older-than", "7"), ("--older-than", "7 weeks"), ("--keep-bytes", "10 potatoes")]
)
def test_limits_that_are_none(tmp_path: Path, options: tuple[str, str]) -> None:
    """A limit without its unit, or with one that there is not, is refused with examples."""
    ended = run_command("gc", "--home", tmp_path, *options)
    assert ended.returncode == 2
    assert repr(options[1]) in ended.stderr
    assert "like" in ended.stderr


def test_gc_leaves_what_a_killed_service_was_doing(tmp_path: Path) -> None:
    """Without a service, the files and the program of a job that has not ended are not garbage."""
    with local_sagemaker("process", tmp_path) as service:
        name = service.create(service.script("goes-on", WAIT))
        service.until_logged(name, "waiting")
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        before = service.leftovers()
        gc(tmp_path, "--older-than", "0s", "--keep-bytes", "0")
        assert sorted(service.leftovers()) == sorted(before)
        assert before
    with local_sagemaker("process", tmp_path) as service:
        service.client("sagemaker").stop_training_job(TrainingJobName=name)
        assert service.finish(name)["TrainingJobStatus"] == "Stopped"
