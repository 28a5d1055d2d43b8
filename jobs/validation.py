"""A request against the rules of SageMaker's API, as botocore's own service model states them.

botocore itself checks required, unknown and mistyped fields and `min`, one kind after the other; enum,
pattern and `max` are left to AWS. This walk checks all of them, before a request leaves the machine and
in the local SageMaker, says every violation at once, and says it in AWS's words.
"""

import datetime as dt
import decimal
import difflib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import botocore.session
import regex  # type: ignore[import-untyped]  # publishes no types
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

from jobs.rules import NOT_NULL, RULES, field_at, shown_value, violation

# The name field that makes a request this operation's.
OPERATION_BY_NAME_FIELD: Mapping[str, str] = {
    "TrainingJobName": "CreateTrainingJob",
    "HyperParameterTuningJobName": "CreateHyperParameterTuningJob",
    "ProcessingJobName": "CreateProcessingJob",
    "TransformJobName": "CreateTransformJob",
    "ModelName": "CreateModel",
    "EndpointConfigName": "CreateEndpointConfig",
    "EndpointName": "CreateEndpoint",
}

# Python types that botocore serialises as each type of the model, and the type's name in a message.
# `bool` is an `int` to Python and not to AWS, hence the exact look in `_type_violation`.
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "structure": ((Mapping,), "a structure"),
    "map": ((Mapping,), "a map"),
    "list": ((list, tuple), "a list"),
    "string": ((str,), "a string"),
    "boolean": ((bool,), "a boolean"),
    "integer": ((int,), "an integer"),
    "long": ((int,), "an integer"),
    "float": ((float, int, decimal.Decimal), "a number"),
    "double": ((float, int, decimal.Decimal), "a number"),
    "timestamp": ((dt.datetime, str, int, float), "a timestamp"),
    "blob": ((bytes, bytearray, str), "bytes"),
}

_S3_URI_PATTERN_START = "(https|s3)://"
_FILE_URI_START = "file://"
_LISTED_MEMBERS = 20  # of an enum in a message
_FILE_URI_PATTERN = r"file:///[^\n]+"


class RequestError(ValueError):
    """A request that AWS would refuse; `messages` has one sentence a violation, `str()` AWS's whole text.

    `code` is AWS's: `SerializationException` where a value is of another type than the field's, which AWS
    sees before it looks at any rule, else `ValidationException`.
    """

    def __init__(self, messages: tuple[str, ...], *, code: str = "ValidationException") -> None:
        self.messages = messages
        self.code = code
        noun = "validation error" if len(messages) == 1 else "validation errors"
        super().__init__(f"{len(messages)} {noun} detected: {'; '.join(messages)}")


class _Mistyped(str):
    """The message of a value of another type than its field's."""

    __slots__ = ()


def validate(operation: str, request: Mapping[str, Any], *, allow_file_uris: bool = False) -> None:
    """Raise `RequestError` with all that is wrong with `request`, values as boto3 takes them.

    `allow_file_uris` takes `file:///absolute/path` wherever the API takes an S3 URI: the local SageMaker's
    single deviation from AWS's patterns. An operation that SageMaker does not have is a `RequestError` too.
    """
    model = service_model()
    if operation not in model.operation_names:
        raise RequestError(
            (f"Unknown operation '{operation}'{_suggestion(operation, model.operation_names)}",)
        )
    shape = model.operation_model(operation).input_shape
    if shape is None:
        return
    messages = tuple(_violations(shape, request, "", allow_file_uris=allow_file_uris))
    if messages:
        mistyped = any(isinstance(message, _Mistyped) for message in messages)
        raise RequestError(messages, code="SerializationException" if mistyped else "ValidationException")


