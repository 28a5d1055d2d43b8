"""AWS's JSON 1.1 protocol, read and written by botocore's service model: SageMaker and CloudWatch Logs.

A handler takes the request as boto3 would take it and returns what boto3 would return: the shapes do
the rest. Specification: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
"""

import base64
import binascii
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.utils import parse_timestamp

from local_mode.errors import ServiceError
from local_mode.http import Request, Response

CONTENT_TYPE = "application/x-amz-json-1.1"
_MAX_REQUEST = 16 << 20  # bytes; AWS's own limits per operation are far below

Service = TypeVar("Service")
Handler = Callable[[Service, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class JsonApi(Generic[Service]):
    """One service that speaks JSON 1.1: its model, its operations, and how a request is checked."""

    name: str  # as people say it, for messages
    model: Callable[[], ServiceModel]  # loaded with the first request
    operations: Mapping[str, Handler[Service]]
    validate: Callable[[OperationModel, dict[str, Any]], None]  # raises ServiceError

    def operation_name(self, request: Request) -> str:
        return request.header("X-Amz-Target").rpartition(".")[2]

    def answer(self, service: Service, request: Request) -> Response:
        """Runs the operation that the request names. Raises ServiceError."""
        name = self.operation_name(request)
        content_type = request.header("Content-Type").partition(";")[0].strip().lower()
        if request.method != "POST" or request.path != "/" or content_type != CONTENT_TYPE:
            raise ServiceError(
                "UnknownOperationException",
                f"{self.name} takes POST / with Content-Type {CONTENT_TYPE}, "
                f"not {request.method} {request.path} with {content_type or 'none'}",
            )
        model = self.model()
        if name not in model.operation_names:
            raise ServiceError("UnknownOperationException", f"{self.name} has no operation {name!r}")
        handler = self.operations.get(name)
        if handler is None:
            raise ServiceError(
                "UnknownOperationException",
                f"{self.name} {name} is not emulated by the local SageMaker; "
                f"emulated are: {', '.join(sorted(self.operations))}",
            )
        operation = model.operation_model(name)
        values = read(operation.input_shape, _document(request))
        self.validate(operation, values)
        result = write(operation.output_shape, handler(service, values), name)
        body = json.dumps(result, allow_nan=False).encode() if operation.output_shape else b""
        return Response(status=200, headers={"Content-Type": CONTENT_TYPE}, body=body)


def error_response(error: ServiceError) -> Response:
    """An error as botocore and every other client of JSON 1.1 reads it."""
    body = json.dumps({"__type": error.code, "message": error.message}).encode()
    headers = {"Content-Type": CONTENT_TYPE, "x-amzn-ErrorType": error.code}
    return Response(status=error.status, headers=headers, body=body)


def read(shape: Shape | None, value: Any) -> Any:
    """A JSON value as boto3 takes it: timestamps as datetime, blobs as bytes, nulls left out.

    A value that the shape does not know, or of another type, passes through for validation to name.
    Raises ServiceError SerializationException for a timestamp or blob that cannot be read.
    """
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {
            name: read(shape.members.get(name), member)
            for name, member in value.items()
            if member is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [read(shape.member, member) for member in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: read(shape.value, member) for key, member in value.items()}
    if shape is not None and shape.type_name == "timestamp":
        return _timestamp(value)
    if shape is not None and shape.type_name == "blob":
        try:
            return base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ServiceError("SerializationException", f"not base64: {value!r:.100}") from None
    return value


def write(shape: Shape | None, value: Any, path: str) -> Any:
    """A handler's value as JSON.

    Raises TypeError or ValueError naming the path where the value does not fit the shape: that is a
    bug of the handler, and a client must not see half an answer.
    """
    if shape is None:
        if value:
            raise ValueError(f"{path}: the operation returns nothing, got {value!r:.100}")
        return None
    if isinstance(shape, StructureShape):
        _expect(value, Mapping, path)
        unknown = value.keys() - shape.members.keys()
        missing = set(shape.required_members) - value.keys()
        if unknown or missing:
            raise ValueError(f"{path}: unknown members {sorted(unknown)}, missing members {sorted(missing)}")
        return {
            shape.members[name].serialization.get("name", name): write(
                shape.members[name], member, f"{path}.{name}"
            )
            for name, member in value.items()
        }
    if isinstance(shape, ListShape):
        _expect(value, list | tuple, path)
        return [write(shape.member, member, f"{path}[{index}]") for index, member in enumerate(value)]
    if isinstance(shape, MapShape):
        _expect(value, Mapping, path)
        return {key: write(shape.value, member, f"{path}.{key}") for key, member in value.items()}
    return _write_scalar(shape, value, path)


def _write_scalar(shape: Shape, value: Any, path: str) -> Any:
    match shape.type_name:
        case "timestamp":
            _expect(value, datetime, path)
            if value.tzinfo is None:
                raise ValueError(f"{path}: a datetime without a time zone")
            return round(value.timestamp(), 3)
        case "blob":
            _expect(value, bytes, path)
            return base64.b64encode(value).decode()
        case "boolean":
            _expect(value, bool, path)
        case "integer" | "long":
            _expect(value, int, path)
        case "float" | "double":
            _expect(value, int | float, path)
        case _:
            _expect(value, str, path)
    return value


def _expect(value: Any, kind: Any, path: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{path}: expected {getattr(kind, '__name__', kind)}, got {value!r:.100}")


def _timestamp(value: Any) -> datetime:
    try:
        # To Python a bool is a number; as text it is no time at all.
        moment: datetime = parse_timestamp(str(value) if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        raise ServiceError("SerializationException", f"not a timestamp: {value!r:.100}") from None
    return moment


def _document(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises ServiceError."""
    body = request.read_whole(limit=_MAX_REQUEST)
    if body is None:
        raise ServiceError(
            "RequestEntityTooLargeException", f"The request has over {_MAX_REQUEST} bytes", status=413
        )
    try:
        document = json.loads(body or b"{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ServiceError("SerializationException", f"The body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "Start of structure or map found where not expected.")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


@functools.cache
def service_model(name: str) -> ServiceModel:
    """The model that botocore ships of a service."""
    from botocore.loaders import Loader  # noqa: PLC0415  with the first request, not at the start

    return ServiceModel(Loader().load_service_model(name, "service-2"), service_name=name)


def validate_by_botocore(operation: OperationModel, values: dict[str, Any]) -> None:
    """What botocore itself checks: required, unknown and mistyped members, and `min`."""
    from botocore.validate import ParamValidator  # noqa: PLC0415  with the first request

    report = ParamValidator().validate(values, operation.input_shape)
    if report.has_errors():
        raise ServiceError("InvalidParameterException", " ".join(report.generate_report().split()))
