"""kill -9 of the service at many random moments, while clients put objects and run jobs."""

import contextlib
import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.engines.harness import BUCKET, ENDED, LocalSageMaker, local_sagemaker, polls

pytestmark = pytest.mark.slow

LINES = 30
STATUSES = {
    "InProgress": {"Starting", "Downloading", "Training", "Uploading", "Restarting"},
    "Stopping": {"Stopping", "Uploading"},
    "Completed": {"Completed"},
    "Failed": {"Failed"},
    "Stopped": {"Stopped"},
}
SHELL = (
    f"i=0; while [ $i -lt {LINES} ]; do echo line $i value=$i; i=$((i+1)); sleep 0.05; done; "
    "echo m >/opt/ml/model/m"
)
SCRIPT = f"""\
import os, pathlib, time
for number in range({LINES}):
    print(f"line {{number}} value={{number}}", flush=True)
    time.sleep(0.05)
(pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "model" / "m").write_text("m")
"""


@dataclass
class Acknowledged:
    """What the service has confirmed, and what it may have taken without saying so."""

    objects: dict[str, bytes] = field(default_factory=dict)  # the digest of each key's last version
    underway: dict[str, bytes] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)  # of the first job
    stopped: set[str] = field(default_factory=set)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)


def request(service: LocalSageMaker, name: str) -> dict[str, Any]:
    made = service.offline(name, SCRIPT, SHELL)
    made["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "value", "Regex": "value=([0-9]+)"}]
    return made


def put_objects(service: LocalSageMaker, seen: Acknowledged, dice: random.Random) -> None:
    """Puts until the service is gone."""
    s3 = service.client("s3")
    while True:
        key = f"kept/{dice.randrange(8)}"
        body = dice.randbytes(dice.choice((10, 50_000, 2_000_000)))
        seen.underway[key] = digest(body)
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        seen.objects[key] = seen.underway.pop(key)


def run_jobs(service: LocalSageMaker, seen: Acknowledged, dice: random.Random, limit: int) -> None:
    """Creates, tags, stops and describes jobs until the service is gone."""
    client = service.client("sagemaker")
    while True:
        if len(seen.jobs) < limit and dice.random() < 0.5:
            name = f"job-{len(seen.jobs)}"
            with contextlib.suppress(client.exceptions.ResourceInUse):  # taken, but killed before it said so
                service.create(request(service, name))
            seen.jobs.append(name)
        elif seen.jobs:
            name = dice.choice(seen.jobs)
            description = service.describe(name)
            if description["TrainingJobStatus"] in ENDED:
                seen.ended[name] = description
            elif dice.random() < 0.05:
                with contextlib.suppress(ClientError):  # it may have ended since
                    client.stop_training_job(TrainingJobName=name)
                    seen.stopped.add(name)
            arn = service.describe(seen.jobs[0])["TrainingJobArn"]
            key, value = f"key-{dice.randrange(10)}", str(dice.random())
            seen.tags.pop(key, None)  # either value is right until this one is confirmed
            client.add_tags(ResourceArn=arn, Tags=[{"Key": key, "Value": value}])
            seen.tags[key] = value
        time.sleep(0.03)


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


@contextlib.contextmanager
def clients(service: LocalSageMaker, seen: Acknowledged, seed: int, limit: int) -> Iterator[None]:
    """Both at work; at the end the service must be dead, and they with it."""

    def until_gone(work: Any, *arguments: Any) -> None:
        try:
            work(service, seen, random.Random(seed), *arguments)
        except (ClientError, BotoCoreError) as error:
            errors.append(error)

    errors: list[Exception] = []
    threads = [
        threading.Thread(target=until_gone, args=(put_objects,)),
        threading.Thread(target=until_gone, args=(run_jobs, limit)),
    ]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
    refused = [error for error in errors if isinstance(error, ClientError)]
    assert not refused, refused


def check(service: LocalSageMaker, seen: Acknowledged) -> None:
    """Every confirmed write is there, nothing is half there."""
    s3, client = service.client("s3"), service.client("sagemaker")
    for key, expected in seen.objects.items():
        found = digest(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        assert found in {expected, seen.underway.get(key)}, key
        seen.objects[key] = found
    listed = {each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET, Prefix="kept/").get("Contents", ())}
    assert set(seen.objects) <= listed <= set(seen.objects) | set(seen.underway)
    seen.underway.clear()
    for name in seen.jobs:
        description = service.describe(name)
        status, secondary = description["TrainingJobStatus"], description["SecondaryStatus"]
        assert secondary in STATUSES[status], (name, status, secondary)
        if name in seen.ended:
            assert description == seen.ended[name] | {"ResponseMetadata": description["ResponseMetadata"]}
        if name in seen.stopped:
            assert status != "InProgress"
        lines(service, name)
    if seen.jobs:
        arn = service.describe(seen.jobs[0])["TrainingJobArn"]
        tags = {tag["Key"]: tag["Value"] for tag in client.list_tags(ResourceArn=arn)["Tags"]}
        assert tags.items() >= seen.tags.items()


def lines(service: LocalSageMaker, name: str) -> list[int]:
    """The numbers that the job has printed so far: each once, in order, no line torn."""
    found = [line.split() for line in service.log(name) if line.startswith("line ")]
    assert all(len(words) == 3 and words[2] == f"value={words[1]}" for words in found), found
    numbers = [int(words[1]) for words in found]
    assert numbers == list(range(len(numbers))), json.dumps(service.log(name), indent=1)
    return numbers


def test_kills_at_random_moments(engine: str, tmp_path: Path) -> None:
    """However often the service dies, what it confirmed is there, and every job comes to its right end."""
    kills, limit = (18, 7) if engine == "process" else (6, 6)
    dice = random.Random(20261121)
    seen = Acknowledged()
    for _ in range(kills):
        with local_sagemaker(engine, tmp_path, "--max-jobs", "4") as service:
            check(service, seen)
            with clients(service, seen, dice.randrange(1 << 30), limit):
                time.sleep(dice.uniform(0.05, 1.6))  # the moment of the kill is what is drawn
                service.process.kill()
                service.process.wait()
    with local_sagemaker(engine, tmp_path, "--max-jobs", "4") as service:
        check(service, seen)
        for name in seen.jobs:
            description = service.finish(name)
            # A stop may have been taken just before a kill, without a word to the client.
            if description["TrainingJobStatus"] == "Stopped":
                continue
            assert name not in seen.stopped or description["TrainingJobStatus"] == "Completed"
            assert description["TrainingJobStatus"] == "Completed", service.log(name)
            assert lines(service, name) == list(range(LINES))
            assert [each["Value"] for each in description["FinalMetricDataList"]] == [LINES - 1]
            key = f"results/{name}/output/model.tar.gz"
            assert service.client("s3").head_object(Bucket=BUCKET, Key=key)["ContentLength"] > 0
        assert len(seen.jobs) == limit
        for _ in polls():
            if not service.leftovers():
                break
        assert service.leftovers() == []
        assert list((tmp_path / "runs").iterdir()) == []
        assert list((tmp_path / "s3" / "incoming").iterdir()) == []
