"""The docker engine with images that know nothing of Drydock: a `train` on PATH is all they have."""

import contextlib
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.harness import BUCKET, LocalSageMaker
from tests.engines.images import Images, request_for

pytestmark = [pytest.mark.slow, pytest.mark.docker]

Build = Callable[..., str]


@pytest.fixture(scope="module")
def build(images: Images) -> Build:
    """Builds an image whose `train` is a shell script; returns its name."""
    return images.script


SURVEY = """\
echo "arguments: $*"
getent hosts algo-1 | sed 's/.* /resolves: /'
grep -E 'NoNewPrivs|CapEff' /proc/self/status | tr '\\t' ' '
df -k --output=size /dev/shm | tail -1 | sed 's/ */shm: /'
touch /opt/ml/input/data/local/new 2>/dev/null || echo "channel is read-only"
cat /opt/ml/input/data/local/one
cd /opt/ml/model
echo weights > weights; ln -s weights best; ln -s /etc/passwd evil; mkfifo pipe; chmod 000 weights
"""


def test_any_image_with_train_runs(docker_service: LocalSageMaker, build: Build, tmp_path: Path) -> None:
    """A container has the platform's surroundings and Docker's default rights, never more."""
    (tmp_path / "one").write_text("a file of the user's\n")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"file://{tmp_path}"}
    channel = {"ChannelName": "local", "DataSource": {"S3DataSource": source}}
    request = request_for(
        docker_service,
        "survey",
        build("survey", SURVEY),
        InputDataConfig=[channel],
        ResourceConfig={"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
    )
    description = docker_service.run(request)
    log = docker_service.log("survey")
    assert description["TrainingJobStatus"] == "Completed", log
    assert "arguments: " in log
    assert "resolves: algo-1" in log
    assert "NoNewPrivs: 1" in log
    assert (
        "CapEff: 00000000a80425fb" in log
    )  # https://docs.docker.com/engine/security/#linux-kernel-capabilities
    assert "channel is read-only" in log
    assert "a file of the user's" in log
    (shm,) = [int(line.removeprefix("shm: ")) for line in log if line.startswith("shm: ")]
    assert shm > 64 * 1024
    if not has_gpu():
        assert any("no nvidia runtime" in line for line in log)
    assert any("/opt/ml/model/evil was left out" in line for line in log)
    model = docker_service.unpack(description["ModelArtifacts"]["S3ModelArtifacts"], tmp_path / "model")
    assert (model / "best").read_text() == "weights\n"
    assert sorted(path.name for path in model.iterdir()) == ["best", "weights"]
    assert [path.name for path in tmp_path.iterdir() if path.name != "model"] == ["one"]


def has_gpu() -> bool:
    import docker  # noqa: PLC0415  an optional part

    with contextlib.closing(docker.DockerClient.from_env()) as client:
        return "nvidia" in client.info().get("Runtimes", {})


def test_an_image_s_own_user_may_write(docker_service: LocalSageMaker, build: Build) -> None:
    """An image whose USER is not root fills /opt/ml/model all the same."""
    image = build("user", "id -u\necho w > /opt/ml/model/w", "USER 1234")
    description = docker_service.run(request_for(docker_service, "user", image))
    assert description["TrainingJobStatus"] == "Completed"
    assert "1234" in docker_service.log("user")


@pytest.mark.parametrize(
    ("name", "script", "reason"),
    [
        (
            "says-why",
            "printf 'the bins are\\nempty' > /opt/ml/output/failure; exit 3",
            "the bins are\nempty, exit code: 3",
        ),
        (
            "says-much",
            "head -c 5000 /dev/zero | tr '\\0' x > /opt/ml/output/failure; exit 3",
            "xxx, exit code: 3",
        ),
        ("says-nothing", "echo 'last words'; exit 4", "its last line: last words, exit code: 4"),
        # PID 1 cannot kill itself: the shell's exit code says what ended its child.
        (
            "is-killed",
            "sh -c 'kill -9 $$'; exit $?",
            "this machine ran out of memory, exit code: 137",
        ),
        (
            "links",
            "ln -s /etc/passwd /opt/ml/output/failure; exit 5",
            "wrote no /opt/ml/output/failure, exit code: 5",
        ),
    ],
)
def test_the_failure_reason(
    docker_service: LocalSageMaker, build: Build, name: str, script: str, reason: str
) -> None:
    """FailureReason is the failure file's text, else what ended the program, within 1,024 characters."""
    description = docker_service.run(request_for(docker_service, name, build(name, script)))
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("AlgorithmError: ")
    assert description["FailureReason"].endswith(reason), description["FailureReason"]
    assert len(description["FailureReason"]) <= 1024


def test_the_request_replaces_entrypoint_and_arguments(docker_service: LocalSageMaker, build: Build) -> None:
    """ContainerEntrypoint and ContainerArguments override the image's own and `train`."""
    image = build("override", "exit 9")
    algorithm = {"ContainerEntrypoint": ["/bin/echo", "instead"], "ContainerArguments": ["of", "train"]}
    description = docker_service.run(request_for(docker_service, "override", image, Algorithm=algorithm))
    assert description["TrainingJobStatus"] == "Completed"
    assert "instead of train" in docker_service.log("override")
    assert any("no model.tar.gz is uploaded" in line for line in docker_service.log("override"))


def test_an_ecr_address_is_the_local_image(docker_service: LocalSageMaker, build: Build) -> None:
    """ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG runs NAME:TAG of this machine."""
    image = build("pushed", "echo same image")
    address = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{image}"
    description = docker_service.run(request_for(docker_service, "address", address))
    assert description["TrainingJobStatus"] == "Completed"
    assert description["AlgorithmSpecification"]["TrainingImage"] == address


def test_an_image_without_train(docker_service: LocalSageMaker, build: Build) -> None:
    """An image that cannot start fails its job, and the reason says what was not found."""
    image = build("nothing", "", "RUN rm /usr/local/bin/train", "ENV PATH=/usr/bin")
    description = docker_service.run(request_for(docker_service, "nothing", image))
    assert description["TrainingJobStatus"] == "Failed"
    assert "train" in description["FailureReason"]


def test_results_in_a_folder_belong_to_the_user(
    docker_service: LocalSageMaker, build: Build, tmp_path: Path
) -> None:
    """A file:// S3OutputPath gets the archive as a file of the service's own user."""
    image = build("folder", "echo w > /opt/ml/model/w")
    output = {"S3OutputPath": f"file://{tmp_path}/results"}
    docker_service.run(request_for(docker_service, "folder", image, OutputDataConfig=output))
    model = tmp_path / "results" / "folder" / "output" / "model.tar.gz"
    assert model.stat().st_uid == os.getuid()
    with tarfile.open(model) as archive:
        assert archive.getnames() == ["w"]


def test_a_container_that_someone_removes(docker_service: LocalSageMaker, build: Build) -> None:
    """`docker rm -f` under a job fails it, says what was seen, and leaves nothing."""
    import docker  # noqa: PLC0415  an optional part

    name = docker_service.create(
        request_for(docker_service, "removed", build("removed", "echo waiting; exec sleep 600"))
    )
    docker_service.until_logged(name, "waiting")
    with contextlib.closing(docker.DockerClient.from_env()) as client:
        labels = [f"drydock.home={docker_service.home}", f"drydock.job={name}"]
        (container,) = client.containers.list(filters={"label": labels})
        container.remove(force=True)
    description = docker_service.finish(name)
    assert description["TrainingJobStatus"] == "Failed"
    # The daemon tells of the end first and of the removal later; which of them is seen is chance.
    reason = description["FailureReason"]
    assert "killed (SIGKILL): from outside" in reason or reason.startswith("InternalServerError: Docker: ")
    assert not [each for each in docker_service.leftovers() if name in each]


def test_jobs_run_side_by_side(docker_service: LocalSageMaker, build: Build) -> None:
    """Two jobs at once have their own networks, trees and logs."""
    image = build("pair", "cat /opt/ml/input/config/hyperparameters.json; sleep 1; echo; echo done")
    names = [
        docker_service.create(request_for(docker_service, f"pair-{n}", image, HyperParameters={"n": str(n)}))
        for n in range(3)
    ]
    for number, name in enumerate(names):
        assert docker_service.finish(name)["TrainingJobStatus"] == "Completed"
        assert json.loads(docker_service.log(name)[0]) == {"n": str(number)}
    assert docker_service.client("s3").list_buckets()["Buckets"][0]["Name"] == BUCKET
