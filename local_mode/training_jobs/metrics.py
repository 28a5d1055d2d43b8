"""Metrics: what the MetricDefinitions' regular expressions find in the lines of the log."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import regex  # type: ignore[import-untyped]  # publishes no types

from local_mode.store import MetricValue

# A user's pattern may backtrack for hours; `re` would hold every thread of the service meanwhile.
MAX_SECONDS_PER_LINE = 1.0
# A longer line is no log line but a dump, and is not searched behind this.
MAX_LINE_CHARACTERS = 1 << 20


class MetricScanner:
    """Searches whole lines, which may arrive in pieces.

    A value is the first group that took part in the match, as a finite number. `notes` collects, once
    a metric and reason, what the user should know about matches that gave no value.
    """

    def __init__(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        self._patterns = {item["Name"]: regex.compile(item["Regex"]) for item in definitions}
        self._line = ""
        self._noted: set[tuple[str, str]] = set()
        self.notes: list[str] = []

    def feed(self, piece: str, *, ends_line: bool, time: int) -> list[MetricValue]:
        """The metrics of a line that this piece ends; `time` in ms since the epoch."""
        self._line += piece[: MAX_LINE_CHARACTERS - len(self._line)]
        if not ends_line:
            return []
        line, self._line = self._line, ""
        values = []
        for name, pattern in list(self._patterns.items()):
            value = self._search(name, pattern, line)
            if value is not None:
                values.append(MetricValue(name=name, value=value, time=time))
        return values

    def _search(self, name: str, pattern: Any, line: str) -> float | None:
        try:
            match = pattern.search(line, timeout=MAX_SECONDS_PER_LINE)
        except TimeoutError:
            del self._patterns[name]
            self._note(
                name,
                "timeout",
                f"its Regex took over {MAX_SECONDS_PER_LINE:g} s on one line; it is not read any further",
            )
            return None
        if match is None:
            return None
        text = next((group for group in match.groups() if group is not None), None)
        try:
            value = float(text) if text is not None else math.nan
        except ValueError:
            self._note(name, "text", f"its Regex captured {text!r}, which is no number")
            return None
        if not math.isfinite(value):
            self._note(name, "finite", f"its Regex captured {text!r}; only finite numbers are kept")
            return None
        return value

    def _note(self, name: str, reason: str, text: str) -> None:
        if (name, reason) not in self._noted:
            self._noted.add((name, reason))
            self.notes.append(f"metric {name}: {text}")