def operation_of(request: Mapping[str, Any]) -> str:
    """The operation that a request is for, from its own name field: `TrainingJobName` -> `CreateTrainingJob`.

    A request may name another resource beside its own (an endpoint names its configuration): the operation is
    the one that knows all the name fields that are there. Raises `RequestError` where none or several do.
    """
    given = [field for field in OPERATION_BY_NAME_FIELD if field in request]
    if not given:
        near = next(filter(None, (_suggestion(field, OPERATION_BY_NAME_FIELD) for field in request)), None)
        known = f"; one of these must be there: {', '.join(OPERATION_BY_NAME_FIELD)}"
        raise RequestError((f"No field names what the request makes{near or known}",))
    model = service_model()
    operations = [
        OPERATION_BY_NAME_FIELD[field]
        for field in given
        if set(given) <= set(model.operation_model(OPERATION_BY_NAME_FIELD[field]).input_shape.members)
    ]
    if len(operations) != 1:
        raise RequestError((f"The request names {' and '.join(given)}, which no single operation takes",))
    return operations[0]


@functools.cache
def service_model() -> ServiceModel:
    """The model that botocore ships of SageMaker; loading it takes about 50 ms."""
    return botocore.session.get_session().get_service_model("sagemaker")


def _violations(shape: Shape, value: Any, path: str, *, allow_file_uris: bool) -> Iterator[str]:
    mistyped = _type_violation(shape, value, path)
    if mistyped is not None:
        yield mistyped
        return
    if isinstance(shape, StructureShape):
        yield from _structure_violations(shape, value, path, allow_file_uris=allow_file_uris)
    elif isinstance(shape, ListShape):
        for constraint in _bounds(shape, len(value), "length"):
            yield violation(value, path, constraint)
        for number, item in enumerate(value, start=1):
            yield from _violations(
                shape.member, item, f"{path}.{number}.member", allow_file_uris=allow_file_uris
            )
    elif isinstance(shape, MapShape):
        yield from _map_violations(shape, value, path, allow_file_uris=allow_file_uris)
    else:
        for constraint in _scalar_constraints(shape, value, allow_file_uris=allow_file_uris):
            yield violation(value, path, constraint)
    if shape.name in RULES:
        yield from RULES[shape.name](value, path)


def _type_violation(shape: Shape, value: Any, path: str) -> str | None:
    if value is None:
        return violation(value, path or "request", NOT_NULL)
    types, name = _TYPES[shape.type_name]
    if isinstance(value, types) and (isinstance(value, bool) <= (shape.type_name == "boolean")):
        return None
    constraint = f"Member must be {name}"
    if shape.type_name == "string" and isinstance(value, bool | int | float):
        constraint += f' (in YAML, quotes make one: "{shown_value(value)}")'
    return _Mistyped(violation(value, path or "request", constraint))


def _structure_violations(
    shape: StructureShape, value: Mapping[str, Any], path: str, *, allow_file_uris: bool
) -> Iterator[str]:
    for field in shape.required_members:
        if field not in value:
            yield violation(None, field_at(path, field), NOT_NULL)
    for field, item in value.items():
        if field not in shape.members:
            where = f" at '{path}'" if path else ""
            yield f"Unknown field '{field}'{where}{_suggestion(field, shape.members)}"
        else:
            member = shape.members[field]
            yield from _violations(member, item, field_at(path, field), allow_file_uris=allow_file_uris)
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        options = ", ".join(shape.members)
        yield f"Value at '{path}' failed to satisfy constraint: exactly one of these must be given: {options}"


