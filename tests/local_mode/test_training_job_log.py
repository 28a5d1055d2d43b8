"""Lines and metrics: from the bytes of a host to events and values."""

import time

import pytest

from local_mode.training_jobs.lines import MAX_EVENT_BYTES, LineSplitter
from local_mode.training_jobs.metrics import MetricScanner


def split(*chunks: bytes) -> list[tuple[str, bool]]:
    splitter = LineSplitter()
    return [piece for chunk in chunks for piece in splitter.feed(chunk)] + list(splitter.close())


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((b"one\ntwo\n",), ["one", "two"]),
        ((b"on", b"e\nt", b"wo"), ["one", "two"]),
        (
            (
                b"a\r\nb\r",
                b"\nc\rd\n",
            ),
            ["a", "b", "c", "d"],
        ),
        ((b"a\r", b"b\n"), ["a", "b"]),
        ((b"a\n\nb\n",), ["a", "", "b"]),
        ((b"caf\xc3", b"\xa9\n"), ["café"]),
        ((b"bad \xff\xfe byte\n",), ["bad \ufffd\ufffd byte"]),
        ((b"cut \xc3",), ["cut \ufffd"]),
        ((b"",), []),
    ],
)
def test_lines_are_whole_whatever_the_pieces(chunks: tuple[bytes, ...], lines: list[str]) -> None:
    """Newlines, carriage returns and both end a line; bytes that are no UTF-8 are marked, not lost."""
    assert split(*chunks) == [(line, True) for line in lines]


def test_a_long_line_becomes_several_events() -> None:
    """No event is over CloudWatch's limit, no character is cut, and only the last piece ends the line."""
    line = "é" * MAX_EVENT_BYTES
    for chunks in ([f"{line}\n".encode()], [f"{line}\n".encode()[i : i + 7] for i in range(0, 2000, 7)]):
        pieces = split(*chunks)
        assert all(len(text.encode()) <= MAX_EVENT_BYTES for text, _ in pieces)
        assert "".join(text for text, _ in pieces) == b"".join(chunks).decode(errors="replace").rstrip("\n")
        assert [ends for _, ends in pieces] == [False] * (len(pieces) - 1) + [True]


def test_a_line_may_come_byte_by_byte() -> None:
    """Half a megabyte without a newline, a byte at a time, costs seconds at most, and no byte."""
    splitter, started = LineSplitter(), time.monotonic()
    pieces = [piece for _ in range(500_000) for piece in splitter.feed(b"x")] + list(splitter.close())
    assert [len(text) for text, _ in pieces] == [MAX_EVENT_BYTES, 500_000 - MAX_EVENT_BYTES]
    assert time.monotonic() - started < 30


def scan(definition: str, *lines: str) -> tuple[list[float], list[str]]:
    scanner = MetricScanner([{"Name": "m", "Regex": definition}])
    values = [value.value for line in lines for value in scanner.feed(line, ends_line=True, time=1)]
    return values, scanner.notes


def test_the_value_is_the_capture_group() -> None:
    """A match's first group that took part is the value; a line without a match gives none."""
    assert scan(r"loss[:=] ?([-+.0-9e]+)", "loss=1.5e-3", "nothing", "x loss: 2") == ([0.0015, 2.0], [])
    assert scan(r"(?:a=(\d+)|b=(\d+))", "b=7") == ([7.0], [])


def test_a_metric_is_searched_in_the_whole_line() -> None:
    """A line that arrives as several events is one line for the metrics."""
    scanner = MetricScanner([{"Name": "m", "Regex": r"acc=([0-9.]+)$"}])
    assert scanner.feed("acc=0.", ends_line=False, time=1) == []
    assert [value.value for value in scanner.feed("75", ends_line=True, time=2)] == [0.75]


@pytest.mark.parametrize(
    ("line", "reason"), [("m=nan", "finite"), ("m=inf", "finite"), ("m=1.2.3", "no number")]
)
def test_what_is_no_finite_number_is_said_once(line: str, reason: str) -> None:
    """A captured text that gives no value is left out, and the log says so once."""
    values, notes = scan(r"m=(\S+)", line, line)
    assert values == []
    assert len(notes) == 1
    assert reason in notes[0]


def test_a_pattern_that_backtracks_for_ever_is_given_up() -> None:
    """One bad regular expression costs a second, not the service."""
    values, notes = scan(r"(x+x+)+y(1)", "x" * 5000, "x" * 5000)
    assert values == []
    assert len(notes) == 1
    assert "took over 1 s" in notes[0]
