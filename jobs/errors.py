"""The error of the jobs program: one line that says what, where, and what to do."""

from collections.abc import Mapping

# The program's exit codes; by TrainingJobStatus where the job has ended. `python -m jobs --help` lists them.
EXIT_CODES: Mapping[str, int] = {"Completed": 0, "Failed": 1, "Stopped": 3}
EXIT_NOT_SENT = 2
EXIT_OUT_OF_SIGHT = 4
EXIT_DETACHED = 5


class JobError(Exception):
    """The job was not sent, or cannot be followed any further; `exit_code` is the process's."""

    def __init__(self, message: str, *, exit_code: int = EXIT_NOT_SENT) -> None:
        super().__init__(message)
        self.exit_code = exit_code
