"""Run one program as its supervisor: PID 1 of a container, or a subreaper outside of one.

The program and all that it starts get the platform's signals, none of them outlives the job, and the
program's own exit code is the job's. Standard library only, and quick to import.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from drydock import contract

FORWARDED_SIGNALS = (signal.SIGTERM, signal.SIGINT)

# What is left when the program has ended by itself gets this long to follow; after a stop it gets what
# is left of the platform's own grace, less a little so that we end before SIGKILL ends us.
LEFTOVER_GRACE_SECONDS = 5.0
STOP_MARGIN_SECONDS = 5.0

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_POLL_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How the program ended."""

    exit_code: int  # as a shell has it: 128 + N when signal N ended the program
    stop_signal: signal.Signals | None  # the first signal that asked for the stop, None if none did


@dataclass(kw_only=True)
class Supervisor:
    """Starts one command in a process group of its own and stays until nothing of it is left."""

    log: Callable[[str], None]
    stop_grace_seconds: float = contract.STOP_GRACE_SECONDS - STOP_MARGIN_SECONDS
    leftover_grace_seconds: float = LEFTOVER_GRACE_SECONDS
    _program: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _early: list[signal.Signals] = field(default_factory=list, init=False)
    _stop_signal: signal.Signals | None = field(default=None, init=False)
    _stop_at: float = field(default=0.0, init=False)

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> Ending:
        """Run `command` to its end. Raises OSError where it cannot be started."""
        _become_subreaper()
        before = {number: signal.signal(number, self._on_signal) for number in FORWARDED_SIGNALS}
        try:
            self._program = subprocess.Popen(command, env=dict(environment), start_new_session=True)
            # Popen returns after the exec, so from here on the group can take a signal.
            for number in self._early:
                self._forward(number)
            exit_code = self._reap_until_program_ends(self._program.pid)
            self._program.returncode = exit_code  # reaped here: Popen must not wait for it again
            self._end_leftovers(self._program.pid)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return Ending(exit_code=exit_code, stop_signal=self._stop_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        received = signal.Signals(number)
        if self._stop_signal is None:
            self._stop_signal = received
            self._stop_at = time.monotonic()
        if self._program is None:
            self._early.append(received)
        else:
            self._forward(received)

    def _forward(self, number: signal.Signals) -> None:
        assert self._program is not None
        self.log(f"{number.name} received: passed on to the training program and all its processes")
        _signal_group(self._program.pid, number)

    @staticmethod
    def _reap_until_program_ends(program: int) -> int:
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == program:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code

    def _end_leftovers(self, group: int) -> None:
        """Wait for what the program left behind, ask it to end, end it."""
        deadline = time.monotonic() + self.leftover_grace_seconds
        if self._stop_signal is not None:
            deadline = max(deadline, self._stop_at + self.stop_grace_seconds)
        elif not _reap_all():
            self.log("the training program has ended but left processes behind: asking them to end")
            _signal_leftovers(group, signal.SIGTERM)
        while not _reap_all():
            if time.monotonic() > deadline:
                # Again in every round: the children of what is killed become ours in the next.
                _signal_leftovers(group, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)


def _reap_all() -> bool:
    """Reap every child that has ended; true when no child is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # the group has just become empty
        os.killpg(group, number)


def _signal_leftovers(group: int, number: signal.Signals) -> None:
    """Signal the program's group, and what moved into another group but is our child by now."""
    _signal_group(group, number)
    for child in _children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)


def _children() -> list[int]:
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    # Not on macOS, nor on kernels without CONFIG_PROC_CHILDREN: the process group must do there.
    return [int(pid) for pid in listing.read_text().split()] if listing.exists() else []


def _become_subreaper() -> None:
    """Have orphans of the program become our children, as they would be PID 1's: prctl(2)."""
    if sys.platform != "linux" or os.getpid() == 1:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(number)}")
