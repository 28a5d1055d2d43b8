"""A service that dies by kill -9 while jobs run, and the next one on its home, which takes them over."""

import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engines.harness import LocalSageMaker, local_sagemaker, polls

pytestmark = pytest.mark.slow

TICKS = """\
import json, os, pathlib, sys, time, urllib.request
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
print("x" * 40000, flush=True)
for number in range(100):
    print(f"tick {number} value={number}", file=sys.stderr if number % 10 == 9 else sys.stdout, flush=True)
    time.sleep(0.05)
endpoint = os.environ["AWS_ENDPOINT_URL"]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(100):  # the next service may still be on its way
    try:
        with opener.open(endpoint + "/_drydock/health") as reply:
            print("reached", json.load(reply)["status"])
        break
    except OSError:
        time.sleep(0.1)
(base / "model" / "weights").write_text("trained to the end")
"""
WAIT = """\
import signal, sys, time
def stop(number, frame):
    print("told to stop", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("waiting", flush=True)
time.sleep(600)
"""
METRICS = [{"Name": "value", "Regex": "value=([0-9]+)"}]


def kill(service: LocalSageMaker) -> None:
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()


def with_metrics(service: LocalSageMaker, name: str, script: str, **changes: Any) -> dict[str, Any]:
    request = service.script(name, script, **changes)
    request["AlgorithmSpecification"]["MetricDefinitions"] = METRICS
    return request


def ticks(service: LocalSageMaker, name: str) -> list[int]:
    return [int(line.split()[1]) for line in service.log(name) if line.startswith("tick ")]


def statuses(description: dict[str, Any]) -> list[str]:
    return [each["Status"] for each in description["SecondaryStatusTransitions"]]


def test_a_running_job_is_taken_over(engine: str, tmp_path: Path) -> None:
    """After kill -9 the program runs on; log, metrics and artifact are as if nothing had been."""
    with local_sagemaker(engine, tmp_path) as service:
        name = service.create(with_metrics(service, "taken-over", TICKS))
        service.until_logged(name, "tick 10 value=10")
        kill(service)
        assert service.leftovers() != []
    for last in ("tick 40 value=40", "tick 70 value=70"):
        with local_sagemaker(engine, tmp_path) as service:
            service.until_logged(name, last)
            kill(service)
    with local_sagemaker(engine, tmp_path) as service:
        description = service.finish(name)
        log = service.log(name)
        assert description["TrainingJobStatus"] == "Completed", log
        assert statuses(description) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
        found = ticks(service, name)
        assert sorted(found) == list(range(100))  # none lost, none twice
        for stream in ([n for n in found if n % 10 != 9], [n for n in found if n % 10 == 9]):
            assert stream == sorted(stream)
        assert [line for line in log if line.startswith("xx")] == ["x" * 40000]
        assert "reached ready" in log
        assert sum("taken over by a new service" in line for line in log) >= 1
        (metric,) = description["FinalMetricDataList"]
        assert metric["Value"] in {98, 99}  # stdout's last or stderr's
        model = service.unpack(description["ModelArtifacts"]["S3ModelArtifacts"], tmp_path / "model")
        assert (model / "weights").read_text() == "trained to the end"
        assert service.leftovers() == []
        assert list((tmp_path / "runs").iterdir()) == []


def test_a_program_that_ended_meanwhile(engine: str, tmp_path: Path) -> None:
    """What a program printed and how it ended, while there was no service, is found by the next one."""
    script = "import sys, time\nprint('begun', flush=True)\ntime.sleep(1)\nprint('value=7')\nsys.exit(9)\n"
    with local_sagemaker(engine, tmp_path) as service:
        name = service.create(with_metrics(service, "ended-alone", script))
        service.until_logged(name, "begun")
        kill(service)
    time.sleep(2.5)  # not for synchronisation: the time without a service is what is tested
    with local_sagemaker(engine, tmp_path) as service:
        description = service.finish(name)
        assert description["TrainingJobStatus"] == "Failed"
        assert description["FailureReason"].endswith("exit code: 9"), description["FailureReason"]
        assert service.log(name).count("value=7") == 1
        assert [each["Value"] for each in description["FinalMetricDataList"]] == [7]
        assert service.leftovers() == []


