"""What the user sees while a job runs: log lines, and on a terminal a line below them with the progress."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from jobs.logs import LogLine

# "Epoch 3: Validation set: ...", and what other programs write: "epoch: 3", "Epoch 3/10".
_EPOCH = re.compile(r"\bepoch:?[ =]+([0-9]+)(?:\s*/\s*([0-9]+))?", re.IGNORECASE)


class Screen(Protocol):
    """Where a followed job shows."""

    def log(self, line: LogLine) -> None:
        """A line of the job's log."""

    def status(self, description: Mapping[str, Any]) -> None:
        """What DescribeTrainingJob says now."""

    def note(self, text: str) -> None:
        """Something that this program has to say."""


@contextmanager
def screen() -> Iterator[Screen]:
    """A Screen that fits where stdout goes."""
    console = Console(highlight=False)
    if not console.is_terminal:
        yield PlainScreen()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[epochs]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield TerminalScreen(progress)


class _Hosts:
    """Names the host before each line where there is more than one."""

    def __init__(self) -> None:
        self._several = False

    def see(self, description: Mapping[str, Any]) -> None:
        self._several = description.get("ResourceConfig", {}).get("InstanceCount", 1) > 1

    def line(self, line: LogLine) -> str:
        return f"{line.host} | {line.text}" if self._several else line.text


class PlainScreen:
    """One line after the other, for a file or a pipe."""

    def __init__(self) -> None:
        self._hosts = _Hosts()
        self._status = ""

    def log(self, line: LogLine) -> None:
        _print(self._hosts.line(line))

    def status(self, description: Mapping[str, Any]) -> None:
        self._hosts.see(description)
        now = _status_line(description)
        if now != self._status:
            self._status = now
            _print(f"== {now}")

    def note(self, text: str) -> None:
        _print(f"== {text}")


class TerminalScreen:
    """Log lines scroll above a line with status, epochs and time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._hosts = _Hosts()
        self._task: TaskID = progress.add_task("Waiting", total=None, epochs="")
        self._epochs = 0  # in all; 0: not known

    def log(self, line: LogLine) -> None:
        self._progress.console.print(Text(self._hosts.line(line)), soft_wrap=True)
        if found := _EPOCH.search(line.text):
            self._epochs = int(found[2] or 0) or self._epochs
            done = int(found[1])
            if self._epochs:
                self._progress.update(
                    self._task, completed=done, total=self._epochs, epochs=f"epoch {done}/{self._epochs}"
                )
            else:
                self._progress.update(self._task, epochs=f"epoch {done}")

    def status(self, description: Mapping[str, Any]) -> None:
        self._hosts.see(description)
        self._epochs = self._epochs or _epochs(description)
        self._progress.update(self._task, description=_status_line(description))

    def note(self, text: str) -> None:
        self._progress.console.print(Text(text, style="bold"), soft_wrap=True)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _status_line(description: Mapping[str, Any]) -> str:
    """`Training`, or `Stopping: ...` with the newest message where the platform gives one."""
    secondary = description.get("SecondaryStatus") or description["TrainingJobStatus"]
    transitions = description.get("SecondaryStatusTransitions") or []
    message = transitions[-1].get("StatusMessage") if transitions else None
    return f"{secondary}: {message}" if message else str(secondary)


def _epochs(description: Mapping[str, Any]) -> int:
    """The hyperparameter `epochs`; 0 where there is none."""
    value = str(description.get("HyperParameters", {}).get("epochs", "")).strip('"')
    return int(value) if value.isdecimal() else 0
