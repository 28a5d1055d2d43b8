"""The read side of the CloudWatch Logs API, from a LogStore.

Paging tokens say places in the streams and stay valid while events are added.
"""

import base64
import binascii
import heapq
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from local_mode.errors import ServiceError
from local_mode.logs import LogStore, LogStream, StoredEvent

_PAGE_EVENTS = 10_000  # the API's default and maximum
_PAGE_BYTES = 1 << 20  # of messages; AWS counts 26 bytes more per event
_EVENT_BYTES = 26
_PAGE_NAMES = 50
# A token of GetLogEvents as AWS writes it: direction, 56 digits, "/s".
_TOKEN = re.compile(r"([fb])/(\d{56})/s")


class LogsService(Protocol):
    """What these operations need of the service."""

    @property
    def logs(self) -> LogStore: ...
    @property
    def region(self) -> str: ...
    @property
    def account(self) -> str: ...


def describe_log_groups(service: LogsService, request: dict[str, Any]) -> dict[str, Any]:
    prefix, pattern = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
    names = [
        name for name in service.logs.groups() if name.startswith(prefix) and pattern.lower() in name.lower()
    ]
    page, token = _names_page(names, request)
    groups = []
    for name in page:
        streams = service.logs.streams(name)
        arn = _group_arn(service, name)
        groups.append(
            {
                "logGroupName": name,
                "creationTime": min(stream.created for stream in streams),
                "metricFilterCount": 0,
                "arn": f"{arn}:*",
                "logGroupArn": arn,
                "storedBytes": sum(stream.size for stream in streams),
                "logGroupClass": "STANDARD",
            }
        )
    return {"logGroups": groups, **token}


def describe_log_streams(service: LogsService, request: dict[str, Any]) -> dict[str, Any]:
    group = _group_name(request)
    prefix = request.get("logStreamNamePrefix", "")
    by_time = request.get("orderBy") == "LastEventTime"
    if by_time and prefix:
        raise _invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
    streams = {
        stream.name: stream for stream in service.logs.streams(group) if stream.name.startswith(prefix)
    }
    names = sorted(streams, key=(lambda name: (_last_time(streams[name]), name)) if by_time else None)
    if request.get("descending", False):
        names.reverse()
    page, token = _names_page(names, request)
    return {"logStreams": [_stream_document(service, streams[name]) for name in page], **token}


def get_log_events(service: LogsService, request: dict[str, Any]) -> dict[str, Any]:
    """A page of one stream, and tokens for the pages on both sides.

    As with AWS the end of the stream is where a call returns the token that it was given.
    """
    stream = service.logs.stream(_group_name(request), request["logStreamName"])
    limit = request.get("limit", _PAGE_EVENTS)
    wanted = _time_range(request)
    count = len(stream)
    token = request.get("nextToken")
    if token is None:
        forward = request.get("startFromHead", False)
        place = 0 if forward else count
    else:
        match = _TOKEN.fullmatch(token)
        if match is None or int(match[2]) > count:
            raise _invalid("The specified nextToken is invalid.")
        forward, place = match[1] == "f", int(match[2])
    page = _take(filter(wanted, stream.events(place, count) if forward else _backwards(stream, place)), limit)
    if not forward:
        page.reverse()
    first, behind = (page[0].index, page[-1].index + 1) if page else (place, place)
    return {
        "events": [_event_document(event) for event in page],
        "nextForwardToken": f"f/{behind:056d}/s",
        "nextBackwardToken": f"b/{first:056d}/s",
    }


def filter_log_events(service: LogsService, request: dict[str, Any]) -> dict[str, Any]:
    """Events of several streams of a group by time; text patterns only, JSON ones are refused."""
    group = _group_name(request)
    names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
    if names is not None and prefix is not None:
        raise _invalid("logStreamNames and logStreamNamePrefix exclude each other.")
    if names is not None:
        streams = [service.logs.stream(group, name) for name in dict.fromkeys(names)]
    else:
        streams = [s for s in service.logs.streams(group) if s.name.startswith(prefix or "")]
    places = _read_places(request.get("nextToken"))
    in_time, matches = _time_range(request), _pattern(request.get("filterPattern", ""))
    merged = heapq.merge(
        *(_named_events(stream, places.get(stream.name, 0)) for stream in streams),
        key=lambda item: item[1].timestamp,
    )
    limit = request.get("limit", _PAGE_EVENTS)
    documents: list[dict[str, Any]] = []
    size = 0
    more = False
    for name, event in merged:
        if in_time(event) and matches(event.message):
            size += len(event.message.encode()) + _EVENT_BYTES
            if len(documents) == limit or (documents and size > _PAGE_BYTES):
                more = True
                break
            documents.append(
                {"logStreamName": name, **_event_document(event), "eventId": f"{name}:{event.index}"}
            )
        places[name] = event.index + 1
    return {"events": documents, **({"nextToken": _write_token(places)} if more else {})}


OPERATIONS: Mapping[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "DescribeLogGroups": describe_log_groups,
    "DescribeLogStreams": describe_log_streams,
    "FilterLogEvents": filter_log_events,
    "GetLogEvents": get_log_events,
}

