"""The jobs, in SQLite: every change is committed before anyone sees it, and a restart loses none."""

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_mode import schema
from local_mode.database import Database
from local_mode.errors import ServiceError, ValidationException

MAX_TAGS = 50  # of one resource, as on AWS

IN_PROGRESS, STOPPING = "InProgress", "Stopping"
COMPLETED, FAILED, STOPPED = "Completed", "Failed", "Stopped"
RUNNING = (IN_PROGRESS, STOPPING)


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One of the SecondaryStatusTransitions."""

    status: str
    message: str
    started: datetime
    ended: datetime | None


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """One value that a line of the log held."""

    name: str
    value: float
    time: int  # ms since the epoch


@dataclass(frozen=True, kw_only=True)
class MetricMinute:
    """The values of one metric within one minute, as CloudWatch keeps them."""

    job: str
    name: str
    time: int  # ms since the epoch, the minute's beginning
    count: int
    total: float
    minimum: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """A training job as it was when it was asked for."""

    name: str
    arn: str
    request: Mapping[str, Any]
    status: str
    failure_reason: str | None
    created: datetime
    modified: datetime
    started: datetime | None  # when it got its host
    ended: datetime | None
    transitions: tuple[Transition, ...]  # oldest first, never empty

    @property
    def secondary_status(self) -> str:
        return self.transitions[-1].status


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


class TrainingJobStore:
    """All training jobs of one home; used by many threads."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, schema.prepare)

    def close(self) -> None:
        self._database.close()

    def create(self, *, name: str, arn: str, request: Mapping[str, Any], message: str) -> TrainingJob:
        """A new job, InProgress and Starting.

        Raises ServiceError ResourceInUse for a name that was used before.
        """
        time_ = now()
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM training_jobs WHERE name = ?", (name,)).fetchone():
                raise ServiceError(
                    "ResourceInUse", "Training job names must be unique within an AWS account and region"
                )
            connection.execute(
                "INSERT INTO training_jobs (name, arn, request, status, created, modified)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (name, arn, json.dumps(request), IN_PROGRESS, time_, time_),
            )
            _tag(connection, arn, {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())})
            _enter(connection, name, "Starting", message, time_)
        return self.get(name)

    def get(self, name: str) -> TrainingJob:
        """Raises ValidationException, as AWS does, for a name it does not know."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM training_jobs WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise ValidationException("Requested resource not found.")
            return _job(connection, row)

    def all(self, *, statuses: Sequence[str] = ()) -> list[TrainingJob]:
        """Every job, or those with one of the given TrainingJobStatus, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM training_jobs ORDER BY created, rowid").fetchall()
            return [_job(connection, row) for row in rows if not statuses or row["status"] in statuses]

    def enter(self, name: str, status: str, message: str) -> None:
        """The next secondary status begins (a running one ends); a new message alone replaces the old."""
        with self._database.transaction() as connection:
            _enter(connection, name, status, message, now())

    def start(self, name: str) -> None:
        """Sets TrainingStartTime."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE training_jobs SET started = ? WHERE name = ?", (now(), name))

    def request_stop(self, name: str, message: str) -> None:
        """InProgress becomes Stopping.

        Raises ValidationException for a job that has ended or that stops already.
        """
        with self._database.transaction() as connection:
            row = connection.execute("SELECT status FROM training_jobs WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise ValidationException("Requested resource not found.")
            if row["status"] != IN_PROGRESS:
                raise ValidationException(
                    f"The request was rejected because the training job is in status {row['status']}.",
                )
            connection.execute("UPDATE training_jobs SET status = ? WHERE name = ?", (STOPPING, name))
            _enter(connection, name, "Stopping", message, now())

    def end(
        self,
        name: str,
        *,
        status: str,
        secondary_status: str,
        message: str,
        failure_reason: str | None = None,
    ) -> None:
        """The job's last change."""
        time_ = now()
        with self._database.transaction() as connection:
            _enter(connection, name, secondary_status, message, time_)
            connection.execute(
                "UPDATE transitions SET ended = ? WHERE job = ? AND ended IS NULL", (time_, name)
            )
            connection.execute(
                "UPDATE training_jobs SET status = ?, failure_reason = ?, ended = ? WHERE name = ?",
                (status, failure_reason, time_, name),
            )

    def delete(self, name: str) -> None:
        """Forgets a job that has ended, its metrics and tags too; its name may be used again.

        Raises ValidationException for an unknown job, ServiceError ResourceInUse for one that has not ended.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT arn, status FROM training_jobs WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                raise ValidationException("Requested resource not found.")
            if row["status"] in RUNNING:
                raise ServiceError(
                    "ResourceInUse",
                    f"The request was rejected because the training job is in status {row['status']}: "
                    "only a job that is Completed, Failed or Stopped can be deleted",
                )
            connection.execute("DELETE FROM tags WHERE arn = ?", (row["arn"],))
            connection.execute("DELETE FROM metrics WHERE job = ?", (name,))
            connection.execute("DELETE FROM transitions WHERE job = ?", (name,))
            connection.execute("DELETE FROM training_jobs WHERE name = ?", (name,))

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of a resource, in the order in which they were given.

        Raises ValidationException for a resource that there is not.
        """
        with self._database.reading() as connection:
            _check_arn(connection, arn)
            return _tags(connection, arn)

    def add_tags(self, arn: str, tags: Mapping[str, str]) -> dict[str, str]:
        """Adds tags, or gives those that are there new values; returns all.

        Raises ValidationException for a resource that there is not, and for more than MAX_TAGS.
        """
        with self._database.transaction() as connection:
            _check_arn(connection, arn)
            _tag(connection, arn, tags)
            return _tags(connection, arn)

    def delete_tags(self, arn: str, keys: Sequence[str]) -> None:
        """A key that is not there is no error. Raises ValidationException as `tags` does."""
        with self._database.transaction() as connection:
            _check_arn(connection, arn)
            connection.executemany("DELETE FROM tags WHERE arn = ? AND key = ?", [(arn, key) for key in keys])

    def add_metrics(self, name: str, values: Sequence[MetricValue]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO metrics (job, name, value, time) VALUES (?, ?, ?, ?)",
                [(name, value.name, value.value, value.time) for value in values],
            )

    def keep_metrics(self, name: str, count: int) -> None:
        """Forgets a job's values behind its first `count`."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM metrics WHERE job = ? AND position NOT IN"
                " (SELECT position FROM metrics WHERE job = ? ORDER BY position LIMIT ?)",
                (name, name, count),
            )

    def metrics(self, name: str) -> list[MetricValue]:
        """Every value of a job, in the order of its log."""
        rows = self._database.rows(
            "SELECT name, value, time FROM metrics WHERE job = ? ORDER BY position", name
        )
        return [MetricValue(name=row["name"], value=row["value"], time=row["time"]) for row in rows]

    def final_metrics(self, name: str) -> list[MetricValue]:
        """The last value of each metric, in the order of their first ones."""
        rows = self._database.rows(
            "SELECT name, value, time FROM metrics JOIN"
            " (SELECT MIN(position) AS first, MAX(position) AS last"
            " FROM metrics WHERE job = ? GROUP BY name) ON position = last ORDER BY first",
            name,
        )
        return [MetricValue(name=row["name"], value=row["value"], time=row["time"]) for row in rows]

    def metric_minutes(self) -> list[MetricMinute]:
        """Every metric of every job, by the minute."""
        rows = self._database.rows(
            "SELECT job, name, time / 60000 * 60000 AS minute, COUNT(*) AS count, SUM(value) AS total,"
            " MIN(value) AS minimum, MAX(value) AS maximum"
            " FROM metrics GROUP BY job, name, minute ORDER BY minute, MIN(position)"
        )
        return [
            MetricMinute(
                job=row["job"],
                name=row["name"],
                time=row["minute"],
                count=row["count"],
                total=row["total"],
                minimum=row["minimum"],
                maximum=row["maximum"],
            )
            for row in rows
        ]


def _job(connection: sqlite3.Connection, row: sqlite3.Row) -> TrainingJob:
    transitions = connection.execute(
        "SELECT * FROM transitions WHERE job = ? ORDER BY position", (row["name"],)
    ).fetchall()
    return TrainingJob(
        name=row["name"],
        arn=row["arn"],
        request=json.loads(row["request"]),
        status=row["status"],
        failure_reason=row["failure_reason"],
        created=moment(row["created"]),
        modified=moment(row["modified"]),
        started=None if row["started"] is None else moment(row["started"]),
        ended=None if row["ended"] is None else moment(row["ended"]),
        transitions=tuple(
            Transition(
                status=each["status"],
                message=each["message"],
                started=moment(each["started"]),
                ended=None if each["ended"] is None else moment(each["ended"]),
            )
            for each in transitions
        ),
    )


def _check_arn(connection: sqlite3.Connection, arn: str) -> None:
    if connection.execute("SELECT 1 FROM training_jobs WHERE arn = ?", (arn,)).fetchone() is None:
        raise ValidationException(f"Requested resource not found: {arn}")


def _tags(connection: sqlite3.Connection, arn: str) -> dict[str, str]:
    rows = connection.execute("SELECT key, value FROM tags WHERE arn = ? ORDER BY position", (arn,))
    return {row["key"]: row["value"] for row in rows}


def _tag(connection: sqlite3.Connection, arn: str, tags: Mapping[str, str]) -> None:
    connection.executemany(
        "INSERT INTO tags (arn, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (arn, key) DO UPDATE SET value = excluded.value",
        [(arn, key, value) for key, value in tags.items()],
    )
    count = len(_tags(connection, arn))
    if count > MAX_TAGS:
        raise ValidationException(
            f"Tags: {arn} would have {count} tags; a resource has at most {MAX_TAGS}: delete some first"
        )


def _enter(connection: sqlite3.Connection, job: str, status: str, message: str, time_: int) -> None:
    last = connection.execute(
        "SELECT position, status FROM transitions WHERE job = ? ORDER BY position DESC LIMIT 1", (job,)
    ).fetchone()
    if last is not None and last["status"] == status:
        connection.execute(
            "UPDATE transitions SET message = ? WHERE job = ? AND position = ?",
            (message, job, last["position"]),
        )
    else:
        connection.execute("UPDATE transitions SET ended = ? WHERE job = ? AND ended IS NULL", (time_, job))
        connection.execute(
            "INSERT INTO transitions (job, position, status, message, started) VALUES (?, ?, ?, ?, ?)",
            (job, 0 if last is None else last["position"] + 1, status, message, time_),
        )
    connection.execute("UPDATE training_jobs SET modified = ? WHERE name = ?", (time_, job))
