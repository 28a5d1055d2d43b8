"""`gc`: what nobody needs any more, removed, with the service or where none runs."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local_mode.engines.folders import remove_tree
from local_mode.errors import ServiceError
from local_mode.home import Home
from local_mode.logs import LogStore
from local_mode.s3.multipart import Upload, Uploads
from local_mode.s3.store import ObjectStore, StoredObject
from local_mode.store import RUNNING, TrainingJob, TrainingJobStore
from local_mode.training_jobs.channels import S3_SCHEME, channels_of
from local_mode.training_jobs.log import LOG_GROUP
from local_mode.training_jobs.outputs import Destination

# What a job itself has put below S3OutputPath/JOB/.
_OWN_FOLDERS = ("output/", "debug-output/", "profiler-output/")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Which jobs, of those that have ended, are to go; none by default."""

    older_than: float | None = None  # seconds since the job's end; for abandoned uploads too
    keep_bytes: int | None = None  # of all ended jobs; the oldest go first
    dry_run: bool = False

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Limits":
        return cls(**{name: document[name] for name in cls.__dataclass_fields__ if name in document})

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Freed:
    """What went, or would have gone."""

    bytes: int
    job_folders: int  # working files of jobs that have ended
    jobs: list[str]  # with their logs, metrics, tags and artifacts
    uploads: int  # multipart uploads that were never completed

    def document(self) -> dict[str, Any]:
        return asdict(self)


class Collector:
    """Removes by Limits; a job that has not ended is never touched."""

    def __init__(self, home: Home, *, objects: ObjectStore, logs: LogStore, store: TrainingJobStore) -> None:
        self._home = home
        self._objects = objects
        self._logs = logs
        self._store = store

    def collect(self, limits: Limits) -> Freed:
        """May be ended at any moment and begun again: a job's row is the last of it that goes."""
        folders, freed = self._working_files(dry_run=limits.dry_run)
        jobs = []
        for job, size in self._to_go(limits):
            if not limits.dry_run:
                self._remove(job)
            jobs.append(job.name)
            freed += size
        uploads = list(self._abandoned(limits))
        store = Uploads(self._objects)
        for upload in uploads:
            freed += sum(part.size for part in store.parts(upload))
            if not limits.dry_run:
                with contextlib.suppress(ServiceError):  # completed meanwhile
                    store.abort(upload)
        return Freed(bytes=freed, job_folders=folders, jobs=jobs, uploads=len(uploads))

    def _working_files(self, *, dry_run: bool) -> tuple[int, int]:
        """Folders below `jobs` whose job has ended: how many, and their bytes."""
        # Asked behind the listing, since a job is in the store before it has a folder.
        folders = list(self._home.jobs.iterdir())
        kept = {job.name for job in self._store.all(statuses=RUNNING)}
        count = freed = 0
        for folder in folders:
            if folder.name in kept:
                continue
            with contextlib.suppress(FileNotFoundError):  # its job's own tidying may be under way
                freed += _size(folder)
                count += 1
                if not dry_run:
                    remove_tree(folder)
        return count, freed

    def _to_go(self, limits: Limits) -> list[tuple[TrainingJob, int]]:
        """Jobs that have ended, the oldest first, and what each would free in bytes."""
        if limits.older_than is None and limits.keep_bytes is None:
            return []
        jobs = self._store.all()
        read = [channel.uri for job in jobs if job.status in RUNNING for channel in channels_of(job.request)]
        ended = sorted(
            ((job, job.ended) for job in jobs if job.ended is not None and job.status not in RUNNING),
            key=lambda pair: pair[1],
        )
        sized = [(job, end, self._size_of(job)) for job, end in ended if not self._is_read(job, read)]
        total = sum(size for _job, _end, size in sized)
        youngest = datetime.now(tz=UTC) - timedelta(seconds=limits.older_than or 0)
        found = []
        for job, end, size in sized:
            old = limits.older_than is not None and end <= youngest
            if old or (limits.keep_bytes is not None and total > limits.keep_bytes):
                found.append((job, size))
                total -= size
        return found

    def _is_read(self, job: TrainingJob, read: list[str]) -> bool:
        """Whether a job that has not ended reads what this one left."""
        own = f"{_output_path(job)}/{job.name}/"
        return any(uri.startswith(own) or own.startswith(f"{uri.rstrip('/')}/") for uri in read)

    def _size_of(self, job: TrainingJob) -> int:
        return sum(each.size for each in self._artifacts(job)) + self._logs.size(LOG_GROUP, f"{job.name}/")

    def _remove(self, job: TrainingJob) -> None:
        for artifact in list(self._artifacts(job)):
            self._objects.delete(artifact.bucket, artifact.key)
        self._logs.delete(LOG_GROUP, f"{job.name}/")
        with contextlib.suppress(ServiceError):  # deleted meanwhile
            self._store.delete(job.name)

    def _artifacts(self, job: TrainingJob) -> Iterator[StoredObject]:
        """Its objects in the local S3; what it wrote to `file://` is the user's own."""
        path = _output_path(job)
        if not path.startswith(S3_SCHEME):
            return
        bucket, _, prefix = path.removeprefix(S3_SCHEME).partition("/")
        if not self._objects.has_bucket(bucket):
            return
        for folder in _OWN_FOLDERS:
            below = f"{prefix}/{job.name}/{folder}" if prefix else f"{job.name}/{folder}"
            yield from self._objects.list(bucket, below)

    def _abandoned(self, limits: Limits) -> Iterator[Upload]:
        if limits.older_than is None:
            return
        youngest = datetime.fromtimestamp(time.time() - limits.older_than, tz=UTC)
        for bucket in self._objects.buckets():
            for upload in Uploads(self._objects).of_bucket(bucket.name):
                if upload.created <= youngest:
                    yield upload


def _output_path(job: TrainingJob) -> str:
    return Destination.from_uri(job.request["OutputDataConfig"]["S3OutputPath"]).uri


def _size(path: Path) -> int:
    """Bytes of the files below a path; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
