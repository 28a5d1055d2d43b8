"""The operations of S3 that clients use, on an ObjectStore; all others are refused by name.

A handler takes the storage and the call and returns the members of the operation's output, as boto3
would return them. `OPERATIONS` says for each which members of its input it acts on.
"""

import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from local_mode.errors import ServiceError
from local_mode.http import FileRange
from local_mode.s3 import listing
from local_mode.s3.blobs import PIECE
from local_mode.s3.call import Call
from local_mode.s3.checksums import ALGORITHMS, encoded
from local_mode.s3.conditions import byte_range, check_read, unquoted
from local_mode.s3.listing import Storage
from local_mode.s3.multipart import NamedPart, Uploads
from local_mode.s3.store import DEFAULT_CONTENT_TYPE, Attributes, Condition, StoredObject

# Kept with an object and sent back as they came.
_KEPT_HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Expires")
_MAX_DELETE = 1000


def create_bucket(storage: Storage, call: Call) -> dict[str, Any]:
    location = call.values.get("CreateBucketConfiguration", {}).get("LocationConstraint", "")
    storage.objects.create_bucket(call.bucket, location=location)
    return {"Location": f"/{call.bucket}"}


def head_bucket(storage: Storage, call: Call) -> dict[str, Any]:
    return {"BucketRegion": _bucket_location(storage, call.bucket) or "us-east-1"}


def delete_bucket(storage: Storage, call: Call) -> dict[str, Any]:
    storage.objects.delete_bucket(call.bucket)
    return {}


def get_bucket_location(storage: Storage, call: Call) -> dict[str, Any]:
    return {"LocationConstraint": _bucket_location(storage, call.bucket)}


def put_object(storage: Storage, call: Call) -> dict[str, Any]:
    assert call.body is not None
    condition = _write_condition(call)
    storage.objects.require_bucket(call.bucket)
    blob = storage.objects.blobs.write([cast("BinaryIO", call.body)])
    sums = call.body.checksums
    stored = storage.objects.commit(
        call.bucket,
        call.key,
        blob,
        attributes=_attributes(call),
        checksums=sums | {"Type": "FULL_OBJECT"} if sums else {},
        condition=condition,
    )
    return {"ETag": f'"{stored.etag}"', **_checksum_members(stored)}


def get_object(storage: Storage, call: Call) -> dict[str, Any]:
    stored, file = storage.objects.open(call.bucket, call.key)
    try:
        result = _read_members(stored, call)
        start, length = byte_range(call.values.get("Range"), stored.size) or (0, stored.size)
    except BaseException:
        file.close()
        raise
    return result | {"Body": FileRange(file=file, start=start, length=length)}


def head_object(storage: Storage, call: Call) -> dict[str, Any]:
    return _read_members(storage.objects.get(call.bucket, call.key), call)


def copy_object(storage: Storage, call: Call) -> dict[str, Any]:
    source = _copy_source(storage, call)
    replace = call.values.get("MetadataDirective", "COPY") == "REPLACE"
    if not replace and (source.bucket, source.key) == (call.bucket, call.key):
        raise ServiceError(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without "
            "changing the object's metadata, storage class, website redirect location or encryption "
            "attributes.",
        )
    attributes = (
        _attributes(call)
        if replace
        else Attributes(content_type=source.content_type, metadata=source.metadata, headers=source.headers)
    )
    wanted = call.values.get("ChecksumAlgorithm")
    if wanted is not None and wanted not in source.checksums:
        raise ServiceError(
            "NotImplemented", f"CopyObject does not compute a new checksum ({wanted})", status=501
        )
    stored = storage.objects.copy(
        source, call.bucket, call.key, attributes=attributes, condition=_write_condition(call)
    )
    # The bytes are not read, so a copy keeps its source's ETag, that of a multipart upload too.
    result = {"ETag": f'"{stored.etag}"', "LastModified": stored.last_modified}
    return {"CopyObjectResult": result | _checksum_members(stored)}


def delete_object(storage: Storage, call: Call) -> dict[str, Any]:
    storage.objects.delete(call.bucket, call.key)
    return {}