# Members that change nothing here, because there is one account and no field that is masked, and every
# stream is interleaved.
HARMLESS = {"includeLinkedAccounts", "interleaved", "unmask"}
DONE: Mapping[str, set[str]] = {
    "DescribeLogGroups": {"logGroupNamePrefix", "logGroupNamePattern", "nextToken", "limit"},
    "DescribeLogStreams": {
        *("logGroupName", "logGroupIdentifier", "logStreamNamePrefix", "orderBy"),
        *("descending", "nextToken", "limit"),
    },
    "FilterLogEvents": {
        *("logGroupName", "logGroupIdentifier", "logStreamNames", "logStreamNamePrefix"),
        *("startTime", "endTime", "filterPattern", "nextToken", "limit"),
    },
    "GetLogEvents": {
        *("logGroupName", "logGroupIdentifier", "logStreamName", "startTime", "endTime"),
        *("nextToken", "limit", "startFromHead"),
    },
}


def check_members(operation: str, request: Mapping[str, Any]) -> None:
    """Raises ServiceError for a member that is neither acted on nor harmless."""
    for member in request.keys() - DONE.get(operation, set()) - HARMLESS:
        raise _invalid(f"{member} of {operation} is not emulated by the local SageMaker")


@dataclass(frozen=True)
class _TimeRange:
    start: int  # ms, inclusive
    end: float  # ms, exclusive

    def __call__(self, event: StoredEvent) -> bool:
        return self.start <= event.timestamp < self.end


def _time_range(request: Mapping[str, Any]) -> _TimeRange:
    return _TimeRange(request.get("startTime", 0), request.get("endTime", float("inf")))


def _group_name(request: Mapping[str, Any]) -> str:
    """The group by name or by ARN (`...:log-group:NAME`)."""
    name, identifier = request.get("logGroupName"), request.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise _invalid("Give one of logGroupName and logGroupIdentifier.")
    return str(name if name is not None else str(identifier).rpartition(":log-group:")[2])


def _group_arn(service: LogsService, group: str) -> str:
    return f"arn:aws:logs:{service.region}:{service.account}:log-group:{group}"


def _stream_document(service: LogsService, stream: LogStream) -> dict[str, Any]:
    document = {
        "logStreamName": stream.name,
        "creationTime": stream.created,
        "uploadSequenceToken": f"{len(stream):056d}",
        "arn": f"{_group_arn(service, stream.group)}:log-stream:{stream.name}",
        "storedBytes": 0,  # AWS has said 0 for streams since 2019, and so for groups only
    }
    if len(stream):
        last = stream.event(len(stream) - 1)
        document |= {
            "firstEventTimestamp": stream.event(0).timestamp,
            "lastEventTimestamp": last.timestamp,
            "lastIngestionTime": last.ingestion,
        }
    return document


def _event_document(event: StoredEvent) -> dict[str, Any]:
    return {"timestamp": event.timestamp, "message": event.message, "ingestionTime": event.ingestion}


def _last_time(stream: LogStream) -> int:
    return stream.event(len(stream) - 1).timestamp if len(stream) else 0


def _take(events: Iterator[StoredEvent], limit: int) -> list[StoredEvent]:
    """As many as one reply holds, at least one where there is any."""
    page: list[StoredEvent] = []
    size = 0
    for event in itertools.islice(events, limit):
        size += len(event.message.encode()) + _EVENT_BYTES
        if page and size > _PAGE_BYTES:
            break
        page.append(event)
    return page


def _backwards(stream: LogStream, stop: int) -> Iterator[StoredEvent]:
    """The events before `stop`, the latest first, read in blocks."""
    while stop > 0:
        start = max(0, stop - 1000)
        yield from reversed(list(stream.events(start, stop)))
        stop = start


def _named_events(stream: LogStream, start: int) -> Iterator[tuple[str, StoredEvent]]:
    return ((stream.name, event) for event in stream.events(start, len(stream)))


def _names_page(names: list[str], request: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """One page of a sorted list; its token is the last name that was given."""
    token = request.get("nextToken")
    if token is not None:
        last = _read_token(token)
        if last not in names:
            raise _invalid("The specified nextToken is invalid.")
        names = names[names.index(last) + 1 :]
    limit = request.get("limit", _PAGE_NAMES)
    page = names[:limit]
    return page, ({"nextToken": _write_token(page[-1])} if len(names) > limit else {})


def _write_token(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def _read_token(token: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error):
        raise _invalid("The specified nextToken is invalid.") from None


def _read_places(token: str | None) -> dict[str, int]:
    """Where to go on in each stream."""
    places = {} if token is None else _read_token(token)
    if not isinstance(places, dict) or not all(isinstance(v, int) and v >= 0 for v in places.values()):
        raise _invalid("The specified nextToken is invalid.")
    return places


def _pattern(text: str) -> Callable[[str], bool]:
    """AWS's filter pattern for unstructured lines: `a "b c"` all, `?a ?b` any, `-a` none, `%regex%`.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    """
    text = text.strip()
    if text.startswith(("{", "[")):
        raise _invalid("filterPattern: JSON and space-delimited patterns are not emulated; use text terms")
    if len(text) > 1 and text.startswith("%") and text.endswith("%"):
        try:
            expression = re.compile(text[1:-1])
        except re.error as error:
            raise _invalid(f"filterPattern: {error}") from None
        return lambda message: expression.search(message) is not None
    try:
        terms = shlex.split(text)
    except ValueError as error:
        raise _invalid(f"filterPattern: {error}") from None
    some = [term[1:] for term in terms if term.startswith("?")]
    none = [term[1:] for term in terms if term.startswith("-")]
    every = [term for term in terms if not term.startswith(("?", "-"))]

    def matches(message: str) -> bool:
        return (
            (not some or any(term in message for term in some))
            and not any(term in message for term in none)
            and all(term in message for term in every)
        )

    return matches


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)
