"""The properties of a training job that Search knows: by name, each with its type and its values.

Source: API reference, Filter and SearchRecord.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.utils import parse_timestamp

from jobs.validation import service_model
from local_mode.errors import ValidationException

TEXT, NUMBER, TIME, FLAG, OBJECT = "text", "number", "timestamp", "boolean", "object"
HYPERPARAMETER = "hyperparameter"  # a text that may be a number
_TYPES: Mapping[str, str] = {
    "string": TEXT,
    "boolean": FLAG,
    "timestamp": TIME,
    **dict.fromkeys(("integer", "long", "float", "double"), NUMBER),
}

Record = Mapping[str, Any]  # a TrainingJob of SageMaker's model, as boto3 has it


@dataclass(frozen=True, kw_only=True)
class Property:
    """One property: how to take its values from a record; several where a list lies on the way."""

    name: str
    kind: str
    values: Callable[[Record], Iterator[Any]]

    @classmethod
    def named(cls, name: str) -> "Property":
        """Raises ValidationException for a name that no training job has."""
        for prefix, (kind, take) in _KEYED.items():
            if name.startswith(prefix) and name != prefix:
                return cls(name=name, kind=kind, values=_at(take, name.removeprefix(prefix)))
        steps = name.split(".")
        shape = _below(_record_shape(), steps, name)
        kind = _TYPES.get(shape.type_name, OBJECT)
        return cls(name=name, kind=kind, values=lambda record: _walk(record, steps))

    def parse(self, text: str) -> Any:
        """A filter's Value as this property's values are. Raises ValidationException."""
        try:
            if self.kind == NUMBER:
                return float(text)
            if self.kind == TIME:
                moment = parse_timestamp(text)
                return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        except ValueError:
            form = "a number" if self.kind == NUMBER else "an ISO 8601 time"
            raise ValidationException(f"Search: the Value {text!r} of {self.name} must be {form}") from None
        return text

    def key(self, record: Record) -> str | float | None:
        """What records are sorted by; None where the record has no such property."""
        value = next(self.values(record), None)
        if isinstance(value, datetime):
            return value.timestamp()
        return float(value) if self.kind == NUMBER and value is not None else value


def is_list(name: str) -> bool:
    """Whether a property is a list of objects, as NestedFilters want it. Raises ValidationException."""
    shape: Shape = _record_shape()
    steps = name.split(".")
    _below(shape, steps, name)
    for step in steps:
        shape = shape.member if isinstance(shape, ListShape) else shape
        shape = shape.members[step]
    return isinstance(shape, ListShape) and isinstance(shape.member, StructureShape)


def objects(record: Record, name: str) -> Iterator[Record]:
    """The objects of a property that `is_list`, each as a record with nothing else in it."""
    steps = name.split(".")
    for found in _walk(record, steps):
        alone: Any = found
        for step in reversed(steps):
            alone = {step: alone}
        yield alone


def _record_shape() -> StructureShape:
    shape = service_model().shape_for("TrainingJob")
    assert isinstance(shape, StructureShape)
    return shape


def _below(shape: Shape, steps: list[str], name: str) -> Shape:
    for step in steps:
        inner = shape.member if isinstance(shape, ListShape) else shape
        if not isinstance(inner, StructureShape) or step not in inner.members:
            raise ValidationException(f"Search: a TrainingJob has no property {name!r}")
        shape = inner.members[step]
    if isinstance(shape, MapShape):
        return shape
    return shape.member if isinstance(shape, ListShape) else shape


def _walk(value: Any, steps: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, steps)
    elif not steps:
        yield str(value).lower() if isinstance(value, bool) else value
    elif isinstance(value, Mapping) and steps[0] in value:
        yield from _walk(value[steps[0]], steps[1:])


def _at(take: Callable[[Record, str], Iterator[Any]], key: str) -> Callable[[Record], Iterator[Any]]:
    return lambda record: take(record, key)


def _metric(record: Record, key: str) -> Iterator[Any]:
    return (each["Value"] for each in record.get("FinalMetricDataList", ()) if each["MetricName"] == key)


def _tag(record: Record, key: str) -> Iterator[Any]:
    return (tag["Value"] for tag in record["Tags"] if tag["Key"] == key)


def _hyperparameter(record: Record, key: str) -> Iterator[Any]:
    found = record.get("HyperParameters", {})
    if key in found:
        yield found[key]


# A name's beginning, before a key of the user's own: the property's type, and how to find its values.
_KEYED: Mapping[str, tuple[str, Callable[[Record, str], Iterator[Any]]]] = {
    "Metrics.": (NUMBER, _metric),
    "Tags.": (TEXT, _tag),
    "HyperParameters.": (HYPERPARAMETER, _hyperparameter),
}
