"""Multipart uploads: parts wait as blobs of their own and become one object, in pieces, at the end."""

import hashlib
import itertools
import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, cast

from local_mode.errors import ServiceError
from local_mode.s3 import checksums
from local_mode.s3.blobs import Blob
from local_mode.s3.checksums import Checksum
from local_mode.s3.store import (
    ALWAYS,
    Attributes,
    Condition,
    ObjectStore,
    StoredObject,
    milliseconds,
    moment,
    no_such_bucket,
)

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MIN_PART = 5 << 20  # bytes; the last part may be smaller
MAX_PART_NUMBER = 10_000


@dataclass(frozen=True, kw_only=True)
class Upload:
    id: str
    bucket: str
    key: str
    created: datetime  # UTC
    attributes: Attributes
    checksum_algorithm: str | None
    checksum_type: str | None


@dataclass(frozen=True, kw_only=True)
class Part:
    number: int  # from 1
    size: int  # bytes
    etag: str  # MD5, hexadecimal
    modified: datetime  # UTC
    checksums: Mapping[str, str]  # base64 by algorithm
    blob: str


@dataclass(frozen=True, kw_only=True)
class NamedPart:
    """A part as CompleteMultipartUpload names it."""

    number: int
    etag: str
    checksums: Mapping[str, str]


class Uploads:
    """The multipart uploads of an object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def create(
        self,
        bucket: str,
        key: str,
        attributes: Attributes,
        *,
        checksum_algorithm: str | None,
        checksum_type: str | None,
    ) -> Upload:
        """Raises ServiceError NoSuchBucket, NotImplemented, InvalidRequest."""
        if checksum_algorithm is not None:
            checksums.new(checksum_algorithm)
            checksum_type = checksum_type or checksums.default_type(checksum_algorithm)
            impossible = (
                not checksum_algorithm.startswith("CRC")
                if checksum_type == "FULL_OBJECT"
                else checksum_algorithm == "CRC64NVME"
            )
            if impossible:
                raise ServiceError(
                    "InvalidRequest",
                    f"The {checksum_type} checksum type cannot be used with {checksum_algorithm}.",
                )
        elif checksum_type is not None:
            raise ServiceError("InvalidRequest", "A checksum type needs a checksum algorithm.")
        upload = Upload(
            id=uuid.uuid4().hex,
            bucket=bucket,
            key=key,
            created=moment(milliseconds()),
            attributes=attributes,
            checksum_algorithm=checksum_algorithm,
            checksum_type=checksum_type,
        )
        try:
            with self._store.index.transaction() as connection:
                connection.execute(
                    "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(upload.id, bucket, key, milliseconds(), attributes.content_type),
                        *(json.dumps(dict(attributes.metadata)), json.dumps(dict(attributes.headers))),
                        *(checksum_algorithm, checksum_type),
                    ),
                )
        except sqlite3.IntegrityError:
            raise no_such_bucket(bucket) from None
        return upload

    def find(self, bucket: str, key: str, upload_id: str) -> Upload:
        """Raises ServiceError NoSuchBucket, NoSuchUpload."""
        row = self._store.index.row(
            "SELECT * FROM uploads WHERE id = ? AND bucket = ? AND key = ?", upload_id, bucket, key
        )
        if row is None:
            self._store.require_bucket(bucket)
            raise _no_such_upload()
        return _upload(row)

    def of_bucket(self, bucket: str) -> list[Upload]:
        """A bucket's uploads in S3's order: by key, then by time. Raises ServiceError NoSuchBucket."""
        self._store.require_bucket(bucket)
        query = "SELECT * FROM uploads WHERE bucket = ? ORDER BY key, created, id"
        return [_upload(row) for row in self._store.index.rows(query, bucket)]

    def parts(self, upload: Upload) -> list[Part]:
        query = "SELECT * FROM parts WHERE upload = ? ORDER BY number"
        return [
            Part(
                number=row["number"],
                size=row["size"],
                etag=row["etag"],
                modified=moment(row["modified"]),
                checksums=json.loads(row["checksums"]),
                blob=row["blob"],
            )
            for row in self._store.index.rows(query, upload.id)
        ]

    def put_part(self, upload: Upload, number: int, blob: Blob, sums: Mapping[str, str]) -> Part:
        """Keeps a written blob as a part, in place of an earlier one of that number.

        Raises ServiceError InvalidArgument, NoSuchUpload.
        """
        modified = milliseconds()
        row = (upload.id, number, blob.size, blob.md5, modified, json.dumps(dict(sums)), blob.name)
        try:
            if not 1 <= number <= MAX_PART_NUMBER:
                raise ServiceError(  # noqa: TRY301  the blob goes whatever is wrong
                    "InvalidArgument",
                    f"Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive",
                )
            with self._store.index.transaction() as connection:
                old = connection.execute(
                    "SELECT blob FROM parts WHERE upload = ? AND number = ?", (upload.id, number)
                ).fetchone()
                connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            self._store.blobs.remove(blob.name)
            raise _no_such_upload() from None
        except BaseException:
            self._store.blobs.remove(blob.name)
            raise
        if old:
            self._store.blobs.remove(old["blob"])
        return Part(
            number=number,
            size=blob.size,
            etag=blob.md5,
            modified=moment(modified),
            checksums=sums,
            blob=blob.name,
        )

    def abort(self, upload: Upload) -> None:
        with self._store.index.transaction() as connection:
            unused = _forget(connection, upload)
        for name in unused:
            self._store.blobs.remove(name)

    def complete(
        self,
        upload: Upload,
        named: Sequence[NamedPart],
        *,
        wanted: Mapping[str, str],
        size: int | None,
        condition: Condition = ALWAYS,
    ) -> StoredObject:
        """Makes one object of the named parts; `wanted` and `size` are what the client says they come to.

        Raises ServiceError InvalidPart, InvalidPartOrder, EntityTooSmall, BadDigest, InvalidRequest,
        NoSuchUpload, PreconditionFailed; then the upload stays as it is.
        """
        parts = self._chosen(upload, named)
        algorithm = upload.checksum_algorithm
        whole = checksums.new(algorithm) if algorithm and upload.checksum_type == "FULL_OBJECT" else None
        try:
            blob = (
                self._store.blobs.write(self._streams(parts, whole))
                if whole
                else self._store.blobs.join(self._store.blobs.path(part.blob) for part in parts)
            )
        except FileNotFoundError:
            raise _invalid_part() from None  # replaced or aborted meanwhile
        digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False)
        sums: dict[str, str] = {}
        if algorithm and upload.checksum_type:
            value = (
                checksums.encoded(whole)
                if whole
                else checksums.composite(algorithm, [part.checksums[algorithm] for part in parts])
            )
            sums = {algorithm: value, "Type": upload.checksum_type}
        try:
            _compare(sums, wanted)
            if size not in (None, blob.size):
                raise ServiceError(  # noqa: TRY301  the blob goes whatever is wrong
                    "InvalidRequest", f"The parts have {blob.size} bytes, x-amz-mp-object-size says {size}"
                )
        except ServiceError:
            self._store.blobs.remove(blob.name)
            raise
        return self._store.commit(
            upload.bucket,
            upload.key,
            blob,
            attributes=upload.attributes,
            etag=f"{digest.hexdigest()}-{len(parts)}",
            checksums=sums,
            condition=condition,
            finish=lambda connection: _forget(connection, upload),
        )

    def _chosen(self, upload: Upload, named: Sequence[NamedPart]) -> list[Part]:
        if not named:
            raise ServiceError("MalformedXML", "You must specify at least one part")
        if any(earlier.number >= later.number for earlier, later in itertools.pairwise(named)):
            raise ServiceError("InvalidPartOrder", "The list of parts was not in ascending order.")
        there = {part.number: part for part in self.parts(upload)}
        chosen = []
        for name in named:
            part = there.get(name.number)
            if part is None or part.etag != name.etag or not _agree(part.checksums, name.checksums):
                raise _invalid_part()
            if upload.checksum_algorithm and upload.checksum_algorithm not in part.checksums:
                raise _invalid_part()
            chosen.append(part)
        for part in chosen[:-1]:
            if part.size < MIN_PART:
                raise ServiceError(
                    "EntityTooSmall",
                    f"Part {part.number} has {part.size} bytes; all but the last need {MIN_PART}",
                )
        return chosen

    def _streams(self, parts: Sequence[Part], checksum: Checksum) -> Iterator[BinaryIO]:
        for part in parts:
            with self._store.blobs.path(part.blob).open("rb", buffering=0) as file:
                yield cast("BinaryIO", _Summed(file, checksum))


class _Summed:
    def __init__(self, file: BinaryIO, checksum: Checksum) -> None:
        self._file = file
        self._checksum = checksum

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._checksum.update(data)
        return data


def _compare(sums: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raises ServiceError BadDigest. A client may leave out the `-N` of a composite checksum."""
    for algorithm, value in wanted.items():
        have = sums.get(algorithm)
        if have is None or value not in {have, have.partition("-")[0]}:
            raise ServiceError(
                "BadDigest", f"The {algorithm} you specified did not match the calculated checksum."
            )


