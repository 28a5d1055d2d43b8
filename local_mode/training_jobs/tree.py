"""What the platform writes into `/opt/ml` and the environment before a training container starts.

Source: "How Amazon SageMaker Provides Training Information", https://docs.aws.amazon.com/sagemaker/
latest/dg/your-algorithms-training-algo-running-container.html
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from drydock import contract
from local_mode.engines.base import CREDENTIALS_FILE, DUMMY_CREDENTIALS, HostSpec, InputFile, InputFolder
from local_mode.store import TrainingJob
from local_mode.training_jobs import debugger
from local_mode.training_jobs.channels import CHANNELS, Channel

CONFIG = PurePosixPath("input/config")
MODEL = PurePosixPath("model")
OUTPUT_DATA = PurePosixPath("output/data")
FAILURE_FILE = PurePosixPath("output/failure")
DIRECTORIES = (CONFIG, CHANNELS, PurePosixPath("code"), MODEL, OUTPUT_DATA)

_GROUP = "homogeneousCluster"
_ACCELERATED = ("ml.p", "ml.g")


def config_files(job: TrainingJob, channels: Sequence[Channel], *, host: str) -> tuple[InputFile, ...]:
    """The files of `input/config` for one host."""
    request = job.request
    instance_type = request["ResourceConfig"]["InstanceType"]
    hosts = [host]
    documents = {
        "hyperparameters.json": request.get("HyperParameters", {}),
        "inputdataconfig.json": {channel.name: channel.config() for channel in channels},
        "resourceconfig.json": {
            "current_host": host,
            "current_instance_type": instance_type,
            "current_group_name": _GROUP,
            "hosts": hosts,
            "instance_groups": [
                {"instance_group_name": _GROUP, "instance_type": instance_type, "hosts": hosts}
            ],
            "network_interface_name": "eth0",
        },
        **debugger.documents(request),
    }
    return (
        *(
            InputFile.from_bytes(CONFIG / name, json.dumps(document).encode())
            for name, document in documents.items()
        ),
        InputFile.from_bytes(CREDENTIALS_FILE, DUMMY_CREDENTIALS),
    )


def host_spec(job: TrainingJob, folders: Sequence[InputFolder], *, host: str, region: str) -> HostSpec:
    """The one host of a training job."""
    algorithm: Mapping[str, Any] = job.request["AlgorithmSpecification"]
    return HostSpec(
        job_name=job.name,
        host_name=host,
        image=algorithm["TrainingImage"],
        entrypoint=tuple(algorithm.get("ContainerEntrypoint", ())),
        arguments=tuple(algorithm.get("ContainerArguments", ("train",))),
        environment={
            contract.TRAINING_JOB_NAME_VARIABLE: job.name,
            contract.TRAINING_JOB_ARN_VARIABLE: job.arn,
            contract.REGION_VARIABLE: region,
            **job.request.get("Environment", {}),
        },
        directories=(*DIRECTORIES, *(output.folder for output in debugger.outputs(job.request))),
        folders=tuple(folders),
        isolated=job.request.get("EnableNetworkIsolation", False),
        wants_gpu=job.request["ResourceConfig"]["InstanceType"].startswith(_ACCELERATED),
    )
