"""One host's log: its output to a log stream and to the metrics, and our own remarks in between."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from local_mode.engines.base import STDERR, STDOUT
from local_mode.logs import LogEvent, LogStore
from local_mode.store import TrainingJobStore, now
from local_mode.training_jobs.lines import LineSplitter
from local_mode.training_jobs.metrics import MetricScanner

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
NOTE_PREFIX = "[drydock] "


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
    ) -> None:
        self.stream = f"{job_name}/{host}-{now() // 1000}"
        self.last_line = ""
        self._job_name = job_name
        self._logs = logs
        self._store = store
        # Two streams, each with its own unfinished line.
        self._readers = {stream: (LineSplitter(), MetricScanner(definitions)) for stream in (STDOUT, STDERR)}
        self._lock = threading.Lock()

    def relay(self, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Takes the host's output to its end."""
        for stream, chunk in chunks:
            splitter, scanner = self._readers[stream]
            self._take(splitter.feed(chunk), scanner)
        for splitter, scanner in self._readers.values():
            self._take(splitter.close(), scanner)

    def note(self, text: str) -> None:
        """A remark of the local SageMaker's own."""
        with self._lock:
            self._append([LogEvent(timestamp=now(), message=f"{NOTE_PREFIX}{text}")])

    def _take(self, pieces: Iterable[tuple[str, bool]], scanner: MetricScanner) -> None:
        time, events, values = now(), [], []
        for text, ends_line in pieces:
            # CloudWatch takes no empty message; the blank line is kept all the same.
            events.append(LogEvent(timestamp=time, message=text or " "))
            values += scanner.feed(text, ends_line=ends_line, time=time)
            if text.strip():
                self.last_line = text.strip()
        notes, scanner.notes = scanner.notes, []
        events += [LogEvent(timestamp=time, message=NOTE_PREFIX + note) for note in notes]
        with self._lock:
            if values:
                self._store.add_metrics(self._job_name, values)
            if events:
                self._append(events)

    def _append(self, events: Sequence[LogEvent]) -> None:
        self._logs.append(LOG_GROUP, self.stream, events)