def _agree(have: Mapping[str, str], named: Mapping[str, str]) -> bool:
    return all(have.get(algorithm) == value for algorithm, value in named.items())


def _forget(connection: sqlite3.Connection, upload: Upload) -> list[str]:
    """Deletes the upload's rows; returns its parts' blobs. Raises ServiceError NoSuchUpload."""
    blobs = [
        row["blob"] for row in connection.execute("SELECT blob FROM parts WHERE upload = ?", (upload.id,))
    ]
    if connection.execute("DELETE FROM uploads WHERE id = ?", (upload.id,)).rowcount == 0:
        raise _no_such_upload()
    return blobs


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(
        id=row["id"],
        bucket=row["bucket"],
        key=row["key"],
        created=moment(row["created"]),
        attributes=Attributes(
            content_type=row["content_type"],
            metadata=json.loads(row["metadata"]),
            headers=json.loads(row["headers"]),
        ),
        checksum_algorithm=row["checksum_algorithm"],
        checksum_type=row["checksum_type"],
    )


def _no_such_upload() -> ServiceError:
    return ServiceError(
        "NoSuchUpload",
        "The specified multipart upload does not exist. The upload ID might be invalid, "
        "or the multipart upload might have been aborted or completed.",
        status=404,
    )


def _invalid_part() -> ServiceError:
    return ServiceError(
        "InvalidPart",
        "One or more of the specified parts could not be found. The part might not have been uploaded, "
        "or the specified entity tag or checksum might not match the part's.",
    )
