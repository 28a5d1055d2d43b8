"""XML of the REST protocol, read and written by botocore's shapes of S3.

Specification: https://smithy.io/2.0/aws/protocols/aws-restxml-protocol.html
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from xml.etree import ElementTree as ET

from botocore.model import ListShape, Shape, StructureShape
from botocore.utils import parse_timestamp

from local_mode.errors import ServiceError

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def malformed(why: str) -> ServiceError:
    return ServiceError("MalformedXML", f"The XML you provided was not well-formed or valid: {why}")


def parse(shape: Shape, data: bytes) -> Any:
    """The value that an XML document holds. Raises ServiceError MalformedXML."""
    if b"<!" in data:
        raise malformed("declarations are not allowed")
    try:
        root = ET.fromstring(data)  # noqa: S314  declarations, so entities too, are refused above
    except ET.ParseError as error:
        raise malformed(str(error)) from None
    return _parse(shape, root)


def document(shape: StructureShape, value: Mapping[str, Any], root: str) -> bytes:
    """A structure as a document with the root element `root`.

    Raises ValueError for a member that the shape does not have: a bug of ours.
    """
    element = ET.Element(root, {"xmlns": NAMESPACE})
    _fill(element, shape, value)
    body: bytes = ET.tostring(element, encoding="UTF-8", xml_declaration=True)
    return body


def parse_scalar(shape: Shape, text: str) -> Any:
    """A scalar in an element, a header or a query. Raises ServiceError InvalidArgument."""
    reader = _READERS.get(shape.type_name, str)
    try:
        return reader(text)
    except (ValueError, OverflowError, binascii.Error):
        raise ServiceError("InvalidArgument", f"{text!r} is not a valid {shape.type_name}") from None


def scalar(value: Any, *, header: bool = False) -> str:
    """A scalar as text; times as RFC 822 in a header and as ISO 8601 in an element, as S3 does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
        if header:
            return format_datetime(value.replace(microsecond=0), usegmt=True)
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()] if text.lower() in {"true", "false"} else _fail(text)


def _fail(text: str) -> bool:
    raise ValueError(text)


_READERS: Mapping[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "integer": int,
    "long": int,
    "timestamp": parse_timestamp,
    "blob": base64.b64decode,
}


def _parse(shape: Shape, element: ET.Element) -> Any:
    if isinstance(shape, StructureShape):
        return _parse_structure(shape, element)
    if isinstance(shape, ListShape):
        return [_parse(shape.member, child) for child in element]
    return parse_scalar(shape, element.text or "")


def _parse_structure(shape: StructureShape, element: ET.Element) -> dict[str, Any]:
    members = {member.serialization.get("name", name): name for name, member in shape.members.items()}
    flattened = {
        member.member.serialization.get("name", member.serialization.get("name", name)): name
        for name, member in shape.members.items()
        if isinstance(member, ListShape) and member.serialization.get("flattened")
    }
    found: dict[str, Any] = {}
    for child in element:
        tag = child.tag.rpartition("}")[2]
        name = members.get(tag) or flattened.get(tag)
        if name is None:
            raise malformed(f"unknown element {tag}")
        member = shape.members[name]
        if isinstance(member, ListShape) and member.serialization.get("flattened"):
            found.setdefault(name, []).append(_parse(member.member, child))
        elif name in found:
            raise malformed(f"{tag} stands there twice")
        else:
            found[name] = _parse(member, child)
    for name in shape.required_members:
        if name not in found:
            raise malformed(f"{name} is missing")
    return found


def _fill(element: ET.Element, shape: Shape, value: Any) -> None:
    if isinstance(shape, StructureShape):
        unknown = value.keys() - shape.members.keys()
        if unknown:
            raise ValueError(f"{shape.name} has no members {sorted(unknown)}")
        for name, member in shape.members.items():
            if name in value:
                _add(element, member, member.serialization.get("name", name), value[name])
    elif isinstance(shape, ListShape):
        for item in value:
            _fill(
                ET.SubElement(element, shape.member.serialization.get("name", "member")), shape.member, item
            )
    else:  # S3 has no maps in its XML
        element.text = scalar(value)


def _add(element: ET.Element, shape: Shape, name: str, value: Any) -> None:
    if isinstance(shape, ListShape) and shape.serialization.get("flattened"):
        for item in value:
            _fill(ET.SubElement(element, name), shape.member, item)
    else:
        _fill(ET.SubElement(element, name), shape, value)
