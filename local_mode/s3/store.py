"""ObjectStore: buckets and objects on the disk, durable and shared by threads.

An object is one immutable blob file and one row of the index. `put` writes the blob, syncs it, moves
it into place and then commits the row: a process killed at any moment leaves the old object or the
new one. What an overwritten or deleted object held is unlinked after the commit, so an open file
keeps its bytes; a path that `get` returned may vanish, so open it right away.
"""

import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from local_mode.database import Database
from local_mode.errors import ServiceError
from local_mode.s3 import schema
from local_mode.s3.blobs import Blob, Blobs

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
MAX_KEY_BYTES = 1024
# Rows that `list` reads at a time, first and at most: a listing with a delimiter wants few.
_FIRST_PAGE, _LAST_PAGE = 32, 1024
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET_NAME = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9]|[.-](?![.])){1,61}[a-z0-9]")


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One object as it was when it was asked for."""

    bucket: str
    key: str
    size: int  # bytes
    etag: str  # without the quotation marks that S3 puts around it
    last_modified: datetime  # UTC, to the millisecond
    content_type: str
    metadata: Mapping[str, str]  # the user's, without `x-amz-meta-`
    path: Path  # immutable; open it right away: an overwrite or a deletion unlinks it
    headers: Mapping[str, str] = field(default_factory=dict)  # cache-control, content-encoding, ...
    checksums: Mapping[str, str] = field(default_factory=dict)  # {"CRC32": "...", "Type": "FULL_OBJECT"}
    blob: str = ""  # the blob's name, for CopyObject


@dataclass(frozen=True, kw_only=True)
class Bucket:
    name: str
    created: datetime  # UTC
    location: str  # the region its maker named; "" for us-east-1, as in S3


@dataclass(frozen=True, kw_only=True)
class Condition:
    """When a write may happen: S3's conditional writes."""

    if_none_match: bool = False  # only where there is no such object
    if_match: str | None = None  # only over an object with this etag (no quotation marks, or `*`)

    def check(self, etag: str | None) -> None:
        """Raises ServiceError PreconditionFailed; `etag` is the current object's, None without one."""
        if self.if_match is not None and etag is None:
            raise ServiceError("NoSuchKey", "The specified key does not exist.", status=404)
        if (self.if_none_match and etag is not None) or (self.if_match not in (None, "*", etag)):
            raise ServiceError(
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
                status=412,
            )


