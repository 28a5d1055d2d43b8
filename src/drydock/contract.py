"""The SageMaker container contract: paths, file names, variables, exit codes.

Standard library only, and quick to import: PID 1 of the training image reads it before anything
else. Source: Amazon SageMaker developer guide, "How Amazon SageMaker Provides Training
Information" (https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html).

::

    /opt/ml                              Tree.base (SAGEMAKER_BASE_DIR moves it)
    ├── input
    │   ├── config
    │   │   ├── hyperparameters.json
    │   │   ├── inputdataconfig.json
    │   │   └── resourceconfig.json
    │   └── data/CHANNEL
    ├── code                             where sagemaker-training unpacks a user's script
    ├── checkpoints
    ├── model                            -> model.tar.gz
    └── output
        ├── data                         -> output.tar.gz
        └── failure                      -> FailureReason
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_BASE_DIR = "/opt/ml"

# Variables of the platform and of the sagemaker toolkits.
BASE_DIR_VARIABLE = "SAGEMAKER_BASE_DIR"
TRAINING_JOB_NAME_VARIABLE = "TRAINING_JOB_NAME"
TRAINING_JOB_ARN_VARIABLE = "TRAINING_JOB_ARN"
REGION_VARIABLE = "AWS_REGION"

# SDK script mode names its script by a hyperparameter, or by the variable.
PROGRAM_HYPERPARAMETER = "sagemaker_program"
TOOLKIT_HYPERPARAMETER_PREFIX = "sagemaker_"
PROGRAM_VARIABLE = "SAGEMAKER_PROGRAM"
# A tuning job adds this one to the hyperparameters of each of its training jobs.
TUNING_OBJECTIVE_HYPERPARAMETER = "_tuning_objective_metric"

TRAIN_CHANNEL = "train"
VALIDATION_CHANNEL = "validation"
TEST_CHANNEL = "test"
PRETRAINED_CHANNEL = "pretrained"

FAILURE_REASON_MAX_CHARACTERS = 1024
# SIGTERM to SIGKILL at StopTrainingJob, MaxRuntimeInSeconds and a spot interruption.
STOP_GRACE_SECONDS = 120

EXIT_SUCCESS = 0
EXIT_ALGORITHM_ERROR = 1
EXIT_USER_ERROR = 2


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The `/opt/ml` tree of one host, wherever it lies."""

    base: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Tree":
        """The tree at `SAGEMAKER_BASE_DIR`, else at `/opt/ml`."""
        return cls(base=Path(environment.get(BASE_DIR_VARIABLE) or DEFAULT_BASE_DIR))

    @property
    def config(self) -> Path:
        return self.base / "input" / "config"

    @property
    def hyperparameters_file(self) -> Path:
        return self.config / "hyperparameters.json"

    @property
    def input_data_config_file(self) -> Path:
        return self.config / "inputdataconfig.json"

    @property
    def resource_config_file(self) -> Path:
        return self.config / "resourceconfig.json"

    @property
    def channels(self) -> Path:
        return self.base / "input" / "data"

    def channel(self, name: str) -> Path:
        return self.channels / name

    @property
    def code(self) -> Path:
        return self.base / "code"

    @property
    def checkpoints(self) -> Path:
        return self.base / "checkpoints"

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def output(self) -> Path:
        return self.base / "output"

    @property
    def output_data(self) -> Path:
        return self.output / "data"

    @property
    def failure_file(self) -> Path:
        return self.output / "failure"
