"""`python -m drydock.training [--name value ...]`: train on the tree at SAGEMAKER_BASE_DIR, else /opt/ml."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence

from drydock import contract
from drydock.contract import Tree
from drydock.errors import DrydockError
from drydock.hyperparameters import Hyperparameters
from drydock.training.arguments import merged, parse_arguments, read_file
from drydock.training.failure import write_failure


class _Lines(logging.Formatter):
    """A metric's line stands alone, as its regex is a contract; a warning says that it is one."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return message if record.levelno < logging.WARNING else f"{record.levelname}: {message}"


def _log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)  # noqa: FBT003  the standard library's signature
    # Their INFO is about fonts and image chunks.
    for name in ("matplotlib", "PIL"):
        logging.getLogger(name).setLevel(logging.WARNING)


def main(arguments: Sequence[str]) -> int:
    """Parse, build, run; returns the exit code. Any failure is in the tree's failure file too."""
    _log_to_stdout()
    # Before torch loads OpenMP: threads that spin while they wait for each other take the cores from
    # whatever else runs; on two busy cores, a training step cost 1.4 to 2 times the CPU time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    tree = Tree.from_environment()
    try:
        given = parse_arguments(arguments)
        hyperparameters = Hyperparameters.from_strings(merged(read_file(tree.hyperparameters_file), given))
        # Imported late: a typing error in a hyperparameter is answered before torch is loaded.
        from drydock.training.program import run  # noqa: PLC0415
        from drydock.training.stopping import Stop  # noqa: PLC0415

        stop = Stop()
        stop.listen()
        return run(hyperparameters, tree, stop)
    except DrydockError as error:
        return _fail(tree, " ".join(str(error).split()), error.exit_code)
    except Exception as error:  # noqa: BLE001  the last stop of any bug: it must reach the failure file
        traceback.print_exc()
        reason = (str(error).strip().splitlines() or ["no message"])[-1]
        return _fail(tree, f"{type(error).__name__}: {reason} (see the log)", contract.EXIT_ALGORITHM_ERROR)


def _fail(tree: Tree, message: str, exit_code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    try:
        write_failure(tree, message + "\n")
    except OSError as error:
        print(f"the failure file cannot be written: {error}", file=sys.stderr, flush=True)
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
