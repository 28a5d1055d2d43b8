"""CloudWatch Logs from disk: paging, tokens, filters, restarts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_mode.logs import LogEvent, LogStore
from local_mode.service import Service

GROUP = "/aws/sagemaker/TestJobs"


@pytest.fixture(scope="module", autouse=True)
def filled(service: Service) -> None:
    """Two streams whose events alternate in time, and one without matching text."""
    for host in (1, 2):
        events = [LogEvent(timestamp=1000 + 10 * n + host, message=f"line {n} of {host}") for n in range(50)]
        service.logs.append(GROUP, f"job/algo-{host}", events)
    service.logs.append(GROUP, "other/algo-1", [LogEvent(timestamp=1, message="ERROR: it broke")])


@pytest.fixture
def logs(aws: Callable[[str], Any]) -> Any:
    return aws("logs")


def test_forward_to_the_end(logs: Any, service: Service) -> None:
    """Forward tokens give every event once; at the end the same token comes back, and later events follow."""
    stream = {"logGroupName": GROUP, "logStreamName": "growing/algo-1"}
    add = [LogEvent(timestamp=n, message=str(n)) for n in range(1, 26)]
    service.logs.append(GROUP, stream["logStreamName"], add)
    messages: list[str] = []
    page = logs.get_log_events(**stream, startFromHead=True, limit=10)
    while page["events"]:
        messages += [event["message"] for event in page["events"]]
        token = page["nextForwardToken"]
        page = logs.get_log_events(**stream, nextToken=token, limit=10)
    assert page["nextForwardToken"] == token
    assert messages == [str(n) for n in range(1, 26)]
    service.logs.append(GROUP, stream["logStreamName"], [LogEvent(timestamp=99, message="late")])
    page = logs.get_log_events(**stream, nextToken=token)
    assert [event["message"] for event in page["events"]] == ["late"]


def test_backward_to_the_beginning(logs: Any) -> None:
    """Without startFromHead the latest events come first; backward tokens lead to the first event."""
    stream = {"logGroupName": GROUP, "logStreamName": "job/algo-1"}
    page = logs.get_log_events(**stream, limit=20)
    assert [event["message"] for event in page["events"]] == [f"line {n} of 1" for n in range(30, 50)]
    page = logs.get_log_events(**stream, nextToken=page["nextBackwardToken"], limit=20)
    assert [event["message"] for event in page["events"]] == [f"line {n} of 1" for n in range(10, 30)]
    page = logs.get_log_events(**stream, nextToken=page["nextBackwardToken"], limit=20)
    assert len(page["events"]) == 10
    token = page["nextBackwardToken"]
    page = logs.get_log_events(**stream, nextToken=token, limit=20)
    assert (page["events"], page["nextBackwardToken"]) == ([], token)


def test_time_range(logs: Any) -> None:
    """The startTime is inclusive, the endTime is not."""
    page = logs.get_log_events(
        logGroupName=GROUP, logStreamName="job/algo-1", startTime=1011, endTime=1031, startFromHead=True
    )
    assert [event["timestamp"] for event in page["events"]] == [1011, 1021]


def test_a_page_is_a_megabyte(logs: Any, service: Service) -> None:
    """A reply holds at most 1 MiB, and the token goes on from there."""
    events = [LogEvent(timestamp=n, message="x" * 200_000) for n in range(8)]
    service.logs.append(GROUP, "wide", events)
    page = logs.get_log_events(logGroupName=GROUP, logStreamName="wide", startFromHead=True)
    rest = logs.get_log_events(logGroupName=GROUP, logStreamName="wide", nextToken=page["nextForwardToken"])
    assert [event["timestamp"] for event in page["events"] + rest["events"]] == list(range(8))
    assert len(page["events"]) == 5


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("", lambda _: True),
        ("of", lambda _: True),
        ('"line 7 of"', lambda message: "line 7 of" in message),
        ("line -2", lambda message: "2" not in message),
        ("?1 ?4", lambda message: "1" in message or "4" in message),
        ("%line [0-3] of 2%", lambda message: message in {f"line {n} of 2" for n in range(4)}),
        ("none", lambda _: False),
    ],
)
def test_filter(logs: Any, pattern: str, matches: Callable[[str], bool]) -> None:
    """Text patterns choose events over all streams of a prefix, in order of time, in pages."""
    found: list[dict[str, Any]] = []
    arguments: dict[str, Any] = {"logGroupName": GROUP, "logStreamNamePrefix": "job/", "limit": 7}
    while True:
        page = logs.filter_log_events(**arguments, filterPattern=pattern)
        found += page["events"]
        if "nextToken" not in page:
            break
        arguments["nextToken"] = page["nextToken"]
    lines = [f"line {n} of {host}" for n in range(50) for host in (1, 2)]
    assert [event["message"] for event in found] == [line for line in lines if matches(line)]
    assert [event["timestamp"] for event in found] == sorted(event["timestamp"] for event in found)
    assert len({event["eventId"] for event in found}) == len(found)


def test_names(logs: Any) -> None:
    """Groups and streams are listed by prefix, in pages, with the times of their events."""
    assert GROUP in [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    pages = logs.get_paginator("describe_log_streams").paginate(
        logGroupName=GROUP, logStreamNamePrefix="job/", PaginationConfig={"PageSize": 1}
    )
    streams = [stream for page in pages for stream in page["logStreams"]]
    assert [stream["logStreamName"] for stream in streams] == ["job/algo-1", "job/algo-2"]
    assert (streams[0]["firstEventTimestamp"], streams[0]["lastEventTimestamp"]) == (1001, 1491)


@pytest.mark.parametrize(
    ("operation", "arguments", "code"),
    [
        ("get_log_events", {"logStreamName": "none"}, "ResourceNotFoundException"),
        ("get_log_events", {"logStreamName": "job/algo-1", "nextToken": "f/1"}, "InvalidParameterException"),
        ("filter_log_events", {"filterPattern": "{ $.a = 1 }"}, "InvalidParameterException"),
        ("filter_log_events", {"filterPattern": "%[%"}, "InvalidParameterException"),
        ("filter_log_events", {"nextToken": "no"}, "InvalidParameterException"),
        ("create_log_stream", {"logStreamName": "s"}, "UnknownOperationException"),
    ],
)
def test_refusals(logs: Any, operation: str, arguments: dict[str, Any], code: str) -> None:
    """What is wrong or not emulated has AWS's code."""
    with pytest.raises(ClientError) as caught:
        getattr(logs, operation)(logGroupName=GROUP, **arguments)
    assert caught.value.response["Error"]["Code"] == code


