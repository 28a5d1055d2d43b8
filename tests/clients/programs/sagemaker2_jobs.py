"""SDK 2: Estimator.fit with its log, script mode, a script that fails, TrainingJobAnalytics."""

import json
import sys
from typing import Any

import sagemaker
from sagemaker.analytics import TrainingJobAnalytics
from sagemaker.estimator import Estimator
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.inputs import TrainingInput
from sagemaker.pytorch import PyTorch

given = json.loads(sys.argv[1])
session = sagemaker.Session(default_bucket=given["bucket"])
common = {
    "image_uri": given["image"],
    "role": given["role"],
    "instance_count": 1,
    "instance_type": "ml.m5.large",
    "sagemaker_session": session,
}


def image() -> dict[str, Any]:
    """The image's own program on uploaded data; metrics by their definitions."""
    channels = {
        name: TrainingInput(session.upload_data(f"{given['data']}/{name}", key_prefix=f"bins/{name}"))
        for name in ("train", "validation", "test")
    }
    estimator = Estimator(
        **common,
        output_path=f"s3://{given['bucket']}/results",
        hyperparameters=given["hyperparameters"],
        metric_definitions=given["metrics"],
    )
    estimator.fit(channels, wait=True, logs="All")
    name = estimator.latest_training_job.name
    frame = TrainingJobAnalytics(name, sagemaker_session=session).dataframe()
    return {"name": name, "model": estimator.model_data, "analytics": frame.to_dict("records")}


def script() -> dict[str, Any]:
    """A folder with a script, its hyperparameters, and metrics that it prints."""
    estimator = PyTorch(
        **common,
        entry_point=given["entry_point"],
        source_dir=given["source"],
        hyperparameters=given["hyperparameters"],
        metric_definitions=given["metrics"],
    )
    try:
        estimator.fit(wait=True, logs="All")
    except UnexpectedStatusException as error:
        return {
            "name": estimator.latest_training_job.name,
            "error": str(error),
            "status": error.actual_status,
        }
    name = estimator.latest_training_job.name
    frame = TrainingJobAnalytics(name, sagemaker_session=session).dataframe()
    return {"name": name, "model": estimator.model_data, "analytics": frame.to_dict("records")}


print()
print(json.dumps({"image": image, "script": script}[given["run"]]()))
