"""The last words on a training job: how it ended, its metrics, where its artifacts lie, what it cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.download import MODEL, OUTPUT, Artifacts


def report(description: Mapping[str, Any], files: Sequence[Path], *, is_aws: bool) -> str:
    """A text of a few lines, the most important last; the FailureReason belongs on stderr."""
    parts = [
        _metrics(description),
        _artifacts(description, files),
        _files(files),
        "\n".join(filter(None, (_status(description), _cost(description, is_aws=is_aws)))),
    ]
    return "\n\n".join(part for part in parts if part)


def _status(description: Mapping[str, Any]) -> str:
    status, secondary = description["TrainingJobStatus"], description.get("SecondaryStatus")
    detail = f" ({secondary})" if secondary and secondary != status else ""
    return f"{status}{detail}: {description['TrainingJobName']}"


def _metrics(description: Mapping[str, Any]) -> str:
    values = {
        metric["MetricName"]: metric["Value"] for metric in description.get("FinalMetricDataList") or []
    }
    if not values:
        return ""
    defined = description.get("AlgorithmSpecification", {}).get("MetricDefinitions") or []
    order = [definition["Name"] for definition in defined]
    names = sorted(values, key=lambda name: (order.index(name) if name in order else len(order), name))
    width = max(map(len, names))
    return "\n".join(["Metrics, last values", *(f"  {name:<{width}}  {values[name]:.4f}" for name in names)])


def _artifacts(description: Mapping[str, Any], files: Sequence[Path]) -> str:
    artifacts = Artifacts.of(description)
    fetched = {path.name for path in files}
    # A description names a model even where the job left none, and never the output data.
    has_model = MODEL in fetched or (not fetched and description["TrainingJobStatus"] == "Completed")
    addresses = [artifacts.model] if artifacts.model and has_model else []
    addresses += [artifacts.output] if OUTPUT in fetched else []
    return "\n  ".join(["Artifacts", *addresses]) if addresses else ""


def _files(files: Sequence[Path]) -> str:
    return "\n".join(["Files", *(f"  {path}" for path in files)]) if files else ""


def _cost(description: Mapping[str, Any], *, is_aws: bool) -> str:
    training = description.get("TrainingTimeInSeconds")
    if training is None:
        return ""
    if not is_aws:
        return f"Training took {training} s on this machine, and cost nothing."
    billable = description.get("BillableTimeInSeconds", training)
    resources = description.get("ResourceConfig", {})
    machine = f"{resources.get('InstanceCount', 1)} x {resources.get('InstanceType', 'instance groups')}"
    spot = ""
    if description.get("EnableManagedSpotTraining") and training:
        spot = f", {1 - billable / training:.0%} saved by spot"
    return (
        f"Training took {training} s; billable: {billable} s of {machine}{spot} "
        "(prices: https://aws.amazon.com/sagemaker/pricing/)"
    )
