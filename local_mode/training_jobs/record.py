"""What must be known of a running job by the service that takes it over: one small file a job."""

import json
import logging
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local_mode.training_jobs.endings import Ending

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a host's output is in the log: `events` of the stream came from so many bytes.

    What is in the log or among the metrics behind it was not yet known to be there: it is cut off and
    read again.
    """

    stream: str  # the name of the log stream
    stdout: int = 0  # bytes, to the end of a whole line
    stderr: int = 0
    events: int = 0  # in the stream, remarks of our own among them
    metrics: int = 0  # of the job


class RunRecord:
    """The file `path`; written whole or not at all, by several threads."""

    def __init__(self, path: Path, *, engine: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        found = _read(path)
        self.engine: str = found.get("engine", engine)  # of the service that ran the job last
        # Known from when a program was started.
        self.progress: Progress | None = found.get("progress")
        self.ending: Ending | None = found.get("ending")

    def begin(self, *, engine: str) -> None:
        """A host will be made. Raises OSError, as the others do."""
        self._write(engine=engine, progress=None)

    def save_progress(self, progress: Progress) -> None:
        self._write(progress=progress)

    def save_ending(self, ending: Ending) -> None:
        """From here on a later service has nothing to do but to say so."""
        self._write(ending=ending)

    def remove(self) -> None:
        with self._lock:
            self._path.unlink(missing_ok=True)

    def _write(self, **changes: Any) -> None:
        with self._lock:
            for name, value in changes.items():
                setattr(self, name, value)
            document: dict[str, Any] = {"engine": self.engine}
            if self.progress is not None:
                document["progress"] = asdict(self.progress)
            if self.ending is not None:
                document["ending"] = asdict(self.ending)
            temporary = self._path.with_suffix(".new")
            temporary.write_text(json.dumps(document), encoding="utf-8")
            os.replace(temporary, self._path)  # noqa: PTH105  several times a second


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = dict(json.loads(path.read_bytes()))
        for name, kind in (("progress", Progress), ("ending", Ending)):
            if name in document:
                document[name] = kind(**document[name])
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:  # after a power cut, or of another version
        logger.warning("%s cannot be read: %s", path, error)
        return {}
    return document
