"""What the user sees while a job runs: log lines, and on a terminal a line below them with the progress."""

import math
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from jobs.logs import LogLine

# Ours: "Epoch 3: step 6 of 9 (67 %), ...", "Epoch 3: Validation set: ...", "Epoch 3 of 12: ..."; what other
# programs write: "epoch: 3", "Epoch 3/10".
_EPOCH = re.compile(
    r"\bepoch:?[ =]+(?P<epoch>[0-9]+)(?:\s*(?:/|of)\s*(?P<epochs>[0-9]+))?"
    r"(?:: step (?P<step>[0-9]+) of (?P<steps>[0-9]+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Advance:
    """How far a log line says that the training is."""

    epochs_done: float
    epochs: int | None  # in all, where the line says so

    @classmethod
    def from_line(cls, text: str) -> "Advance | None":
        """None for a line that says nothing of it. A line without steps is of an epoch's end."""
        found = _EPOCH.search(text)
        if found is None:
            return None
        done = float(found["epoch"])
        if found["steps"] and int(found["steps"]):
            done += int(found["step"]) / int(found["steps"]) - 1
        return cls(epochs_done=done, epochs=int(found["epochs"]) if found["epochs"] else None)


class Screen(Protocol):
    """Where a followed job shows."""

    def log(self, line: LogLine) -> None:
        """A line of the job's log."""

    def status(self, description: Mapping[str, Any]) -> None:
        """What DescribeTrainingJob says now."""

    def note(self, text: str) -> None:
        """Something that this program has to say."""


@contextmanager
def screen(console: Console | None = None) -> Iterator[Screen]:
    """A Screen that fits where the output goes: to stdout, unless a console is given."""
    console = console or Console(highlight=False)
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
        self._done = 0.0

    def log(self, line: LogLine) -> None:
        self._progress.console.print(Text(self._hosts.line(line)), soft_wrap=True)
        advance = Advance.from_line(line.text)
        if advance is None:
            return
        self._epochs = advance.epochs or self._epochs
        # "Best epoch 3" comes after the last one, and takes nothing back.
        self._done = max(self._done, advance.epochs_done)
        epoch = math.ceil(self._done)
        if self._epochs:
            label = f"epoch {epoch} of {self._epochs}"
            self._progress.update(self._task, completed=self._done, total=self._epochs, epochs=label)
        else:
            self._progress.update(self._task, epochs=f"epoch {epoch}")

    def status(self, description: Mapping[str, Any]) -> None:
        self._hosts.see(description)
        self._epochs = self._epochs or _epochs(description)
        # The status alone: a message would leave no room for the bar.
        self._progress.update(self._task, description=_status(description))

    def note(self, text: str) -> None:
        self._progress.console.print(Text(text, style="bold"), soft_wrap=True)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _status(description: Mapping[str, Any]) -> str:
    return str(description.get("SecondaryStatus") or description["TrainingJobStatus"])


def _status_line(description: Mapping[str, Any]) -> str:
    """`Training: Training in progress.`: the newest message too, where the platform gives one."""
    transitions = description.get("SecondaryStatusTransitions") or []
    message = transitions[-1].get("StatusMessage") if transitions else None
    return ": ".join(filter(None, (_status(description), message)))


def _epochs(description: Mapping[str, Any]) -> int:
    """The hyperparameter `epochs`; 0 where there is none."""
    value = str(description.get("HyperParameters", {}).get("epochs", "")).strip('"')
    return int(value) if value.isdecimal() else 0
