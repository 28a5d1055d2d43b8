"""One host's log: its output to a log stream and to the metrics, and our own remarks in between."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

from local_mode.engines.base import STDERR, STDOUT
from local_mode.logs import LogEvent, LogStore
from local_mode.store import TrainingJobStore, now
from local_mode.training_jobs.lines import LineSplitter
from local_mode.training_jobs.metrics import MetricScanner
from local_mode.training_jobs.record import Progress

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
NOTE_PREFIX = "[drydock] "
# What comes between two of them is read again by a service that takes the job over.
_SAVE_SECONDS = 0.2


class HostLog:
    """The log stream `JOB/algo-1-EPOCH` and what its lines hold; written by two threads."""

    def __init__(
        self,
        *,
        job_name: str,
        host: str,
        logs: LogStore,
        store: TrainingJobStore,
        definitions: Sequence[Mapping[str, Any]],
        save: Callable[[Progress], None],
        stream: str | None = None,
    ) -> None:
        """`stream`: the one that an earlier service began; `save` keeps a Progress for a later one."""
        self.stream = stream or f"{job_name}/{host}-{now() // 1000}"
        self.last_line = ""
        self._job_name = job_name
        self._logs = logs
        self._store = store
        self._definitions = definitions
        self._save = save
        self._saved = 0.0  # on the monotonic clock
        self._events = logs.count(LOG_GROUP, self.stream)
        self._metrics = len(store.metrics(job_name))
        self._lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """A new host: its output is read from the start."""
        # Two streams, each with its own unfinished line.
        self._readers = {stream: _Reader(self._definitions) for stream in (STDOUT, STDERR)}

    def resume(self, progress: Progress) -> None:
        """Takes log and metrics back to where they are known to be complete."""
        self._logs.truncate(LOG_GROUP, self.stream, progress.events)
        self._store.keep_metrics(self._job_name, progress.metrics)
        self._events, self._metrics = progress.events, progress.metrics
        for stream, read in ((STDOUT, progress.stdout), (STDERR, progress.stderr)):
            self._readers[stream].resume(read)

    @property
    def read(self) -> Mapping[int, int]:
        """The bytes of each stream that are in the log."""
        return {stream: reader.whole for stream, reader in self._readers.items()}

    def relay(self, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Takes the host's output to its end."""
        for stream, chunk in chunks:
            reader = self._readers[stream]
            self._take(reader, reader.feed(chunk))
        self.keep_place()
        for reader in self._readers.values():
            self._take(reader, reader.close())

    def keep_place(self) -> None:
        """Saves how far the output is in the log."""
        with self._lock:
            self._keep_place(at_once=True)

    def note(self, text: str) -> None:
        """A remark of the local SageMaker's own."""
        with self._lock:
            self._append([LogEvent(timestamp=now(), message=f"{NOTE_PREFIX}{text}")])
            self._keep_place()

    def _take(self, reader: "_Reader", pieces: Iterable[tuple[str, bool]]) -> None:
        time, events, values = now(), [], []
        scanner = reader.scanner
        ends_line = True
        for text, ends_line in pieces:
            # CloudWatch takes no empty message; the blank line is kept all the same.
            events.append(LogEvent(timestamp=time, message=text or " "))
            values += scanner.feed(text, ends_line=ends_line, time=time)
            if text.strip():
                self.last_line = text.strip()
        notes, scanner.notes = scanner.notes, []
        with self._lock:
            if values:
                self._store.add_metrics(self._job_name, values)
                self._metrics += len(values)
            if events:
                self._append(events)
            reader.settle(ends_line=ends_line)
            if notes:
                self._append([LogEvent(timestamp=time, message=NOTE_PREFIX + note) for note in notes])
            self._keep_place()

    def _append(self, events: Sequence[LogEvent]) -> None:
        self._logs.append(LOG_GROUP, self.stream, events)
        self._events += len(events)

    def _keep_place(self, *, at_once: bool = False) -> None:
        """Saves the place where log, metrics and output agree, if this is one."""
        if not all(reader.whole_lines for reader in self._readers.values()):
            return
        if not at_once and monotonic() < self._saved + _SAVE_SECONDS:
            return
        self._saved = monotonic()
        self._save(
            Progress(
                stream=self.stream,
                stdout=self._readers[STDOUT].whole,
                stderr=self._readers[STDERR].whole,
                events=self._events,
                metrics=self._metrics,
            )
        )


class _Reader:
    """One of a host's two outputs, with its unfinished line."""

    def __init__(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        self.splitter = LineSplitter()
        self.scanner = MetricScanner(definitions)
        self.read = 0  # bytes that were taken
        self.whole = 0  # bytes up to the end of a line
        self.whole_lines = True  # the events so far are exactly those bytes
        self._end = 0  # `whole`, once the pieces that end there are in the log
        self._after_return = False  # a newline that comes next belongs to the line before

    def resume(self, read: int) -> None:
        self.read = self.whole = self._end = read

    def feed(self, chunk: bytes) -> Iterable[tuple[str, bool]]:
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        if end >= 0:
            self._end = self.read + end + 1
        self.read += len(chunk)
        self._after_return = chunk.endswith(b"\r")
        return self.splitter.feed(chunk)

    def close(self) -> Iterable[tuple[str, bool]]:
        # What it gives is a line without an end: no place to go on from.
        self._after_return = True
        return self.splitter.close()

    def settle(self, *, ends_line: bool) -> None:
        """The pieces of the last chunk are in the log; `ends_line`: the last of them ended its line."""
        if self._end != self.whole:
            self.whole = self._end
            self.whole_lines = True
        self.whole_lines = self.whole_lines and ends_line
        if self._after_return:
            self.whole_lines = False
