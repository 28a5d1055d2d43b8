"""What the local SageMaker adds to a job, and how it compares with the SDK's own local mode.

    python bench/local_overhead.py [--runs 10] [--engine docker|process]

A job whose `train` does nothing, from CreateTrainingJob to the first answer that says Completed, beside a
bare `docker run` of the same image and command and SDK 2's `fit` with instance_type="local"; on the process
engine a script that does nothing beside a bare run of the same entry point on the same tree. The ways take
turns, so that a machine that slows down slows all. Prints medians in seconds; exits 1 where a limit is
passed.

Needs `make setup-train`; for Docker an engine and drydock-base:bookworm (`make build`); for the SDK
docker-compose, and the network once (it is installed below build/clients). What is missing is said.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from drydock.contract import Tree

REPOSITORY = Path(__file__).resolve().parent.parent
LIMIT_SECONDS = 0.7  # that a job may take longer than its bare command
POLL_SECONDS = 0.01  # between two looks of the client at its job
BASE, IMAGE = "drydock-base:bookworm", "drydock-overhead:bench"
DOCKERFILE = f"""FROM {BASE}
RUN printf '#!/bin/sh\\nexit 0\\n' > /usr/local/bin/train && chmod 755 /usr/local/bin/train
"""
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "bench"
TELEMETRY_OFF = "SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n"

Way = Callable[[], float]  # runs the job once; seconds


@dataclass(frozen=True, kw_only=True)
class Service:
    """A local SageMaker of the benchmark's own."""

    endpoint: str
    home: Path

    def client(self, name: str) -> Any:
        return boto3.client(
            name,
            endpoint_url=self.endpoint,
            region_name=KEYS["AWS_DEFAULT_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )

    def job(self, image: str, hyperparameters: Mapping[str, str]) -> Way:
        """A way that sends a job and looks until it has ended."""
        client = self.client("sagemaker")
        numbers = iter(range(1_000_000))

        def run() -> float:
            name = f"overhead-{next(numbers)}"
            start = time.perf_counter()
            client.create_training_job(
                TrainingJobName=name,
                AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
                RoleArn="arn:aws:iam::000000000000:role/bench",
                HyperParameters=hyperparameters,
                OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/results"},
                ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
                StoppingCondition={"MaxRuntimeInSeconds": 600},
            )
            while (found := client.describe_training_job(TrainingJobName=name))[
                "TrainingJobStatus"
            ] == "InProgress":
                time.sleep(POLL_SECONDS)
            seconds = time.perf_counter() - start
            if found["TrainingJobStatus"] != "Completed":
                raise RuntimeError(f"{name}: {found['TrainingJobStatus']}: {found.get('FailureReason')}")
            return seconds

        return run


@contextlib.contextmanager
def service(engine: str, folder: Path) -> Iterator[Service]:
    """Started for the block, with a bucket."""
    home = folder / "home"
    command = ["-m", "local_mode", "up", "--port", "0", "--engine", engine, "--home", str(home)]
    with subprocess.Popen(
        [sys.executable, *command], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            ready = process.stdout.readline().split()
            if ready[:1] != ["ready"]:
                sys.exit("error: the local SageMaker did not start; its reason is above")
            started = Service(endpoint=ready[1], home=home)
            started.client("s3").create_bucket(Bucket=BUCKET)
            yield started
        finally:
            process.terminate()


def timed(command: list[str], **environment: str) -> Way:
    """A way that runs a command to its good end."""

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True)
        return time.perf_counter() - start

    return run


@contextlib.contextmanager
def sdk_fit(folder: Path) -> Iterator[Way | str]:
    """SDK 2's own local mode; or why it cannot be had."""
    if shutil.which("docker-compose") is None:
        yield "no docker-compose (Debian: apt-get install docker-compose)"
        return
    sys.path.insert(0, str(REPOSITORY))
    from tests.clients.environment import UnavailableError, programs_of  # noqa: PLC0415  a part of the tests

    try:
        programs = programs_of("sagemaker2")
    except UnavailableError as error:
        yield str(error)
        return
    settings = folder / "sagemaker.yaml"
    settings.write_text(TELEMETRY_OFF)
    networks = docker("network", "ls", "--format", "{{.Name}}").split()
    with (
        (folder / "sdk.log").open("w") as log,
        subprocess.Popen(
            [programs / "python", REPOSITORY / "bench" / "sdk_local_mode.py", IMAGE, str(folder)],
            env={**os.environ, **KEYS, "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def run() -> float:
            print("fit", file=asked, flush=True)
            for answer in answers:  # the SDK has things to say there too
                if answer.startswith("fit "):
                    return float(answer.removeprefix("fit "))
            raise RuntimeError(f"SDK 2's fit failed: {(folder / 'sdk.log').read_text()[-2000:]}")

        try:
            yield run
        finally:
            asked.close()
            process.wait()
            # The SDK leaves its containers and its network.
            line = '{{.ID}} {{.Label "com.docker.compose.project.working_dir"}}'
            listed = docker("ps", "--all", "--format", line).splitlines()
            if mine := [each.split()[0] for each in listed if str(folder) in each]:
                docker("rm", "--force", *mine)
            if "sagemaker-local" not in networks:
                docker("network", "rm", "sagemaker-local")


def docker(*arguments: str) -> str:
    """What the docker client says."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@contextlib.contextmanager
def image() -> Iterator[str]:
    """An image whose `train` does nothing."""
    import docker as sdk  # noqa: PLC0415  only where the engine is

    with contextlib.closing(sdk.DockerClient.from_env()) as client:
        client.images.build(fileobj=io.BytesIO(DOCKERFILE.encode()), tag=IMAGE, rm=True)
        try:
            yield IMAGE
        finally:
            client.images.remove(IMAGE, force=True)


def medians(ways: Mapping[str, Way], runs: int) -> dict[str, float]:
    """The median of each way's seconds; the ways take turns, and a first round warms up."""
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            seconds[name].append(way())
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(title: str, found: Mapping[str, float], *, bare: str, ours: str, others: tuple[str, ...]) -> bool:
    """Prints one table; true where every limit holds."""
    added = found[ours] - found[bare]
    kept = {ours: added <= LIMIT_SECONDS} | {other: found[ours] < found[other] for other in others}
    notes = {ours: f"{added:+.3f} s (limit {LIMIT_SECONDS:+.1f} s)"}
    notes |= {other: f"ours takes {found[ours] / found[other]:.2f} of it (limit 1)" for other in others}
    print(f"\n{title:<44} median s   to bare")
    for name, seconds in found.items():
        note = f"{notes[name]}: {'kept' if kept[name] else 'PASSED'}" if name in notes else ""
        print(f"  {name:<42} {seconds:8.3f} {seconds / found[bare]:9.2f}   {note}".rstrip())
    return all(kept.values())


def on_docker(folder: Path, runs: int) -> bool:
    """The table of the docker engine."""
    with image(), service("docker", folder) as started, sdk_fit(folder) as sdk:
        bare, ours, other = (
            "docker run IMAGE train",
            "local SageMaker, docker engine",
            "SDK 2 fit, local mode",
        )
        ways: dict[str, Way] = {
            bare: timed(["docker", "run", "--rm", IMAGE, "train"]),
            ours: started.job(IMAGE, {}),
        }
        if isinstance(sdk, str):
            print(f"left out: {other}: {sdk}")
        else:
            ways[other] = sdk
        others = (other,) if other in ways else ()
        return report("Docker", medians(ways, runs), bare=bare, ours=ours, others=others)


def on_processes(folder: Path, runs: int) -> bool:
    """The table of the process engine."""
    with service("process", folder) as started:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("nothing.py"), io.BytesIO())
        started.client("s3").put_object(Bucket=BUCKET, Key="sourcedir.tar.gz", Body=packed.getvalue())
        hyperparameters = {
            "sagemaker_program": "nothing.py",
            "sagemaker_submit_directory": f"s3://{BUCKET}/sourcedir.tar.gz",
        }
        base = folder / "tree"

        def bare_run() -> float:
            shutil.rmtree(base, ignore_errors=True)
            tree = Tree(base=base)
            for each in (tree.config, tree.model, tree.output_data, tree.code):
                each.mkdir(parents=True)
            tree.hyperparameters_file.write_text(json.dumps(hyperparameters))
            tree.input_data_config_file.write_text("{}")
            tree.resource_config_file.write_text('{"current_host": "algo-1", "hosts": ["algo-1"]}')
            return entry_point()

        entry_point = timed(
            [sys.executable, "-P", "-m", "drydock.training.entrypoint", "train"],
            **KEYS,
            AWS_ENDPOINT_URL=started.endpoint,
            SAGEMAKER_BASE_DIR=str(base),
            SM_STUDIO_LOCAL_MODE="true",
        )
        bare, ours = "the entry point alone", "local SageMaker, process engine"
        ways = {bare: bare_run, ours: started.job("drydock-train:latest", hyperparameters)}
        return report("Processes", medians(ways, runs), bare=bare, ours=ours, others=())


ENGINES: Mapping[str, Callable[[Path, int], bool]] = {"docker": on_docker, "process": on_processes}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10, help="of each way")
    parser.add_argument("--engine", choices=ENGINES, help="only this one")
    options = parser.parse_args()
    kept = []
    for engine in [options.engine] if options.engine else ENGINES:
        with tempfile.TemporaryDirectory(prefix="drydock-overhead-") as folder:
            kept.append(ENGINES[engine](Path(folder), options.runs))
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
