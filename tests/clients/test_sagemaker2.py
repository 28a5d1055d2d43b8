"""SageMaker's Python SDK 2, unmodified, against the local SageMaker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drydock.metrics import METRICS
from tests.clients.harness import BUCKET, IMAGE, QUICK, ROLE, Client
from tests.engines.harness import LocalSageMaker

Clients = Callable[[str], Client]
SCRIPT = """
import argparse, json, os
parser = argparse.ArgumentParser()
parser.add_argument("--name")
parser.add_argument("--rate", type=float)
parser.add_argument("--fail", default="no")
arguments = parser.parse_args()
print("name:", arguments.name, "rate:", arguments.rate)
for loss in (3.0, 1.0):
    print(f"loss={loss}")
if arguments.fail != "no":
    raise ValueError("the script's own words")
with open(os.path.join(os.environ["SM_MODEL_DIR"], "weights.json"), "w") as file:
    json.dump(vars(arguments), file)
"""


def common(run: str, **more: Any) -> dict[str, Any]:
    return {
        "run": run,
        "bucket": BUCKET,
        "image": IMAGE,
        "role": ROLE,
        **more,
    }


@pytest.mark.slow
def test_estimator_fit(client: Clients, service: LocalSageMaker, data: Path) -> None:
    """`fit` uploads, trains our image, prints its whole log; analytics has each metric's value."""
    metrics = [
        {"Name": each.name, "Regex": each.regex} for each in METRICS.values() if each.name.startswith("test:")
    ]
    found = client("sagemaker2").script(
        "sagemaker2_jobs", **common("image", data=str(data), hyperparameters=QUICK, metrics=metrics)
    )
    description = service.describe(found["name"])
    assert description["TrainingJobStatus"] == "Completed"
    assert found["model"] == description["ModelArtifacts"]["S3ModelArtifacts"]
    lines = found["output"].splitlines()
    for line in service.log(found["name"]):
        assert any(line in printed for printed in lines), line
    assert "Training - Training image download completed." in found["output"]
    assert "Billable seconds:" in found["output"]
    final = {each["MetricName"]: each["Value"] for each in description["FinalMetricDataList"]}
    assert final
    assert {each["metric_name"]: each["value"] for each in found["analytics"]} == pytest.approx(final)


@pytest.mark.slow
def test_script_mode(client: Clients, service: LocalSageMaker, tmp_path: Path) -> None:
    """A folder with a script runs with its hyperparameters as typed; its metrics reach analytics."""
    found = run_script(client, tmp_path, {"name": "two words", "rate": 0.5})
    assert "name: two words rate: 0.5" in found["output"]
    assert service.describe(found["name"])["TrainingJobStatus"] == "Completed"
    # Both within one minute most often, which CloudWatch gives as one value; else two.
    values = [each["value"] for each in found["analytics"]]
    assert values in ([2.0], [3.0, 1.0]), found["analytics"]
    assert {each["metric_name"] for each in found["analytics"]} == {"loss"}


@pytest.mark.slow
def test_script_that_fails(client: Clients, service: LocalSageMaker, tmp_path: Path) -> None:
    """`fit` raises UnexpectedStatusException with the script's own error as the reason."""
    found = run_script(client, tmp_path, {"fail": "yes"})
    assert found["status"] == "Failed"
    assert "the script's own words" in found["error"]
    assert service.describe(found["name"])["FailureReason"] in found["error"]


def run_script(client: Clients, folder: Path, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    source = folder / "source"
    source.mkdir()
    (source / "program.py").write_text(SCRIPT)
    metrics = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    return client("sagemaker2").script(
        "sagemaker2_jobs",
        **common(
            "script",
            entry_point="program.py",
            source=str(source),
            hyperparameters=hyperparameters,
            metrics=metrics,
        ),
    )
