"""The training image's entry point, PID 1 of its containers: `train`.

It decides which program trains (ours, or the user's own script through sagemaker-training), runs it
under a supervisor, and leaves the exit code and the failure file that the platform reads. Standard
library only: what is imported here is paid by every job before its first own line.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from drydock import __version__, contract
from drydock.contract import Tree
from drydock.errors import DrydockError, UserError
from drydock.training.failure import write_failure
from drydock.training.supervisor import Ending, Supervisor

USAGE = f"""\
Drydock {__version__}: a training image for Amazon SageMaker.

  docker run IMAGE train     run the training job that /opt/ml describes

SageMaker starts it so, and the local SageMaker too: from Drydock's checkout,

  python -m jobs run jobs/train.yaml --local

writes /opt/ml (hyperparameters, channels), runs this image and fetches the model. The image trains
image classifiers and counters (channels train, validation, test, pretrained), or a script of your
own: hyperparameters sagemaker_program and sagemaker_submit_directory, as the SageMaker SDK's script
mode sends them. For a shell: docker run -it --entrypoint bash IMAGE
"""

PROGRAM = ("-m", "drydock.training")
TOOLKIT = ("-m", "sagemaker_training.cli.train")
TOOLKIT_MODULE = "drydock.training.user_script:run"


def main() -> None:
    """`train`: run the job that the tree describes; exit with its program's code."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command named by `arguments`; return the exit code."""
    tree = Tree.from_environment(environment)
    try:
        match list(arguments):
            case ["train"]:
                return _train(tree, environment)
            case []:
                sys.stdout.write(USAGE)
                return contract.EXIT_USER_ERROR
            case ["serve"]:
                raise UserError("this image trains; `serve` is the command of the drydock-serve image")
            case other:
                raise UserError(
                    f"unknown command {' '.join(other)!r}: this image knows `train` only "
                    "(to run something else in it: docker run --entrypoint COMMAND IMAGE ...)"
                )
    except DrydockError as error:
        _say(f"error: {error}")
        if tree.base.is_dir():  # else nobody would read it, and /opt/ml is not ours to make
            write_failure(tree, str(error))
        return error.exit_code


def _train(tree: Tree, environment: Mapping[str, str]) -> int:
    hyperparameters = _read_hyperparameters(tree)
    program = _script_mode_program(hyperparameters, environment)
    # A tree may be used twice outside a container; the last run's failure is not this one's.
    tree.failure_file.unlink(missing_ok=True)
    if program is None:
        command = [sys.executable, *PROGRAM]
        variables = dict(environment)
    else:
        command = [sys.executable, *TOOLKIT]
        variables = dict(environment) | {"SAGEMAKER_TRAINING_MODULE": TOOLKIT_MODULE}
    variables.setdefault("PYTHONUNBUFFERED", "1")  # log lines reach the platform as they are printed
    ending = Supervisor(log=_say).run(command, variables)
    if ending.exit_code != contract.EXIT_SUCCESS and not tree.failure_file.exists():
        reason = _reason(ending)
        _say(reason)
        write_failure(tree, reason)
    return ending.exit_code


def _read_hyperparameters(tree: Tree) -> dict[str, str]:
    if not tree.base.is_dir():
        raise UserError(
            f"{tree.base} is missing: SageMaker mounts the job there. Run this image by "
            "`python -m jobs run jobs/train.yaml --local`, or mount a tree of your own "
            f"(docker run -v TREE:{contract.DEFAULT_BASE_DIR} IMAGE train), or name one "
            f"by {contract.BASE_DIR_VARIABLE}"
        )
    path = tree.hyperparameters_file
    try:
        hyperparameters = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: the platform writes it before it starts the image "
            "(an empty object, {}, means defaults throughout)"
        ) from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(hyperparameters, dict):
        raise UserError(f"{path} must hold one JSON object, name to value; it holds {hyperparameters!r}")
    return {str(name): str(value) for name, value in hyperparameters.items()}


def _script_mode_program(hyperparameters: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
    """The name of the user's script, or None when our own program is to train."""
    value = hyperparameters.get(contract.PROGRAM_HYPERPARAMETER)
    if value is None:
        return environment.get(contract.PROGRAM_VARIABLE) or None
    try:
        decoded = json.loads(value)  # the SDK sends every value as JSON, so with quotes
    except ValueError:
        return value
    return decoded if isinstance(decoded, str) else value


def _reason(ending: Ending) -> str:
    if ending.stop_signal is not None:
        return f"stopped by {ending.stop_signal.name} (exit code {ending.exit_code})"
    if ending.exit_code == 128 + signal.SIGKILL:
        return (
            "the training program was killed (SIGKILL), most likely for lack of memory: "
            "take a smaller batch-size or a larger instance"
        )
    if ending.exit_code > 128:
        number = ending.exit_code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"the training program was ended by {name}: see the end of the job's log"
    return (
        f"the training program ended with exit code {ending.exit_code} and gave no reason: see the job's log"
    )


def _say(message: str) -> None:
    sys.stderr.write(f"drydock: {message}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
