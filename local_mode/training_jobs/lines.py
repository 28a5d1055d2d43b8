"""From the bytes that a host prints to the events of its log stream."""

import codecs
import re
from collections.abc import Iterator

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
MAX_EVENT_BYTES = 256 * 1024

# A carriage return ends a line too: a progress bar is then a line a step, and its last state is whole.
_LINE_END = re.compile(r"\r\n|\n|\r")


class LineSplitter:
    """Joins what arrives in pieces to lines; yields (text, whether it ends its line).

    Bytes that are no UTF-8 become U+FFFD. A line over MAX_EVENT_BYTES comes as several texts.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # The unfinished line, in the pieces in which it came: to join them each time would take a line
        # that comes byte by byte minutes.
        self._pieces: list[str] = []
        self._size = 0  # of the pieces, in bytes of UTF-8
        self._after_return = False  # the last piece ended in \r: a \n that follows belongs to it

    def feed(self, chunk: bytes) -> Iterator[tuple[str, bool]]:
        yield from self._split(self._decoder.decode(chunk))

    def close(self) -> Iterator[tuple[str, bool]]:
        """What is left when the output ends: a last line without its newline."""
        yield from self._split(self._decoder.decode(b"", final=True))
        if self._size:
            yield from _events(self._take(""), ends_line=True)

    def _split(self, text: str) -> Iterator[tuple[str, bool]]:
        if not text:
            return
        if self._after_return and text.startswith("\n"):
            text = text[1:]
        self._after_return = text.endswith("\r") if text else False
        *lines, rest = _LINE_END.split(text)
        for line in lines:
            yield from _events(self._take(line), ends_line=True)
        self._keep(rest)
        if self._size > MAX_EVENT_BYTES:
            rest = self._take("")
            while len(rest.encode()) > MAX_EVENT_BYTES:
                head, rest = _cut(rest)
                yield head, False
            self._keep(rest)

    def _keep(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self._size += len(text.encode())

    def _take(self, end: str) -> str:
        if not self._pieces:
            return end
        line = "".join(self._pieces) + end
        self._pieces.clear()
        self._size = 0
        return line


def _events(line: str, *, ends_line: bool) -> Iterator[tuple[str, bool]]:
    while len(line) * 4 > MAX_EVENT_BYTES and len(line.encode()) > MAX_EVENT_BYTES:
        head, line = _cut(line)
        yield head, False
    yield line, ends_line


def _cut(text: str) -> tuple[str, str]:
    data = text.encode()
    end = MAX_EVENT_BYTES
    while data[end] & 0xC0 == 0x80:  # inside a character
        end -= 1
    return data[:end].decode(), data[end:].decode()
