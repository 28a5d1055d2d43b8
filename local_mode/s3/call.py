"""Which S3 operation a request is, and its members by name: read off botocore's model of S3."""

import ipaddress
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

from local_mode.errors import ServiceError
from local_mode.http import Request
from local_mode.s3 import xml
from local_mode.s3.body import VerifiedBody, is_digest_header

_MAX_DOCUMENT = 8 << 20  # bytes; CompleteMultipartUpload of 10,000 parts stays below
# Parts of every signed request; they say nothing about the operation.
_GENERAL_HEADERS = {
    *("x-amz-date", "x-amz-security-token", "x-amz-user-agent", "x-amz-content-sha256"),
    *("x-amz-decoded-content-length", "x-amz-trailer", "x-amz-te", "x-amz-id-2", "x-amz-request-id"),
    "x-amz-sdk-checksum-algorithm",
}
# Of presigned addresses: signature version 4, and 2, which boto3 still makes by default.
_PRESIGNED_PREFIX = "x-amz-"
_PRESIGNED = {"awsaccesskeyid", "expires", "signature"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as an operation of S3's model with its members."""

    operation: OperationModel
    values: Mapping[str, Any]  # as boto3 takes them; no `Body`
    request: Request
    body: VerifiedBody | None = None  # of an operation whose payload is bytes

    @property
    def bucket(self) -> str:
        return str(self.values["Bucket"])

    @property
    def key(self) -> str:
        return str(self.values["Key"])


@dataclass(frozen=True, kw_only=True)
class _Route:
    operation: OperationModel
    level: str  # "service", "bucket" or "key"
    query: Mapping[str, str]  # fixed query items; "" takes any value
    required_query: frozenset[str]
    required_headers: frozenset[str]

    @property
    def weight(self) -> int:
        return len(self.query) + len(self.required_query) + len(self.required_headers)

    def matches(self, query: Mapping[str, str], request: Request) -> bool:
        return (
            all(name in query and value in ("", query[name]) for name, value in self.query.items())
            and self.required_query <= query.keys()
            and all(name in request.headers for name in self.required_headers)
        )


@dataclass(kw_only=True)
class Router:
    """Finds the operation that a request means: the one that asks for most of what the request has."""

    model: ServiceModel
    _routes: dict[tuple[str, str], list[_Route]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.model.operation_names:
            operation = self.model.operation_model(name)
            route = _route(operation)
            self._routes.setdefault((operation.http["method"], route.level), []).append(route)
        for routes in self._routes.values():
            routes.sort(key=lambda route: -route.weight)  # stable: of two alike the first in the model

    def find(self, request: Request) -> tuple[OperationModel, str, str]:
        """The operation, the bucket and the key. Raises ServiceError."""
        bucket, key = address(request)
        level = "key" if key else "bucket" if bucket else "service"
        query = dict(request.query)
        for route in self._routes.get((request.method, level), []):
            if route.matches(query, request):
                return route.operation, bucket, key
        raise ServiceError(
            "MethodNotAllowed",
            f"S3 has no operation {request.method} for a {level} with the query {sorted(query)}",
            status=405,
        )


def read_call(operation: OperationModel, request: Request, bucket: str, key: str) -> Call:
    """The operation's members from path, query, headers and body.

    Raises ServiceError for what is malformed, and for a query item or an `x-amz-` header that the
    operation does not have.
    """
    shape = operation.input_shape
    assert isinstance(shape, StructureShape)
    values: dict[str, Any] = {"Bucket": bucket, "Key": key}
    values = {name: value for name, value in values.items() if name in shape.members}
    query, known_query, known_headers = dict(request.query), {"x-id"}, set(_GENERAL_HEADERS)
    known_query |= urllib.parse.parse_qs(
        operation.http["requestUri"].partition("?")[2], keep_blank_values=True
    ).keys()
    for name, member in shape.members.items():
        location, wire = member.serialization.get("location"), member.serialization.get("name", name)
        if location == "querystring":
            known_query.add(wire)
            if wire in query:
                values[name] = xml.parse_scalar(member, query[wire])
        elif location == "header":
            known_headers.add(wire.lower())
            if wire in request.headers:
                values[name] = xml.parse_scalar(member, request.header(wire))
        elif location == "headers":
            values |= {name: found} if (found := _prefixed(request, wire)) else {}
            known_headers |= {f"{wire}{suffix}".lower() for suffix in found}
    _refuse_unknown(operation.name, query, known_query, request, known_headers)
    payload = shape.serialization.get("payload")
    payload_shape: Shape | None = shape.members[payload] if payload else None
    if payload_shape is not None and payload_shape.type_name == "blob":
        algorithm = values.get("ChecksumAlgorithm")
        body = VerifiedBody.of(request, algorithm=algorithm)
        return Call(operation=operation, values=values, request=request, body=body)
    document = _read_document(request)
    if payload_shape is not None and document:
        values[str(payload)] = xml.parse(payload_shape, document)
    missing = [name for name in shape.required_members if name not in values]
    if missing:
        raise ServiceError("InvalidRequest", f"{operation.name} needs {', '.join(missing)}")
    return Call(operation=operation, values=values, request=request)


def address(request: Request) -> tuple[str, str]:
    """Bucket and key, each "" where there is none: in the path, or the bucket as `BUCKET.localhost`."""
    host = request.header("Host").rpartition("@")[2]
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        path = urllib.parse.unquote(request.path, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        raise ServiceError("InvalidURI", "Couldn't parse the specified URI.") from None
    for suffix in (".s3.localhost", ".localhost"):
        if name.lower().endswith(suffix) and name[: -len(suffix)].lower() != "s3":
            return name[: -len(suffix)], path
    bucket, _, key = path.partition("/")
    return bucket, key


def is_local_name(host: str) -> bool:
    """Whether a Host header names this machine.

    Any other name is a page in a browser that had its own name point here (DNS rebinding).
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower().rstrip(".")
    if name in {"localhost", "host.docker.internal"} or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _route(operation: OperationModel) -> _Route:
    path, _, fixed = operation.http["requestUri"].partition("?")
    shape = operation.input_shape
    required: dict[str, set[str]] = {"querystring": set(), "header": set()}
    for name in shape.required_members if shape else []:
        serialization = shape.members[name].serialization
        if serialization.get("location") in required:
            required[serialization["location"]].add(serialization["name"])
    return _Route(
        operation=operation,
        level={"/": "service", "/{Bucket}": "bucket", "/{Bucket}/{Key+}": "key"}.get(path, path),
        query=dict(urllib.parse.parse_qsl(fixed, keep_blank_values=True)),
        required_query=frozenset(required["querystring"]),
        required_headers=frozenset(required["header"]),
    )


def _prefixed(request: Request, prefix: str) -> dict[str, str]:
    """Headers with a prefix (user metadata), names in lower case as S3 keeps them."""
    return {
        name[len(prefix) :].lower(): value
        for name, value in request.headers.items()
        if name.lower().startswith(prefix)
    }


def _refuse_unknown(
    operation: str, query: Mapping[str, str], known_query: set[str], request: Request, known_headers: set[str]
) -> None:
    unknown = [
        name
        for name in query
        if name not in known_query
        and name.lower() not in _PRESIGNED
        and not name.lower().startswith(_PRESIGNED_PREFIX)
    ]
    unknown += [
        name
        for name in request.headers
        if name.lower().startswith("x-amz-")
        and name.lower() not in known_headers
        and not is_digest_header(name.lower())  # compared with every body
    ]
    if unknown:
        raise ServiceError("NotImplemented", f"{operation} does not take {', '.join(unknown)}", status=501)


def _read_document(request: Request) -> bytes:
    """The whole XML body, its digests compared."""
    body = VerifiedBody.of(request)
    data = bytearray()
    while piece := body.read(1 << 20):
        data += piece
        if len(data) > _MAX_DOCUMENT:
            raise ServiceError("MaxMessageLengthExceeded", "Your request was too big.")
    return bytes(data)