def delete_objects(storage: Storage, call: Call) -> dict[str, Any]:
    delete = call.values["Delete"]
    if len(delete["Objects"]) > _MAX_DELETE:
        raise ServiceError("MalformedXML", f"A request deletes at most {_MAX_DELETE} objects")
    for entry in delete["Objects"]:
        unknown = entry.keys() - {"Key"}
        if unknown:
            message = f"DeleteObjects does not act on {', '.join(sorted(unknown))}"
            raise ServiceError("NotImplemented", message, status=501)
    for entry in delete["Objects"]:
        storage.objects.delete(call.bucket, entry["Key"])
    if delete.get("Quiet"):
        return {}
    return {"Deleted": [{"Key": entry["Key"]} for entry in delete["Objects"]]}


def create_multipart_upload(storage: Storage, call: Call) -> dict[str, Any]:
    upload = Uploads(storage.objects).create(
        call.bucket,
        call.key,
        _attributes(call),
        checksum_algorithm=call.values.get("ChecksumAlgorithm"),
        checksum_type=call.values.get("ChecksumType"),
    )
    result: dict[str, Any] = {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id}
    if upload.checksum_algorithm:
        result |= {"ChecksumAlgorithm": upload.checksum_algorithm, "ChecksumType": upload.checksum_type}
    return result


def upload_part(storage: Storage, call: Call) -> dict[str, Any]:
    assert call.body is not None
    uploads = Uploads(storage.objects)
    upload = uploads.find(call.bucket, call.key, call.values["UploadId"])
    if upload.checksum_algorithm:
        call.body.want(upload.checksum_algorithm)
    blob = storage.objects.blobs.write([cast("BinaryIO", call.body)])
    part = uploads.put_part(upload, call.values["PartNumber"], blob, call.body.checksums)
    checksums = {f"Checksum{algorithm}": value for algorithm, value in part.checksums.items()}
    return {"ETag": f'"{part.etag}"', **checksums}


def upload_part_copy(storage: Storage, call: Call) -> dict[str, Any]:
    uploads = Uploads(storage.objects)
    upload = uploads.find(call.bucket, call.key, call.values["UploadId"])
    source = _copy_source(storage, call)
    source, file = storage.objects.open(source.bucket, source.key)
    with file:
        start, length = byte_range(call.values.get("CopySourceRange"), source.size) or (0, source.size)
        file.seek(start)
        piece = _Piece(file, length, upload.checksum_algorithm)
        blob = storage.objects.blobs.write([cast("BinaryIO", piece)])
    part = uploads.put_part(upload, call.values["PartNumber"], blob, piece.checksums())
    checksums = {f"Checksum{algorithm}": value for algorithm, value in part.checksums.items()}
    return {
        "CopyPartResult": {"ETag": f'"{part.etag}"', "LastModified": part.modified, **checksums},
    }


def complete_multipart_upload(storage: Storage, call: Call) -> dict[str, Any]:
    uploads = Uploads(storage.objects)
    upload = uploads.find(call.bucket, call.key, call.values["UploadId"])
    if call.values.get("ChecksumType", upload.checksum_type) != upload.checksum_type:
        raise ServiceError("InvalidRequest", f"The upload's checksum type is {upload.checksum_type}")
    named = []
    for entry in call.values.get("MultipartUpload", {}).get("Parts", []):
        if not {"PartNumber", "ETag"} <= entry.keys():
            raise ServiceError("MalformedXML", "A part needs PartNumber and ETag")
        named.append(
            NamedPart(
                number=entry["PartNumber"], etag=unquoted(entry["ETag"]), checksums=_sent_checksums(entry)
            )
        )
    stored = uploads.complete(
        upload,
        named,
        wanted=_sent_checksums(call.values),
        size=call.values.get("MpuObjectSize"),
        condition=_write_condition(call),
    )
    return {
        "Location": f"http://{call.request.header('Host')}/{call.bucket}/{urllib.parse.quote(call.key)}",
        "Bucket": call.bucket,
        "Key": call.key,
        "ETag": f'"{stored.etag}"',
        **_checksum_members(stored),
    }


