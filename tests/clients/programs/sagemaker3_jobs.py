"""SDK 3: ModelTrainer.train of the image's own program, and of a script."""

import json
import logging
import sys
from typing import Any

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, SourceCode

logging.basicConfig(level=logging.INFO)  # SDK 3 shows a job's log there
given = json.loads(sys.argv[1])
# SDK 3 asks IAM for the role before it sends anything.
trust = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
iam = boto3.client("iam")
try:
    role = iam.get_role(RoleName="clients")["Role"]["Arn"]
except iam.exceptions.NoSuchEntityException:
    role = iam.create_role(RoleName="clients", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]

session = Session(default_bucket=given["bucket"])
source = given.get("source")
trainer = ModelTrainer(
    sagemaker_session=session,
    training_image=given["image"],
    role=role,
    base_job_name="sdk3",
    hyperparameters=given["hyperparameters"],
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=1),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{given['bucket']}/results"),
    source_code=SourceCode(source_dir=source, entry_script="program.py") if source else None,
)
channels = [InputData(channel_name=name, data_source=place) for name, place in given["channels"].items()]
result: dict[str, Any] = {"error": None}
try:
    trainer.train(input_data_config=channels, wait=True, logs=True)
except Exception as error:  # noqa: BLE001  the test asks what it is
    result["error"] = f"{type(error).__name__}: {error}"
job = trainer._latest_training_job
result["name"] = job.training_job_name
result["model"] = getattr(job.refresh().model_artifacts, "s3_model_artifacts", None)
print()
print(json.dumps(result))
