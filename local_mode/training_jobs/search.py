"""Search, for training jobs: filters, nested filters and expressions of them.

Source: API reference, Search, SearchExpression, Filter and NestedFilters.
"""

import base64
import binascii
import json
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from jobs.validation import service_model
from local_mode.errors import ValidationException
from local_mode.service import Service
from local_mode.training_jobs import properties
from local_mode.training_jobs.operations import describe
from local_mode.training_jobs.properties import Property, Record

_DEFAULT_MAX_RESULTS = 10
_DEFAULT_SORT = "LastModifiedTime"
_MAX_PARTS = 50  # filters, nested filters and expressions, over all depths
_MAX_CONTAINS = 1

Condition = Callable[[Record], bool]

_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_TEXT_ONLY = ("Contains", "In")
_OF_PRESENCE = ("Exists", "NotExists")


def search(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """A page of the records that satisfy the expression; those without the property to sort by come last."""
    condition = _condition(request.get("SearchExpression"))
    sort = Property.named(request.get("SortBy", _DEFAULT_SORT))
    if sort.kind == properties.OBJECT:
        raise ValidationException(f"Search: SortBy {sort.name} is no single value")
    order = request.get("SortOrder", "Descending")
    found = [record for record in _records(service) if condition(record)]
    with_key = sorted(
        (record for record in found if sort.key(record) is not None),
        key=lambda record: _place(sort, record),
        reverse=order == "Descending",
    )
    without = sorted(
        (record for record in found if sort.key(record) is None), key=lambda record: _place(sort, record)
    )
    ordered = [*with_key, *without]
    begin = 0
    if "NextToken" in request:
        last = _read_token(request["NextToken"], sort.name, order)
        begin = sum(_comes_by(_place(sort, record), last, order) for record in ordered)
    page = ordered[begin : begin + request.get("MaxResults", _DEFAULT_MAX_RESULTS)]
    reply: dict[str, Any] = {
        "Results": [{"TrainingJob": record} for record in page],
        "TotalHits": {"Value": len(found), "Relation": "EqualTo"},
    }
    if begin + len(page) < len(ordered):
        reply["NextToken"] = _write_token(sort.name, order, _place(sort, page[-1]))
    return reply


OPERATIONS: Mapping[str, Callable[[Service, dict[str, Any]], dict[str, Any]]] = {"Search": search}


def _records(service: Service) -> Iterator[Record]:
    store = service.jobs.store
    for job in store.all():
        described = {name: value for name, value in describe(job, store).items() if name in _record_fields()}
        tags = [{"Key": key, "Value": value} for key, value in store.tags(job.arn).items()]
        yield {**described, "Tags": tags}


def _condition(expression: Mapping[str, Any] | None) -> Condition:
    """Raises ValidationException for an expression that means nothing."""
    if expression is None:
        return lambda _record: True
    parts = list(_parts(expression))
    if len(parts) > _MAX_PARTS:
        raise ValidationException(f"Search: SearchExpression has {len(parts)} parts, of at most {_MAX_PARTS}")
    contains = sum(part.get("Operator") == "Contains" for part in parts)
    if contains > _MAX_CONTAINS:
        raise ValidationException(
            f"Search: 'CONTAINS' operator usage limit of {_MAX_CONTAINS} exceeded: {contains}"
        )
    return _expression(expression)


def _parts(expression: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from expression.get("Filters", ())
    for nested in expression.get("NestedFilters", ()):
        yield nested
        yield from nested["Filters"]
    for inner in expression.get("SubExpressions", ()):
        yield {}
        yield from _parts(inner)


def _expression(expression: Mapping[str, Any]) -> Condition:
    conditions = [
        *map(_filter, expression.get("Filters", ())),
        *map(_nested, expression.get("NestedFilters", ())),
        *map(_expression, expression.get("SubExpressions", ())),
    ]
    if not conditions:
        raise ValidationException(
            "Search: SearchExpression must have at least one of Filters, NestedFilters and SubExpressions"
        )
    combine = any if expression.get("Operator") == "Or" else all
    return lambda record: combine(condition(record) for condition in conditions)


def _nested(nested: Mapping[str, Any]) -> Condition:
    """One single object of a list satisfies all filters."""
    name = nested["NestedPropertyName"]
    if not properties.is_list(name):
        raise ValidationException(f"Search: NestedPropertyName {name} is no list of objects")
    outside = [each["Name"] for each in nested["Filters"] if not each["Name"].startswith(f"{name}.")]
    if outside:
        raise ValidationException(f"Search: {outside[0]} is no property below {name}")
    conditions = [_filter(each) for each in nested["Filters"]]
    return lambda record: any(
        all(condition(alone) for condition in conditions) for alone in properties.objects(record, name)
    )


def _filter(filter_: Mapping[str, Any]) -> Condition:
    """Where a property has several values, one that satisfies the filter is enough."""
    wanted = Property.named(filter_["Name"])
    verb, text = filter_.get("Operator", "Equals"), filter_.get("Value")
    if verb in _OF_PRESENCE:
        present = verb == "Exists"
        return lambda record: any(True for _ in wanted.values(record)) is present
    if text is None:
        raise ValidationException(f"Search: {verb} of {wanted.name} needs a Value")
    if wanted.kind == properties.OBJECT:
        raise ValidationException(
            f"Search: {verb} of {wanted.name}: it is no single value; name one below it"
        )
    if verb in _ORDERED:
        return _ordered(wanted, verb, text)
    if verb in _TEXT_ONLY and wanted.kind not in {properties.TEXT, properties.HYPERPARAMETER}:
        raise ValidationException(f"Search: {verb} is not supported for {wanted.name}, a {wanted.kind}")
    if verb == "In":
        choices = [choice.strip() for choice in text.split(",")]
        return lambda record: any(value in choices for value in wanted.values(record))
    if verb == "Contains":
        return lambda record: any(text in value for value in wanted.values(record))
    value = wanted.parse(text)
    equal = verb == "Equals"
    return lambda record: any(found == value for found in wanted.values(record)) is equal


def _ordered(wanted: Property, verb: str, text: str) -> Condition:
    compare = _ORDERED[verb]
    if wanted.kind == properties.HYPERPARAMETER:
        limit = _number(text)
        if limit is None:
            raise ValidationException(f"Search: {verb} of {wanted.name}: the Value {text!r} is no number")
        # Against an integer a decimal counts as one.
        whole = "." not in text and "e" not in text.lower()
        return lambda record: any(
            compare(int(number) if whole else number, limit)
            for number in map(_number, wanted.values(record))
            if number is not None
        )
    if wanted.kind not in {properties.NUMBER, properties.TIME}:
        raise ValidationException(f"Search: {verb} is not supported for {wanted.name}, a {wanted.kind}")
    limit = wanted.parse(text)
    return lambda record: any(compare(value, limit) for value in wanted.values(record))


def _number(text: str) -> float | None:
    """A finite number; None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


Place = tuple[str | float | None, str]  # what is sorted by, and the job's name


def _place(sort: Property, record: Record) -> Place:
    return sort.key(record), record["TrainingJobName"]


def _comes_by(place: Place, last: Place, order: str) -> bool:
    """Whether a record is on the pages up to the one that `last` ended."""
    (key, name), (last_key, last_name) = place, last
    if key is None:
        return last_key is None and name <= last_name
    if last_key is None:
        return True
    return place <= last if order == "Ascending" else place >= last


def _write_token(sort_by: str, order: str, place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort_by, order, *place]).encode()).decode()


def _read_token(token: str, sort_by: str, order: str) -> Place:
    try:
        named, ordered, key, name = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, UnicodeError, ValueError, TypeError):
        raise ValidationException("NextToken: this is none of the tokens that Search gave") from None
    if [named, ordered] != [sort_by, order]:
        raise ValidationException("NextToken: it belongs to a search with another SortBy or SortOrder")
    return key, str(name)


@cache
def _record_fields() -> frozenset[str]:
    return frozenset(service_model().shape_for("TrainingJob").members)