ALWAYS = Condition()


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What a client says about an object beside its bytes."""

    content_type: str = DEFAULT_CONTENT_TYPE
    metadata: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def milliseconds() -> int:
    return time.time_ns() // 1_000_000


def moment(value: int) -> datetime:
    return datetime.fromtimestamp(value / 1000, tz=UTC)


class ObjectStore:
    """The objects below `root` (`Home.s3`). Only one process may have it open: the home's lock sees to it."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.blobs = Blobs(root)
        self.index = Database(root / "index.sqlite", schema.prepare)
        # Bytes that a killed process had left behind.
        self.swept = self.blobs.sweep(known=self._known_blobs())

    def close(self) -> None:
        self.index.close()

    # Buckets

    def create_bucket(self, name: str, *, location: str = "") -> None:
        """Makes a bucket; one that is there already stays as it is, as in us-east-1.

        Raises ServiceError InvalidBucketName.
        """
        if not _BUCKET_NAME.fullmatch(name):
            raise ServiceError("InvalidBucketName", f"The specified bucket is not valid: {name!r}")
        with self.index.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO buckets VALUES (?, ?, ?)", (name, milliseconds(), location)
            )

    def has_bucket(self, name: str) -> bool:
        return self.index.row("SELECT 1 FROM buckets WHERE name = ?", name) is not None

    def require_bucket(self, name: str) -> None:
        """Raises ServiceError NoSuchBucket."""
        if not self.has_bucket(name):
            raise no_such_bucket(name)

    def buckets(self) -> list[Bucket]:
        rows = self.index.rows("SELECT * FROM buckets ORDER BY name")
        return [
            Bucket(name=row["name"], created=moment(row["created"]), location=row["location"]) for row in rows
        ]

    def delete_bucket(self, name: str) -> None:
        """Raises ServiceError NoSuchBucket, BucketNotEmpty."""
        with self.index.transaction() as connection:
            _check_bucket(connection, name)
            for table in ("objects", "uploads"):
                query = f"SELECT 1 FROM {table} WHERE bucket = ?"  # noqa: S608  one of two literals
                if connection.execute(query, (name,)).fetchone():
                    raise ServiceError(
                        "BucketNotEmpty", "The bucket you tried to delete is not empty", status=409
                    )
            connection.execute("DELETE FROM buckets WHERE name = ?", (name,))

    # Objects

    def put(
        self,
        bucket: str,
        key: str,
        stream: BinaryIO,
        *,
        content_type: str = DEFAULT_CONTENT_TYPE,
        metadata: Mapping[str, str] | None = None,
    ) -> StoredObject:
        """Stores the bytes of a stream, read to its end in pieces.

        Raises ServiceError NoSuchBucket, KeyTooLongError, and whatever reading the stream raises;
        then the object is as it was before.
        """
        self.require_bucket(bucket)
        attributes = Attributes(content_type=content_type, metadata=metadata or {})
        return self.commit(bucket, key, self.blobs.write([stream]), attributes=attributes)

    def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        content_type: str = DEFAULT_CONTENT_TYPE,
        metadata: Mapping[str, str] | None = None,
        move: bool = False,
    ) -> StoredObject:
        """Stores a file: copied, or with `move` taken away (without a copy on the same file system).

        Raises ServiceError NoSuchBucket, KeyTooLongError; OSError where the file cannot be read.
        """
        self.require_bucket(bucket)
        _check_key(key)  # before the file is moved
        attributes = Attributes(content_type=content_type, metadata=metadata or {})
        if move and path.stat().st_dev == self.blobs.root.stat().st_dev:
            return self.commit(bucket, key, self.blobs.adopt(path), attributes=attributes)
        with path.open("rb") as file:
            stored = self.commit(bucket, key, self.blobs.write([file]), attributes=attributes)
        if move:
            path.unlink()
        return stored

    def commit(
        self,
        bucket: str,
        key: str,
        blob: Blob,
        *,
        attributes: Attributes,
        etag: str | None = None,
        checksums: Mapping[str, str] | None = None,
        condition: Condition = ALWAYS,
        finish: Callable[[sqlite3.Connection], list[str]] | None = None,
    ) -> StoredObject:
        """Makes a written blob the object; the last step of every put.

        `finish` runs in the same transaction and returns the names of blobs that nothing refers to
        any more (the parts of a multipart upload). On an error the blob is removed.
        """
        try:
            _check_key(key)
            row = {
                "bucket": bucket,
                "key": key,
                "size": blob.size,
                "etag": etag or blob.md5,
                "modified": milliseconds(),
                "content_type": attributes.content_type,
                "metadata": json.dumps(dict(attributes.metadata)),
                "headers": json.dumps(dict(attributes.headers)),
                "checksums": json.dumps(dict(checksums or {})),
                "blob": blob.name,
            }
            with self.index.transaction() as connection:
                _check_bucket(connection, bucket)
                old = connection.execute(
                    "SELECT etag, blob FROM objects WHERE bucket = ? AND key = ?", (bucket, key)
                ).fetchone()
                condition.check(old["etag"] if old else None)
                connection.execute(
                    "INSERT OR REPLACE INTO objects VALUES (:bucket, :key, :size, :etag, :modified,"
                    " :content_type, :metadata, :headers, :checksums, :blob)",
                    row,
                )
                unused = finish(connection) if finish else []
        except BaseException:
            self.blobs.remove(blob.name)
            raise
        for name in [*unused, *([old["blob"]] if old else [])]:
            self.blobs.remove(name)
        return self._object(row)

    def get(self, bucket: str, key: str) -> StoredObject:
        """Raises ServiceError NoSuchBucket, NoSuchKey."""
        row = self.index.row("SELECT * FROM objects WHERE bucket = ? AND key = ?", bucket, key)
        if row is None:
            self.require_bucket(bucket)
            raise ServiceError("NoSuchKey", f"The specified key does not exist: {key}", status=404)
        return self._object(row)

    def open(self, bucket: str, key: str) -> tuple[StoredObject, BinaryIO]:
        """The object and its bytes, of one and the same version, whoever overwrites it meanwhile."""
        while True:
            stored = self.get(bucket, key)
            try:
                return stored, stored.path.open("rb")
            except FileNotFoundError:
                # Overwritten between the two lines: take the new version. The same version without
                # its file is a damaged home, not a race.
                if self.get(bucket, key).blob == stored.blob:
                    raise

    def list(self, bucket: str, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        """Objects whose key starts with `prefix`, in the order of the keys' UTF-8 bytes, above `after`.

        Reads in pages: a long listing sees changes made meanwhile. Raises ServiceError NoSuchBucket.
        """
        self.require_bucket(bucket)
        return self._pages(bucket, prefix, after)

    def delete(self, bucket: str, key: str) -> None:
        """Removes an object; one that is not there is no error, as in S3.

        Raises ServiceError NoSuchBucket.
        """
        with self.index.transaction() as connection:
            _check_bucket(connection, bucket)
            where = (bucket, key)
            old = connection.execute(
                "SELECT blob FROM objects WHERE bucket = ? AND key = ?", where
            ).fetchone()
            connection.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", where)
        if old:
            self.blobs.remove(old["blob"])

    def copy(
        self,
        source: StoredObject,
        bucket: str,
        key: str,
        *,
        attributes: Attributes,
        condition: Condition = ALWAYS,
    ) -> StoredObject:
        """A second object with the same bytes on the disk (a hard link).

        Raises ServiceError NoSuchBucket, NoSuchKey when the source went meanwhile.
        """
        try:
            name = self.blobs.link(source.blob)
        except FileNotFoundError:
            raise ServiceError(
                "NoSuchKey", f"The specified key does not exist: {source.key}", status=404
            ) from None
        blob = Blob(name=name, path=self.blobs.path(name), size=source.size, md5=source.etag)
        return self.commit(
            bucket, key, blob, attributes=attributes, checksums=source.checksums, condition=condition
        )

    def _pages(self, bucket: str, prefix: str, after: str) -> Iterator[StoredObject]:
        size = _FIRST_PAGE
        while True:
            rows = self.index.rows(
                "SELECT * FROM objects WHERE bucket = ? AND key >= ? AND key > ? ORDER BY key LIMIT ?",
                bucket,
                prefix,
                after,
                size,
            )
            for row in rows:
                if not row["key"].startswith(prefix):
                    return  # keys with one prefix stand together in this order
                yield self._object(row)
            if len(rows) < size:
                return
            after = rows[-1]["key"]
            size = min(2 * size, _LAST_PAGE)

    def _object(self, row: sqlite3.Row | Mapping[str, Any]) -> StoredObject:
        return StoredObject(
            bucket=row["bucket"],
            key=row["key"],
            size=row["size"],
            etag=row["etag"],
            last_modified=moment(row["modified"]),
            content_type=row["content_type"],
            metadata=json.loads(row["metadata"]),
            headers=json.loads(row["headers"]),
            checksums=json.loads(row["checksums"]),
            path=self.blobs.path(row["blob"]),
            blob=row["blob"],
        )

    def _known_blobs(self) -> set[str]:
        rows = self.index.rows("SELECT blob FROM objects UNION ALL SELECT blob FROM parts")
        return {row["blob"] for row in rows}


def no_such_bucket(name: str) -> ServiceError:
    return ServiceError("NoSuchBucket", f"The specified bucket does not exist: {name}", status=404)


def _check_bucket(connection: sqlite3.Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM buckets WHERE name = ?", (name,)).fetchone() is None:
        raise no_such_bucket(name)


def _check_key(key: str) -> None:
    if len(key.encode()) > MAX_KEY_BYTES:
        raise ServiceError("KeyTooLongError", f"Your key is too long: over {MAX_KEY_BYTES} bytes")
