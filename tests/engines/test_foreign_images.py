"""Images that know nothing of Drydock, on bases that have nothing: ten lines of a `train` are enough."""

from pathlib import Path

import pytest

from tests.engines.harness import LocalSageMaker
from tests.engines.images import Images, request_for

pytestmark = [pytest.mark.slow, pytest.mark.docker]

# An image that holds this one file and nothing else: no shell, no passwd, no tar, no libc.
STATIC = """\
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
    const char *files[] = {"/opt/ml/model/weights", "/opt/ml/output/data/notes", "/opt/ml/extra/file",
                           "/opt/ml/output/failure", "/opt/ml/checkpoints/one", "/opt/ml/input/config/own"};
    mkdir("/opt/ml/extra", 0700); mkdir("/opt/ml/checkpoints", 0700);
    for (int i = 0; i < 6; i++) {
        FILE *file = fopen(files[i], "w");
        if (!file) { perror(files[i]); return 3; }
        fprintf(file, "user %d\\n", getuid()); fclose(file);
    }
    printf("arguments %d, %s, user %d, loss=0.5\\n", argc, argv[0], getuid());
    return 0;
}
"""


@pytest.fixture(scope="module")
def static(images: Images) -> bytes:
    return images.static(STATIC)


@pytest.mark.parametrize(
    ("name", "instructions", "user"),
    [
        ("root", [], 0),
        ("number", ["USER 1000"], 1000),
        ("group", ["USER 65534:100"], 65534),
        ("volume", ["VOLUME /opt/ml", "WORKDIR /some/where", "USER 1000"], 1000),
        ("volumes", ["VOLUME /opt/ml/model /opt/ml/output", "USER 1000"], 1000),
        ("own-tree", ["COPY train /opt/ml/model/hidden", "COPY train /opt/ml/code/train", "USER 1000"], 1000),
        ("shell-less-health", ["HEALTHCHECK CMD false", "STOPSIGNAL SIGINT", "EXPOSE 8080"], 0),
    ],
)
def test_an_image_of_one_file_trains(
    *,
    docker_service: LocalSageMaker,
    images: Images,
    static: bytes,
    tmp_path: Path,
    name: str,
    instructions: list[str],
    user: int,
) -> None:
    """On an empty base, as any user, whatever the image says of /opt/ml, the whole tree is writable."""
    image = images.build(
        f"scratch-{name}", {"train": static}, "FROM scratch", "COPY train /bin/train", *instructions
    )
    name = f"scratch-{name}"
    definitions = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    request = request_for(docker_service, name, image, Algorithm={"MetricDefinitions": definitions})
    description = docker_service.run(request)
    log = docker_service.log(name)
    assert description["TrainingJobStatus"] == "Completed", (description["FailureReason"], log)
    assert log == [f"arguments 1, train, user {user}, loss=0.5"]
    assert [each["Value"] for each in description["FinalMetricDataList"]] == [0.5]
    assert "FailureReason" not in description
    model = docker_service.unpack(description["ModelArtifacts"]["S3ModelArtifacts"], tmp_path / "model")
    assert {path.name: path.read_text() for path in model.iterdir()} == {"weights": f"user {user}\n"}
    output = docker_service.unpack(
        f"s3://engine-tests/results/{name}/output/output.tar.gz", tmp_path / "output"
    )
    assert [path.name for path in output.iterdir()] == ["notes"]
    assert not [each for each in docker_service.leftovers() if name in each]


def test_an_image_like_alpine_trains(docker_service: LocalSageMaker, images: Images, tmp_path: Path) -> None:
    """A base of busybox alone, its `train` a script of ten lines."""
    script = """\
#!/bin/sh
set -e
cd /opt/ml
channel=input/data/numbers
sum=0
for number in $(cat $channel/*.txt); do sum=$((sum + number)); done
echo "sum=$sum"
echo "$sum" > model/sum
cp input/config/hyperparameters.json output/data/
"""
    image = images.build(
        "alpine",
        {"busybox": images.busybox(), "train": script.encode()},
        "FROM scratch",
        "COPY busybox /bin/busybox",
        'RUN ["/bin/busybox", "--install", "/bin"]',
        "COPY train /usr/bin/train",
        'ENTRYPOINT ["/bin/sh", "-c", "exec \\"$0\\" \\"$@\\""]',
    )
    for number in (1, 2, 39):
        (tmp_path / f"{number}.txt").write_text(f"{number}\n")
    channel = {
        "ChannelName": "numbers",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"file://{tmp_path}"}},
    }
    request = request_for(
        docker_service, "alpine", image, InputDataConfig=[channel], HyperParameters={"word": "é"}
    )
    description = docker_service.run(request)
    assert description["TrainingJobStatus"] == "Completed", docker_service.log("alpine")
    assert docker_service.log("alpine") == ["sum=42"]
    model = docker_service.unpack(description["ModelArtifacts"]["S3ModelArtifacts"], tmp_path / "model")
    assert (model / "sum").read_text() == "42\n"


def test_a_shell_form_entrypoint(docker_service: LocalSageMaker, images: Images) -> None:
    """An ENTRYPOINT in shell form, which drops the argument, trains all the same."""
    image = images.script("shell-form", 'echo "arguments: $#"', "ENTRYPOINT /usr/local/bin/train")
    description = docker_service.run(request_for(docker_service, "shell-form", image))
    assert description["TrainingJobStatus"] == "Completed"
    assert docker_service.log("shell-form")[0] == "arguments: 0"


NOT_FOUND = "a training image has an executable `train` on its PATH"


@pytest.mark.parametrize(
    ("name", "instructions", "reason"),
    [
        ("absent", ["COPY train /bin/something"], NOT_FOUND),
        ("off-path", ["ENV PATH=/bin", "COPY train /opt/train"], NOT_FOUND),
        ("folder", ["COPY train /bin/train/train"], NOT_FOUND),
        ("mode", ["COPY data /bin/train"], NOT_FOUND),
        ("user", ["COPY train /bin/train", "USER nobody"], "unable to find user nobody"),
        ("machine", ["COPY arm /bin/train"], "exec /bin/train: exec format error, exit code: "),
        ("no-shebang", ["COPY text /bin/train"], "exec /bin/train: exec format error, exit code: "),
        ("no-shell", ["COPY script /bin/train"], "exec /bin/train: no such file or directory, exit code: "),
    ],
)
def test_an_image_that_cannot_start(
    *,
    docker_service: LocalSageMaker,
    images: Images,
    static: bytes,
    name: str,
    instructions: list[str],
    reason: str,
) -> None:
    """The FailureReason says in the image's own terms what is wrong with it, and nothing is left."""
    foreign = bytearray(static)
    foreign[18] = 0xB7  # e_machine: AArch64
    files = {
        "train": static,
        "data": static,
        "arm": bytes(foreign),
        "text": b"echo\n",
        "script": b"#!/bin/sh\necho\n",
    }
    image = images.build(f"start-{name}", files, "FROM scratch", *instructions)
    description = docker_service.run(request_for(docker_service, f"start-{name}", image))
    assert description["TrainingJobStatus"] == "Failed"
    assert reason in description["FailureReason"], description["FailureReason"]
    assert description["FailureReason"].startswith(("ClientError: cannot start", "AlgorithmError: "))
    assert not [each for each in docker_service.leftovers() if f"start-{name}" in each]
