"""ListBuckets, ListObjects, ListObjectsV2, ListParts, ListMultipartUploads."""

import base64
import binascii
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from local_mode.errors import ServiceError
from local_mode.s3.call import Call
from local_mode.s3.multipart import MAX_PART_NUMBER, Uploads
from local_mode.s3.store import ObjectStore, StoredObject

_MAX_KEYS = 1000
_LAST_CHARACTER = "\U0010ffff"  # above whatever follows a common prefix


class Storage(Protocol):
    """What the operations of S3 work on."""

    @property
    def objects(self) -> ObjectStore: ...
    @property
    def account(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class _Page:
    objects: list[StoredObject]
    prefixes: list[str]
    next: str | None  # what the following page lists above; None at the end


def list_buckets(storage: Storage, call: Call) -> dict[str, Any]:
    prefix = call.values.get("Prefix", "")
    after = _read_token(call.values.get("ContinuationToken"))
    buckets = [b for b in storage.objects.buckets() if b.name.startswith(prefix) and b.name > after]
    limit = call.values.get("MaxBuckets", len(buckets) or 1)
    result: dict[str, Any] = {
        "Buckets": [{"Name": b.name, "CreationDate": b.created} for b in buckets[:limit]],
        "Owner": {"ID": storage.account},
    }
    if len(buckets) > limit:
        result["ContinuationToken"] = _token(buckets[limit - 1].name)
    return result


def list_objects(storage: Storage, call: Call) -> dict[str, Any]:
    """Version 1: goes on above a marker, which is a key or a common prefix."""
    marker = call.values.get("Marker", "")
    page = _page(storage.objects, call, marker)
    encode = _encoder(call)
    result = _common(call, page, encode, storage.account) | {"Marker": encode(marker)}
    if page.next is not None and call.values.get("Delimiter"):
        result["NextMarker"] = encode(page.next)
    return result


def list_objects_v2(storage: Storage, call: Call) -> dict[str, Any]:
    token = call.values.get("ContinuationToken")
    start = call.values.get("StartAfter", "")
    page = _page(storage.objects, call, _read_token(token) if token is not None else start)
    encode = _encoder(call)
    owner = storage.account if call.values.get("FetchOwner") else None
    result = _common(call, page, encode, owner) | {"KeyCount": len(page.objects) + len(page.prefixes)}
    if token is not None:
        result["ContinuationToken"] = token
    if start:
        result["StartAfter"] = encode(start)
    if page.next is not None:
        result["NextContinuationToken"] = _token(page.next)
    return result


def list_parts(storage: Storage, call: Call) -> dict[str, Any]:
    uploads = Uploads(storage.objects)
    upload = uploads.find(call.bucket, call.key, call.values["UploadId"])
    marker = call.values.get("PartNumberMarker", 0)
    limit = _limit(call, "MaxParts")
    parts = [part for part in uploads.parts(upload) if part.number > int(marker)]
    shown = parts[:limit]
    result = {
        "Bucket": call.bucket,
        "Key": call.key,
        "UploadId": upload.id,
        "PartNumberMarker": marker,
        "MaxParts": limit,
        "IsTruncated": len(parts) > limit,
        "NextPartNumberMarker": shown[-1].number if shown else MAX_PART_NUMBER if parts else 0,
        "Initiator": {"ID": storage.account},
        "Owner": {"ID": storage.account},
        "StorageClass": "STANDARD",
        "Parts": [
            {
                "PartNumber": part.number,
                "LastModified": part.modified,
                "ETag": f'"{part.etag}"',
                "Size": part.size,
            }
            | {f"Checksum{algorithm}": value for algorithm, value in part.checksums.items()}
            for part in shown
        ],
    }
    if upload.checksum_algorithm:
        result |= {"ChecksumAlgorithm": upload.checksum_algorithm, "ChecksumType": upload.checksum_type}
    return result


def list_multipart_uploads(storage: Storage, call: Call) -> dict[str, Any]:
    encode = _encoder(call)
    prefix = call.values.get("Prefix", "")
    key_marker, id_marker = call.values.get("KeyMarker", ""), call.values.get("UploadIdMarker", "")
    limit = _limit(call, "MaxUploads")
    uploads = [u for u in Uploads(storage.objects).of_bucket(call.bucket) if u.key.startswith(prefix)]
    if id_marker:
        places = [n for n, upload in enumerate(uploads) if (upload.key, upload.id) == (key_marker, id_marker)]
        # A marker that was completed meanwhile: the next key is the nearest place that is left.
        uploads = uploads[places[0] + 1 :] if places else [u for u in uploads if u.key > key_marker]
    else:
        uploads = [u for u in uploads if u.key > key_marker]
    shown = uploads[:limit]
    result: dict[str, Any] = {
        "Bucket": call.bucket,
        "KeyMarker": encode(key_marker),
        "UploadIdMarker": id_marker,
        "MaxUploads": limit,
        "IsTruncated": len(uploads) > limit,
        "Prefix": encode(prefix),
        "Uploads": [
            {
                "UploadId": upload.id,
                "Key": encode(upload.key),
                "Initiated": upload.created,
                "StorageClass": "STANDARD",
                "Owner": {"ID": storage.account},
                "Initiator": {"ID": storage.account},
            }
            for upload in shown
        ],
    }
    if len(uploads) > limit and shown:
        result |= {"NextKeyMarker": encode(shown[-1].key), "NextUploadIdMarker": shown[-1].id}
    if "EncodingType" in call.values:
        result["EncodingType"] = call.values["EncodingType"]
    return result


def _page(objects: ObjectStore, call: Call, after: str) -> _Page:
    prefix, delimiter = call.values.get("Prefix", ""), call.values.get("Delimiter", "")
    limit = _limit(call, "MaxKeys")
    page = _Page(objects=[], prefixes=[], next=None)
    last = after
    if limit == 0:
        objects.require_bucket(call.bucket)
        return page
    for item in _entries(objects, call.bucket, prefix, delimiter, after):
        if len(page.objects) + len(page.prefixes) == limit:
            return _Page(objects=page.objects, prefixes=page.prefixes, next=last)
        if isinstance(item, str):
            page.prefixes.append(item)
            last = item
        else:
            page.objects.append(item)
            last = item.key
    return page


def _entries(
    objects: ObjectStore, bucket: str, prefix: str, delimiter: str, after: str
) -> Iterator[StoredObject | str]:
    """Objects, and common prefixes as strings, in order; a prefix's objects are jumped over, not read."""
    done = _common_prefix(after, prefix, delimiter)
    if done is not None and done == after:
        after = done + _LAST_CHARACTER  # the page before ended with this common prefix
    while True:
        for item in objects.list(bucket, prefix, after=after):
            common = _common_prefix(item.key, prefix, delimiter)
            if common is None:
                yield item
                continue
            if common != done:
                yield common
            done, after = common, max(item.key, common + _LAST_CHARACTER)
            break
        else:
            return


def _common_prefix(key: str, prefix: str, delimiter: str) -> str | None:
    """`prefix` and what follows it up to the first delimiter, where there is one."""
    if not delimiter or not key.startswith(prefix):
        return None
    place = key.find(delimiter, len(prefix))
    return None if place < 0 else key[: place + len(delimiter)]


def _common(call: Call, page: _Page, encode: Callable[[str], str], owner: str | None) -> dict[str, Any]:
    """What both versions of ListObjects answer alike."""
    result: dict[str, Any] = {
        "Name": call.bucket,
        "Prefix": encode(call.values.get("Prefix", "")),
        "MaxKeys": _limit(call, "MaxKeys"),
        "IsTruncated": page.next is not None,
        "Contents": [_entry(stored, encode, owner) for stored in page.objects],
        "CommonPrefixes": [{"Prefix": encode(prefix)} for prefix in page.prefixes],
    }
    if "Delimiter" in call.values:
        result["Delimiter"] = encode(call.values["Delimiter"])
    if "EncodingType" in call.values:
        result["EncodingType"] = call.values["EncodingType"]
    return result


def _entry(stored: StoredObject, encode: Callable[[str], str], owner: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Key": encode(stored.key),
        "LastModified": stored.last_modified,
        "ETag": f'"{stored.etag}"',
        "Size": stored.size,
        "StorageClass": "STANDARD",
    }
    algorithms = [name for name in stored.checksums if name != "Type"]
    if algorithms:
        entry |= {"ChecksumAlgorithm": algorithms, "ChecksumType": stored.checksums["Type"]}
    return entry | ({"Owner": {"ID": owner}} if owner else {})


def _encoder(call: Call) -> Callable[[str], str]:
    """XML 1.0 cannot say every key; clients ask for `url` to be safe."""
    encoding = call.values.get("EncodingType")
    if encoding is None:
        return lambda text: text
    if encoding != "url":
        raise ServiceError("InvalidArgument", "Invalid Encoding Method specified in Request")
    return lambda text: urllib.parse.quote(text, safe="/")


def _limit(call: Call, member: str) -> int:
    value: int = call.values.get(member, _MAX_KEYS)
    if value < 0:
        raise ServiceError("InvalidArgument", f"{member} must be between 0 and 2147483647")
    return min(value, _MAX_KEYS)


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _read_token(token: str | None) -> str:
    if token is None:
        return ""
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (ValueError, binascii.Error):
        raise ServiceError("InvalidArgument", "The continuation token provided is incorrect") from None
