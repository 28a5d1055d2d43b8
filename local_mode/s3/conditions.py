"""Conditional reads and byte ranges (RFC 9110), as S3 applies them."""

import re
from collections.abc import Mapping
from typing import Any

from local_mode.errors import ServiceError
from local_mode.s3.store import StoredObject

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class NotModifiedError(Exception):
    """The client's copy is still right: 304, without a body."""


def check_read(stored: StoredObject, values: Mapping[str, Any], *, prefix: str = "") -> None:
    """Raises ServiceError PreconditionFailed, or NotModifiedError (a copy: PreconditionFailed too).

    `prefix` is `CopySource` for the conditions on a copy's source. A date counts only where the etag
    says nothing, and in whole seconds, as HTTP's dates have no more.
    """
    modified = stored.last_modified.replace(microsecond=0)
    match, none_match = values.get(f"{prefix}IfMatch"), values.get(f"{prefix}IfNoneMatch")
    since = values.get(f"{prefix}IfModifiedSince")
    unmodified = values.get(f"{prefix}IfUnmodifiedSince")
    if match is not None:
        if not _names(match, stored.etag):
            raise precondition_failed(f"{prefix}IfMatch")
    elif unmodified is not None and modified > unmodified:
        raise precondition_failed(f"{prefix}IfUnmodifiedSince")
    if none_match is not None:
        unchanged = _names(none_match, stored.etag)
    else:
        unchanged = since is not None and modified <= since
    if unchanged:
        raise precondition_failed(f"{prefix}IfNoneMatch") if prefix else NotModifiedError


def unquoted(etag: str) -> str:
    return etag.strip().removeprefix("W/").strip('"')


def precondition_failed(condition: str) -> ServiceError:
    return ServiceError(
        "PreconditionFailed",
        f"At least one of the pre-conditions you specified did not hold: {condition}",
        status=412,
    )


def byte_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Start and length of `bytes=A-B`; None for the whole object.

    What is no range, or several, asks for the whole object, as S3 takes it. Raises ServiceError
    InvalidRange where the object has no such byte.
    """
    match = _RANGE.fullmatch(text.replace(" ", "")) if text else None
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return None
    if start >= size or start >= stop:
        raise ServiceError("InvalidRange", "The requested range is not satisfiable", status=416)
    return start, stop - start


def _names(condition: str, etag: str) -> bool:
    return condition.strip() == "*" or etag in {unquoted(part) for part in condition.split(",")}
