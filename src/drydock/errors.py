"""The errors of everything under `src/`.

::

    DrydockError
    ├── UserError        the request, the data or the environment is wrong: the user can mend it
    └── AlgorithmError   the program is wrong: a bug of ours, or of what it calls

A message is one line that says what is wrong, where, and what to do; it becomes the first line
of `/opt/ml/output/failure` and so the job's FailureReason.
"""

from drydock import contract


class DrydockError(Exception):
    """Base of all; `exit_code` is what the process that it ends returns."""

    exit_code: int = contract.EXIT_ALGORITHM_ERROR


class UserError(DrydockError):
    """Something that the user gave is wrong."""

    exit_code = contract.EXIT_USER_ERROR


class AlgorithmError(DrydockError):
    """Something that we did is wrong."""

    exit_code = contract.EXIT_ALGORITHM_ERROR
