"""SageMaker's Python SDK 3, unmodified, against the local SageMaker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.harness import BUCKET, IMAGE, QUICK, Client
from tests.engines.harness import LocalSageMaker

SCRIPT = """
import os, sys
print("arguments:", *sys.argv[1:])
if "fail" in sys.argv:
    raise ValueError("the script's own words")
with open(os.path.join(os.environ["SM_MODEL_DIR"], "weights"), "w") as file:
    file.write("w")
"""


def train(client: Client, **more: Any) -> dict[str, Any]:
    return client.script("sagemaker3_jobs", bucket=BUCKET, image=IMAGE, **more)


@pytest.mark.slow
def test_model_trainer(client: Callable[[str], Client], service: LocalSageMaker, data: Path) -> None:
    """`train` uploads folders, runs our image's own program and shows its log."""
    channels = {name: str(data / name) for name in ("train", "validation", "test")}
    found = train(client("sagemaker3"), hyperparameters=QUICK, channels=channels)
    assert found["error"] is None, found
    description = service.describe(found["name"])
    assert description["TrainingJobStatus"] == "Completed"
    assert found["model"] == description["ModelArtifacts"]["S3ModelArtifacts"]
    assert "Test set: Average accuracy:" in found["output"]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["good", "fail"])
def test_source_code(
    client: Callable[[str], Client], service: LocalSageMaker, tmp_path: Path, end: str
) -> None:
    """A script of one's own, which SDK 3 starts by an entry point of its own; its failure is told."""
    if service.engine == "process":
        pytest.skip("SDK 3 sends ContainerEntrypoint with a script, which only a container has")
    source = tmp_path / "source"
    source.mkdir()
    (source / "program.py").write_text(SCRIPT)
    found = train(
        client("sagemaker3"), hyperparameters={"rate": 0.5, "end": end}, channels={}, source=str(source)
    )
    log = service.log(found["name"])
    assert any(
        line.startswith("arguments:") and f"--end {end}" in line and "--rate 0.5" in line for line in log
    ), log
    if end == "good":
        assert found["error"] is None, found
        assert service.describe(found["name"])["TrainingJobStatus"] == "Completed"
    else:
        assert "FailedStatusError" in found["error"]
        # The SDK's own driver in the container writes the failure file; the script's words are in the log.
        assert "returned non-zero exit status 1" in service.describe(found["name"])["FailureReason"]
        assert "ValueError: the script's own words" in log
