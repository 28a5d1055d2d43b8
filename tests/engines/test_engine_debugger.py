"""Debugger settings with any image: files to read, folders to write to, and what is there goes to S3."""

import json

import pytest

from tests.engines.harness import BUCKET, LocalSageMaker
from tests.engines.images import Images, request_for

pytestmark = [pytest.mark.slow, pytest.mark.docker]

TRAIN = """\
cat /opt/ml/input/config/debughookconfig.json; echo
mkdir /opt/ml/output/tensors/deep
printf tensors > /opt/ml/output/tensors/deep/0.tfevents
printf 'two words' > '/opt/ml/output/board/two words'
exit 3
"""


def test_what_a_container_leaves_is_uploaded(docker_service: LocalSageMaker, images: Images) -> None:
    """The folders are there before the program starts, and a job that fails loses nothing of them."""
    hook = {"S3OutputPath": f"s3://{BUCKET}/hook"}
    board = {"S3OutputPath": f"s3://{BUCKET}/board", "LocalPath": "/opt/ml/output/board/"}
    description = docker_service.run(
        request_for(
            docker_service,
            "hooked",
            images.script("hooked", TRAIN),
            DebugHookConfig=hook,
            TensorBoardOutputConfig=board,
        )
    )
    assert description["TrainingJobStatus"] == "Failed"
    assert description["DebugHookConfig"] == hook
    lines = [line for line in docker_service.log("hooked") if line.startswith("{")]
    assert json.loads(lines[0]) == hook | {"LocalPath": "/opt/ml/output/tensors"}
    s3 = docker_service.client("s3")
    for key, content in (
        ("hook/hooked/debug-output/deep/0.tfevents", b"tensors"),
        ("board/hooked/tensorboard-output/two words", b"two words"),
    ):
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == content
