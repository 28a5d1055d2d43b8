"""LogStore: CloudWatch log groups and streams as files, one a stream, in the order of arrival.

A file's first line names its group and stream; each further line is `[timestamp, ingestion time,
message]` in JSON, times in milliseconds since the epoch. A line cut off by a kill is dropped at the
next append. The operations of the Logs API are in `logs_api.py`.
"""

import array
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from local_mode.errors import ServiceError

_MAX_FILE_NAME = 200  # bytes; file systems take 255


@dataclass(frozen=True, kw_only=True)
class LogEvent:
    timestamp: int  # ms since the epoch
    message: str


@dataclass(frozen=True, kw_only=True)
class StoredEvent(LogEvent):
    ingestion: int  # ms since the epoch
    index: int  # place in its stream, from 0


class LogStream:
    """One stream's file, with the place of every event in it."""

    def __init__(self, path: Path, *, group: str, name: str, created: int) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._offsets: array.array[int] | None = None  # bytes; where each event's line begins
        self._end = 0  # bytes; behind the last whole line; known with the offsets
        self.group = group
        self.name = name
        self.created = created  # ms since the epoch

    @classmethod
    def create(cls, path: Path, *, group: str, name: str) -> "LogStream":
        stream = cls(path, group=group, name=name, created=_now())
        header = {"group": group, "stream": name, "created": stream.created}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(header) + "\n", encoding="utf-8")
        temporary.replace(path)
        return stream

    @classmethod
    def load(cls, path: Path) -> "LogStream":
        with path.open("rb") as file:
            header = json.loads(file.readline())
        return cls(path, group=header["group"], name=header["stream"], created=header["created"])

    def __len__(self) -> int:
        return len(self._places())

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._path.stat().st_size

    def remove(self) -> None:
        """Deletes the file."""
        self._path.unlink()

    def append(self, events: Sequence[LogEvent]) -> None:
        now = _now()
        lines = [json.dumps([event.timestamp, now, event.message]).encode() + b"\n" for event in events]
        offsets = self._places()
        with self._lock, self._path.open("r+b") as file:
            file.truncate(self._end)  # what a kill left of a line
            file.seek(self._end)
            file.write(b"".join(lines))
            file.flush()
            for line in lines:
                offsets.append(self._end)
                self._end += len(line)

    def truncate(self, count: int) -> None:
        """Keeps the first `count` events."""
        offsets = self._places()
        with self._lock:
            if count < len(offsets):
                self._end = offsets[count]
                del offsets[count:]
                os.truncate(self._path, self._end)

    def events(self, start: int, stop: int) -> Iterator[StoredEvent]:
        """The events `start` <= index < `stop`, as far as there are any."""
        offsets = self._places()
        stop = min(stop, len(offsets))
        if start >= stop:
            return
        with self._path.open("rb") as file:
            file.seek(offsets[start])
            for index in range(start, stop):
                timestamp, ingestion, message = json.loads(file.readline())
                yield StoredEvent(timestamp=timestamp, message=message, ingestion=ingestion, index=index)

    def event(self, index: int) -> StoredEvent:
        return next(self.events(index, index + 1))

    def _places(self) -> "array.array[int]":
        """Where the events are: read from the file once, when the stream is first used."""
        with self._lock:
            if self._offsets is None:
                offsets = array.array("Q")
                with self._path.open("rb") as file:
                    end = len(file.readline())
                    for line in file:
                        if not line.endswith(b"\n"):
                            break
                        offsets.append(end)
                        end += len(line)
                self._offsets, self._end = offsets, end
            return self._offsets


class LogStore:
    """The streams below `root` (`Home.logs`); safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._streams: dict[tuple[str, str], LogStream] = {}
        root.mkdir(parents=True, exist_ok=True)
        for path in root.glob("*/*.jsonl"):
            stream = LogStream.load(path)
            self._streams[stream.group, stream.name] = stream

    def append(self, group: str, stream: str, events: Sequence[LogEvent]) -> None:
        """Adds events in the order given; makes the group and the stream where they are new."""
        with self._lock:
            found = self._streams.get((group, stream))
            if found is None:
                path = self._root / _file_name(group) / f"{_file_name(stream)}.jsonl"
                found = self._streams[group, stream] = LogStream.create(path, group=group, name=stream)
        found.append(events)

    def count(self, group: str, stream: str) -> int:
        """How many events a stream has; none where there is no such stream."""
        with self._lock:
            found = self._streams.get((group, stream))
        return 0 if found is None else len(found)

    def truncate(self, group: str, stream: str, count: int) -> None:
        """Keeps the first `count` events of a stream."""
        with self._lock:
            found = self._streams.get((group, stream))
        if found is not None:
            found.truncate(count)

    def size(self, group: str, prefix: str) -> int:
        """The bytes on the disk of the streams whose name begins with `prefix`."""
        with self._lock:
            found = [
                self._streams[key] for key in self._streams if key[0] == group and key[1].startswith(prefix)
            ]
        return sum(stream.size for stream in found)

    def delete(self, group: str, prefix: str) -> None:
        """Removes the streams whose name begins with `prefix`."""
        with self._lock:
            keys = [key for key in self._streams if key[0] == group and key[1].startswith(prefix)]
            for key in keys:
                self._streams.pop(key).remove()

    def groups(self) -> list[str]:
        with self._lock:
            return sorted({group for group, _ in self._streams})

    def streams(self, group: str) -> list[LogStream]:
        """A group's streams by name. Raises ServiceError ResourceNotFoundException."""
        with self._lock:
            found = [stream for (of, _), stream in self._streams.items() if of == group]
        if not found:
            raise ServiceError("ResourceNotFoundException", "The specified log group does not exist.")
        return sorted(found, key=lambda stream: stream.name)

    def stream(self, group: str, name: str) -> LogStream:
        """Raises ServiceError ResourceNotFoundException."""
        for stream in self.streams(group):
            if stream.name == name:
                return stream
        raise ServiceError("ResourceNotFoundException", "The specified log stream does not exist.")


def _now() -> int:
    return time.time_ns() // 1_000_000


def _file_name(name: str) -> str:
    """A name of the API as a file name, readable as far as it goes."""
    quoted = quote(name, safe="").replace(".", "%2E")
    if len(quoted) <= _MAX_FILE_NAME:
        return quoted
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f"{quoted[:_MAX_FILE_NAME]}~{digest}"
