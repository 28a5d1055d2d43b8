"""The failure file: what the platform reports as the job's FailureReason."""

import os

from drydock.contract import Tree


def write_failure(tree: Tree, message: str) -> None:
    """Put `message` into `/opt/ml/output/failure`, whole or not at all. Its first line says what failed
    and what to do: it is what people see of the job first.

    Raises OSError where the output folder cannot be written.
    """
    tree.output.mkdir(parents=True, exist_ok=True)
    temporary = tree.failure_file.with_name("failure.partial")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(message)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(tree.failure_file)