def _map_violations(
    shape: MapShape, value: Mapping[Any, Any], path: str, *, allow_file_uris: bool
) -> Iterator[str]:
    for constraint in _bounds(shape, len(value), "length"):
        yield violation(value, path, constraint)
    for key, item in value.items():
        mistyped = _type_violation(shape.key, key, path)
        if mistyped is not None:
            yield mistyped
            continue
        constraints = ", ".join(_scalar_constraints(shape.key, key, allow_file_uris=False))
        if constraints:
            yield violation(key, path, f"Map keys must satisfy constraint: [{constraints}]")
        if isinstance(shape.value, StructureShape | ListShape | MapShape):
            yield from _violations(shape.value, item, f"{path}.{key}.member", allow_file_uris=allow_file_uris)
            continue
        mistyped = _type_violation(shape.value, item, f"{path}.{key}")
        if mistyped is not None:
            yield mistyped
            continue
        constraints = ", ".join(_scalar_constraints(shape.value, item, allow_file_uris=allow_file_uris))
        if constraints:
            yield violation(item, f"{path}.{key}", f"Map value must satisfy constraint: [{constraints}]")


def _scalar_constraints(shape: Shape, value: Any, *, allow_file_uris: bool) -> Iterator[str]:
    """The constraints that a value of the right type breaks."""
    if shape.type_name == "string":
        enum = shape.metadata.get("enum")
        if enum and value not in enum:
            yield f"Member must satisfy enum value set: [{_listed(value, enum)}]{_suggestion(value, enum)}"
        yield from _bounds(shape, len(value), "length")
        pattern = shape.metadata.get("pattern")
        if pattern is not None:
            yield from _pattern_constraints(pattern, value, allow_file_uris=allow_file_uris)
    elif shape.type_name in {"integer", "long", "float", "double"}:
        yield from _bounds(shape, value, "value")


def _pattern_constraints(pattern: str, value: str, *, allow_file_uris: bool) -> Iterator[str]:
    if pattern.startswith(_S3_URI_PATTERN_START) and value.startswith(_FILE_URI_START):
        if not allow_file_uris:
            yield (
                f"Member must satisfy regular expression pattern: {pattern} "
                "(AWS does not see this machine's files: copy them to a bucket and give its s3:// address)"
            )
        elif regex.fullmatch(_FILE_URI_PATTERN, value) is None:
            yield "Member must be an absolute path: file:///FOLDER"
    elif _compiled(pattern).fullmatch(value) is None:
        yield f"Member must satisfy regular expression pattern: {pattern}"


@functools.cache
def _compiled(pattern: str) -> Any:
    r"""A pattern of the model, which is written for Java, in Python's terms.

    Java's `\w` and `\d` are ASCII and its `\p{L}` is not, where Python knows only all or nothing; no
    pattern of the model has both. Java reads `\uD800\uDC00` as the character that this pair of UTF-16
    units stands for.
    """
    flags = 0 if r"\p{L}" in pattern else regex.ASCII
    return regex.compile(regex.sub(r"\\u(D[89AB]..)\\u(D[C-F]..)", _surrogate_pair, pattern), flags)


def _surrogate_pair(match: Any) -> str:
    high, low = (int(unit, 16) for unit in match.groups())
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def _bounds(shape: Shape, size: Any, noun: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    # Negated, so that a NaN, which compares with nothing, is out of bounds.
    if low is not None and not size >= low:
        yield f"Member must have {noun} greater than or equal to {low}"
    if high is not None and not size <= high:
        yield f"Member must have {noun} less than or equal to {high}"


def _listed(value: str, enum: Sequence[str]) -> str:
    """The members of an enum, or of a long one (there are 250 instance types) those near to the value."""
    if len(enum) <= _LISTED_MEMBERS:
        return ", ".join(enum)
    near = difflib.get_close_matches(value, enum, n=_LISTED_MEMBERS // 2, cutoff=0) or list(enum)[:5]
    return f"{', '.join(near)}, ... ({len(enum)} in all)"


def _suggestion(name: Any, known: Any) -> str:
    """`; did you mean 'X'?` where a known name is near, whatever its letter case."""
    by_folded = {item.lower(): item for item in known}
    folded = str(name).lower()
    near = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.7) or [
        item for item in by_folded if len(folded) >= 4 and item.startswith(folded)
    ]
    return f"; did you mean '{by_folded[near[0]]}'?" if near else ""