def abort_multipart_upload(storage: Storage, call: Call) -> dict[str, Any]:
    uploads = Uploads(storage.objects)
    uploads.abort(uploads.find(call.bucket, call.key, call.values["UploadId"]))
    return {}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A handler, and the input members that it acts on; any other is refused unless it is harmless."""

    handler: Callable[[Storage, Call], dict[str, Any]]
    members: frozenset[str]


def _operation(handler: Callable[[Storage, Call], dict[str, Any]], members: str) -> Operation:
    return Operation(handler=handler, members=frozenset(members.split()))


_BUCKET = "Bucket"
_OBJECT = "Bucket Key"
_SUMS = " ".join(f"Checksum{algorithm}" for algorithm in ALGORITHMS)
_WRITE = f"Bucket Key ContentType Metadata IfMatch IfNoneMatch {' '.join(_KEPT_HEADERS)}"
_READ = f"{_OBJECT} Range IfMatch IfNoneMatch IfModifiedSince IfUnmodifiedSince ChecksumMode" + "".join(
    f" Response{name}" for name in ("ContentType", *_KEPT_HEADERS)
)
_SOURCE = (
    "CopySource CopySourceIfMatch CopySourceIfNoneMatch CopySourceIfModifiedSince CopySourceIfUnmodifiedSince"
)

OPERATIONS: Mapping[str, Operation] = {
    "AbortMultipartUpload": _operation(abort_multipart_upload, f"{_OBJECT} UploadId"),
    "CompleteMultipartUpload": _operation(
        complete_multipart_upload,
        f"{_OBJECT} UploadId MultipartUpload MpuObjectSize ChecksumType IfMatch IfNoneMatch {_SUMS}",
    ),
    "CopyObject": _operation(
        copy_object, f"{_WRITE} {_SOURCE} MetadataDirective TaggingDirective ChecksumAlgorithm"
    ),
    "CreateBucket": _operation(create_bucket, f"{_BUCKET} CreateBucketConfiguration"),
    "CreateMultipartUpload": _operation(create_multipart_upload, f"{_WRITE} ChecksumAlgorithm ChecksumType"),
    "DeleteBucket": _operation(delete_bucket, _BUCKET),
    "DeleteObject": _operation(delete_object, _OBJECT),
    "DeleteObjects": _operation(delete_objects, f"{_BUCKET} Delete ChecksumAlgorithm"),
    "GetBucketLocation": _operation(get_bucket_location, _BUCKET),
    "GetObject": _operation(get_object, _READ),
    "HeadBucket": _operation(head_bucket, _BUCKET),
    "HeadObject": _operation(head_object, _READ),
    "ListBuckets": _operation(listing.list_buckets, "MaxBuckets ContinuationToken Prefix"),
    "ListMultipartUploads": _operation(
        listing.list_multipart_uploads,
        f"{_BUCKET} EncodingType KeyMarker MaxUploads Prefix UploadIdMarker",
    ),
    "ListObjects": _operation(
        listing.list_objects, f"{_BUCKET} Delimiter EncodingType Marker MaxKeys Prefix"
    ),
    "ListObjectsV2": _operation(
        listing.list_objects_v2,
        f"{_BUCKET} Delimiter EncodingType MaxKeys Prefix ContinuationToken FetchOwner StartAfter",
    ),
    "ListParts": _operation(listing.list_parts, f"{_OBJECT} UploadId MaxParts PartNumberMarker"),
    "PutObject": _operation(put_object, f"{_WRITE} ContentLength ContentMD5 ChecksumAlgorithm {_SUMS}"),
    "UploadPart": _operation(
        upload_part,
        f"{_OBJECT} UploadId PartNumber ContentLength ContentMD5 ChecksumAlgorithm {_SUMS}",
    ),
    "UploadPartCopy": _operation(
        upload_part_copy, f"{_OBJECT} UploadId PartNumber CopySourceRange {_SOURCE}"
    ),
}

# Values that ask for what is the case here anyway: one account, no versions, no classes of storage,
# encryption at rest by S3's key or the account's own (which a client cannot see). Any other value is refused.
HARMLESS: Mapping[str, frozenset[str]] = {
    "ACL": frozenset({"private", "bucket-owner-full-control", "bucket-owner-read"}),
    "ObjectOwnership": frozenset({"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"}),
    "RequestPayer": frozenset({"requester"}),
    "ServerSideEncryption": frozenset({"AES256", "aws:kms"}),
    "StorageClass": frozenset({"STANDARD"}),
    "VersionId": frozenset({"null"}),
}


def run(storage: Storage, call: Call) -> dict[str, Any]:
    """The output members of the call's operation.

    Raises ServiceError; NotImplemented names the operation or the member that is not emulated.
    """
    name = call.operation.name
    operation = OPERATIONS.get(name)
    if operation is None:
        raise ServiceError("NotImplemented", f"S3 {name} is not emulated by the local SageMaker", status=501)
    for member, value in call.values.items():
        if member == "ExpectedBucketOwner":
            if value != storage.account:
                raise ServiceError("AccessDenied", "Access Denied", status=403)
        elif member not in operation.members and value not in HARMLESS.get(member, ()):
            shown = f"{member}={value}" if member in HARMLESS else member
            raise ServiceError("NotImplemented", f"{name} does not act on {shown}", status=501)
    return operation.handler(storage, call)


class _Piece:
    """Part of an open file, summed by the upload's algorithm as it is read."""

    def __init__(self, file: BinaryIO, length: int, algorithm: str | None) -> None:
        self._file = file
        self._left = length
        self._algorithm = algorithm
        self._sum = ALGORITHMS[algorithm]() if algorithm else None

    def read(self, size: int = PIECE, /) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        if self._sum:
            self._sum.update(data)
        return data

    def checksums(self) -> dict[str, str]:
        return {self._algorithm: encoded(self._sum)} if self._algorithm and self._sum else {}