def test_streams_survive(tmp_path: Path) -> None:
    """A new store reads what the old one wrote, drops a line cut off by a kill, and goes on."""
    store = LogStore(tmp_path)
    store.append("g/h", "s/t", [LogEvent(timestamp=1, message="one\ntwo ü \ud83d")])
    [path] = tmp_path.glob("*/*.jsonl")
    with path.open("ab") as file:
        file.write(b'[2, 2, "cut of')
    again = LogStore(tmp_path)
    assert [event.message for event in again.stream("g/h", "s/t").events(0, 9)] == ["one\ntwo ü \ud83d"]
    again.append("g/h", "s/t", [LogEvent(timestamp=3, message="three")])
    messages = [event.message for event in LogStore(tmp_path).stream("g/h", "s/t").events(0, 9)]
    assert messages[1:] == ["three"]


def test_long_names(tmp_path: Path) -> None:
    """Names longer than a file's, and names that are paths, are kept apart."""
    store = LogStore(tmp_path)
    for name in ("x" * 500, "x" * 501, "..", ".", "a/b", "a%2Fb"):
        store.append("g" * 500, name, [LogEvent(timestamp=1, message=name)])
    again = LogStore(tmp_path)
    assert len(again.streams("g" * 500)) == 6
    for stream in again.streams("g" * 500):
        assert stream.event(0).message == stream.name
