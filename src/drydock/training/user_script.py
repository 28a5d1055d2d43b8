"""Run a user's own script by sagemaker-training: the function that its `train` command calls.

The toolkit prepares what scripts expect (SM_* variables, arguments, requirements.txt, the code from
S3) and starts the script. Around it stands what it lacks: it survives a SIGTERM to wait for the
script, hands on the script's exit code (its own command turns every code into 1), and names the
script's last error line as the failure's reason.
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from types import FrameType
from typing import Self

from sagemaker_training import entry_point, environment, errors, runner

from drydock import contract
from drydock.contract import Tree
from drydock.errors import UserError
from drydock.training.failure import write_failure

# Launchers of the toolkit that start several processes or hosts; SDK script mode asks for them so.
UNSUPPORTED_LAUNCHERS = re.compile(
    r"sagemaker_(mpi|parameter_server|multi_worker_mirrored_strategy|pytorch_xla_multi_worker"
    r"|pytorch_ddp|torch_distributed|distributed_dataparallel)_enabled|sagemaker_instance_type_smddp.*"
)
TAIL_BYTES = 16_384
_TRACEBACK = "Traceback (most recent call last):"
# A traceback's last line, pip's complaint, argparse's complaint.
_SUMMARY_LINE = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b(:.*)?$|ERROR: |\S+: error: ")


def run() -> None:
    """Called by `sagemaker_training.cli.train`, which finds it in SAGEMAKER_TRAINING_MODULE.

    Returns when the script has succeeded; ends the process with the script's exit code otherwise.
    """
    # A handler, not SIG_IGN: an ignored signal stays ignored in the script that we start.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _wait_for_the_script)
    tree = Tree.from_environment()
    job = environment.Environment()
    script = job.user_entry_point
    error: Exception | None = None
    with ErrorTail() as tail:
        try:
            _refuse_launchers(job.additional_framework_parameters)
            entry_point.run(
                uri=job.module_dir,
                user_entry_point=script,
                args=job.to_cmd_args(),
                env_vars=job.to_env_vars(),
                runner_type=runner.ProcessRunnerType,
            )
        except Exception as caught:  # noqa: BLE001  whatever it is, it is reported and ends the job
            error = caught
            if not isinstance(caught, (UserError, errors.ClientError)):
                traceback.print_exc()
    if error is None:
        return
    message, exit_code = _failure(error, script=script, source=job.module_dir, tail=tail.lines())
    sys.stderr.write(f"drydock: {message.splitlines()[0]}\n")
    # The file first: the toolkit's upload of intermediate output ends when it sees it.
    write_failure(tree, message)
    for child in multiprocessing.active_children():
        child.join()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the toolkit's command would end with its own code.
    os._exit(exit_code)


def _wait_for_the_script(_number: int, _frame: FrameType | None) -> None:
    """The supervisor has told the script as well; we end when it has."""


def _refuse_launchers(parameters: dict[str, object]) -> None:
    for name, value in parameters.items():
        if UNSUPPORTED_LAUNCHERS.fullmatch(name) and value not in (False, None, "", "false"):
            raise UserError(
                f"{name}={value}: this image starts one process on one host; remove the hyperparameter "
                "(SDK: the estimator's `distribution`), or start torchrun from your script"
            )


def _failure(error: Exception, *, script: str, source: str, tail: Sequence[str]) -> tuple[str, int]:
    """What the failure file says (first line: what failed), and the exit code."""
    match error:
        case errors.InstallRequirementsError():
            what = f"requirements.txt of {script} could not be installed"
        case errors.ExecuteUserScriptError():
            what = f"{script} failed"
        case UserError() | errors.ClientError():
            return str(error), contract.EXIT_USER_ERROR
        case _:
            what = f"{script} could not be started from {source}: {type(error).__name__}: {error}"
            return what, contract.EXIT_ALGORITHM_ERROR
    code = int(error.return_code)
    how = f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
    summary = next((line for line in reversed(tail) if _SUMMARY_LINE.match(line)), None)
    first = f"{what} ({how})" + (f": {summary}" if summary else "; the job's log says more")
    # Of the rest only a traceback explains; before it stands the toolkit's own chatter.
    starts = [number for number, line in enumerate(tail) if line.startswith(_TRACEBACK)]
    message = "\n".join([first, *(tail[starts[-1] :] if starts else ())])
    return message, code if code >= 0 else 128 - code


class ErrorTail:
    """Keeps the last bytes of standard error while passing all of them on, byte for byte.

    The toolkit's `capture_error=True` re-splits the output at buffer boundaries, which cuts lines
    that metrics are read from, so the tee stands at the file descriptor instead.
    """

    def __enter__(self) -> Self:
        self._pieces: deque[bytes] = deque()
        self._kept = 0
        self._original = os.dup(2)
        reader, writer = os.pipe()
        os.dup2(writer, 2)
        os.close(writer)
        self._thread = threading.Thread(target=self._relay, args=(reader,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        sys.stderr.flush()
        os.dup2(self._original, 2)
        # A process that the script left running may hold the pipe open: its supervisor ends it.
        self._thread.join(timeout=1.0)

    def lines(self) -> list[str]:
        """What was kept, in lines; the first may be cut."""
        return b"".join(self._pieces).decode("utf-8", "replace").splitlines()

    def _relay(self, reader: int) -> None:
        while piece := os.read(reader, 65_536):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._original, rest) :]
            self._pieces.append(piece)
            self._kept += len(piece)
            while self._kept - len(self._pieces[0]) > TAIL_BYTES:
                self._kept -= len(self._pieces.popleft())
