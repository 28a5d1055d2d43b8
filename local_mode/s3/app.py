"""S3 over HTTP: a request to an operation, and its result to a reply, by botocore's model."""

import functools
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import OperationModel, StructureShape

from local_mode.errors import ServiceError
from local_mode.http import FileRange, Request, Response
from local_mode.protocol import service_model
from local_mode.s3 import operations, xml
from local_mode.s3.call import Router, read_call
from local_mode.s3.conditions import NotModifiedError
from local_mode.s3.listing import Storage

# Names of the documents' root elements: the only part of S3's replies that the model lacks.
_ROOTS: Mapping[str, str] = {
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CopyObject": "CopyObjectResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
    "UploadPartCopy": "CopyPartResult",
}


def answer(storage: Storage, request: Request) -> tuple[str, Response]:
    """The operation's name and the reply. Raises ServiceError."""
    operation, bucket, key = _router().find(request)
    if operation.name not in operations.OPERATIONS:
        raise ServiceError(
            "NotImplemented", f"S3 {operation.name} is not emulated by the local SageMaker", status=501
        )
    call = read_call(operation, request, bucket, key)
    try:
        result = operations.run(storage, call)
    except NotModifiedError:
        return operation.name, Response(status=304)
    return operation.name, _response(operation, result)


def error_response(error: ServiceError, request: Request) -> Response:
    """S3's error document; a reply to HEAD has no body, and clients go by the status."""
    fields = {
        "Code": error.code,
        "Message": error.message,
        "Resource": request.path,
        "RequestId": request.id,
    }
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode("utf-8", "replace")
    headers = {"Content-Type": "application/xml"}
    return Response(status=error.status, headers=headers, body=b"" if request.method == "HEAD" else body)


@functools.cache
def _router() -> Router:
    return Router(model=service_model("s3"))


def _response(operation: OperationModel, result: Mapping[str, Any]) -> Response:
    """Raises ValueError for a member that the operation's output does not have: a bug of ours."""
    shape = operation.output_shape
    status = operation.http.get("responseCode", 200)
    if shape is None:
        return Response(status=status)
    unknown = result.keys() - shape.members.keys()
    if unknown:
        raise ValueError(f"{operation.name} returns no {sorted(unknown)}")
    headers, rest = _headers(shape, result)
    payload = shape.serialization.get("payload")
    body: bytes | FileRange = b""
    if operation.name == "GetBucketLocation":
        body = _location_document(result["LocationConstraint"])
    elif isinstance(rest.get(payload or ""), FileRange):
        body = rest[payload]
    elif payload and payload in rest:
        body = xml.document(shape.members[payload], rest[payload], _ROOTS[operation.name])
    elif operation.name in _ROOTS:
        body = xml.document(shape, rest, _ROOTS[operation.name])
    if isinstance(body, bytes) and body:
        headers["Content-Type"] = "application/xml"
    if "Content-Range" in headers:
        status = 206
    return Response(status=status, headers=headers, body=body)


def _headers(shape: StructureShape, result: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The members that go into headers, and the others."""
    headers: dict[str, str] = {}
    rest: dict[str, Any] = {}
    for name, value in result.items():
        member = shape.members[name]
        wire = member.serialization.get("name", name)
        match member.serialization.get("location"):
            case "header":
                headers[wire] = xml.scalar(value, header=True)
            case "headers":
                headers |= {f"{wire}{suffix}": text for suffix, text in value.items()}
            case _:
                rest[name] = value
    return headers, rest


def _location_document(location: str) -> bytes:
    """The root element is the value: no shape says that."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<LocationConstraint xmlns="{xml.NAMESPACE}">{escape(location)}</LocationConstraint>'
    ).encode()