def _bucket_location(storage: Storage, name: str) -> str:
    storage.objects.require_bucket(name)
    return next(bucket.location for bucket in storage.objects.buckets() if bucket.name == name)


def _attributes(call: Call) -> Attributes:
    headers = {name: str(call.values[name]) for name in _KEPT_HEADERS if name in call.values}
    if "Expires" in headers:
        headers["Expires"] = call.request.header("Expires")  # as it came; the model reads a time
    encoding = [
        token.strip()
        for token in headers.pop("ContentEncoding", "").split(",")
        if token.strip() not in {"", "aws-chunked"}  # that one is of the transfer, not of the object
    ]
    if encoding:
        headers["ContentEncoding"] = ",".join(encoding)
    return Attributes(
        content_type=call.values.get("ContentType", DEFAULT_CONTENT_TYPE),
        metadata=call.values.get("Metadata", {}),
        headers=headers,
    )


def _write_condition(call: Call) -> Condition:
    none_match, match = call.values.get("IfNoneMatch"), call.values.get("IfMatch")
    if none_match not in (None, "*"):
        raise ServiceError("NotImplemented", "If-None-Match of a write takes * alone", status=501)
    return Condition(if_none_match=none_match == "*", if_match=unquoted(match) if match else None)


def _read_members(stored: StoredObject, call: Call) -> dict[str, Any]:
    """What GetObject and HeadObject say in headers. Raises as `check_read` and `byte_range` do."""
    check_read(stored, call.values)
    part = byte_range(call.values.get("Range"), stored.size)
    result: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": stored.last_modified,
        "ContentLength": part[1] if part else stored.size,
        "ETag": f'"{stored.etag}"',
        "ContentType": stored.content_type,
        "Metadata": dict(stored.metadata),
        **stored.headers,
    }
    if part:
        result["ContentRange"] = f"bytes {part[0]}-{part[0] + part[1] - 1}/{stored.size}"
    elif call.values.get("ChecksumMode") == "ENABLED":
        result |= _checksum_members(stored)
    for name in ("ContentType", *_KEPT_HEADERS):
        if f"Response{name}" in call.values:
            result[name] = call.values[f"Response{name}"]
    return result


def _checksum_members(stored: StoredObject) -> dict[str, str]:
    return {f"Checksum{name}": value for name, value in stored.checksums.items()}


def _sent_checksums(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: values[f"Checksum{name}"] for name in ALGORITHMS if f"Checksum{name}" in values}


def _copy_source(storage: Storage, call: Call) -> StoredObject:
    """The source of a copy: `BUCKET/KEY`, percent-encoded. Raises ServiceError."""
    path, _, version = call.values["CopySource"].partition("?")
    if version not in {"", "versionId=null"}:
        raise ServiceError("NotImplemented", "Copies of a version are not emulated", status=501)
    bucket, _, key = urllib.parse.unquote(path).removeprefix("/").partition("/")
    if not bucket or not key:
        raise ServiceError("InvalidArgument", "Copy Source must mention the source bucket and key")
    source = storage.objects.get(bucket, key)
    check_read(source, call.values, prefix="CopySource")
    return source