def test_what_is_left_of_the_time_and_a_stop(engine: str, tmp_path: Path) -> None:
    """MaxRuntimeInSeconds goes on counting through a kill, and a stop that had begun is finished."""
    with local_sagemaker(engine, tmp_path) as service:
        late = service.create(service.script("late", WAIT, StoppingCondition={"MaxRuntimeInSeconds": 9}))
        stopped = service.create(
            service.script("stopped", "import signal\n" + WAIT.replace("sys.exit(0)", ""))
        )
        service.until_logged(late, "waiting")
        service.until_logged(stopped, "waiting")
        service.client("sagemaker").stop_training_job(TrainingJobName=stopped)
        kill(service)
    with local_sagemaker(engine, tmp_path) as service:
        description = service.finish(late)
        assert description["SecondaryStatus"] == "MaxRuntimeExceeded"
        assert description["TrainingTimeInSeconds"] < 15
        assert "told to stop" in service.log(late)
        description = service.finish(stopped)
        assert (description["TrainingJobStatus"], description["SecondaryStatus"]) == ("Stopped", "Stopped")
        assert service.leftovers() == []


def test_a_job_that_had_not_begun_begins_again(engine: str, tmp_path: Path) -> None:
    """Killed right behind CreateTrainingJob, and again during its start, a job still comes to its end."""
    with local_sagemaker(engine, tmp_path) as service:
        name = service.create(service.offline("again", "print('once')\n", "echo once"))
        kill(service)
    with local_sagemaker(engine, tmp_path) as service:
        kill(service)
    with local_sagemaker(engine, tmp_path) as service:
        description = service.finish(name)
        assert description["TrainingJobStatus"] == "Completed", service.log(name)
        assert service.log(name).count("once") == 1
        assert service.leftovers() == []


def remove_host(service: LocalSageMaker, name: str) -> None:
    """What a user may do, or a restart of the machine: the program and its traces are gone."""
    if service.engine == "docker":
        import docker  # noqa: PLC0415  only where the engine is

        with contextlib.closing(docker.DockerClient.from_env()) as client:
            for container in client.containers.list(
                filters={"label": [f"drydock.home={service.home}", f"drydock.job={name}"]}
            ):
                container.remove(force=True)
    else:
        from local_mode.engines.processes import kill_marked  # noqa: PLC0415  the same

        kill_marked(service.home / "jobs" / name)


def test_a_program_that_vanished(engine: str, tmp_path: Path) -> None:
    """Its job fails as ours, not the program's; a RetryStrategy runs it again."""
    with local_sagemaker(engine, tmp_path) as service:
        lost = service.create(service.script("lost", WAIT))
        retried = service.create(service.script("retried", WAIT, RetryStrategy={"MaximumRetryAttempts": 2}))
        for name in (lost, retried):
            service.until_logged(name, "waiting")
        kill(service)
        for name in (lost, retried):
            remove_host(service, name)
    with local_sagemaker(engine, tmp_path) as service:
        description = service.finish(lost)
        assert description["TrainingJobStatus"] == "Failed"
        assert description["FailureReason"].startswith("InternalServerError: "), description["FailureReason"]
        for _ in polls():
            if service.log(retried).count("waiting") == 2:
                break
        service.client("sagemaker").stop_training_job(TrainingJobName=retried)
        description = service.finish(retried)
        assert "Restarting" in statuses(description)
        assert description["TrainingJobStatus"] == "Stopped"
        assert service.leftovers() == []


def test_the_programs_own_failures_are_not_retried(service: LocalSageMaker) -> None:
    """RetryStrategy is for failures of the platform: an exit code ends the job at once."""
    request = service.script("own-fault", "raise SystemExit(3)\n", RetryStrategy={"MaximumRetryAttempts": 5})
    description = service.run(request)
    assert description["TrainingJobStatus"] == "Failed"
    assert "Restarting" not in statuses(description)
    assert description["RetryStrategy"] == {"MaximumRetryAttempts": 5}


def test_the_other_engine_ends_it_honestly(tmp_path: Path) -> None:
    """A service with Docker leaves no program of the process engine running, and no job InProgress."""
    from tests.engines.conftest import need_docker  # noqa: PLC0415  a function that skips

    need_docker()
    with local_sagemaker("process", tmp_path) as service:
        name = service.create(service.script("other-engine", WAIT))
        service.until_logged(name, "waiting")
        kill(service)
    with local_sagemaker("docker", tmp_path) as service:
        description = service.finish(name)
        assert description["TrainingJobStatus"] == "Failed"
        assert "another engine" in description["FailureReason"], json.dumps(description, default=str)
        assert service.leftovers() == []
