"""HTTP/1.1 as AWS's clients speak it: keep-alive, `Expect: 100-continue`, chunked bodies, big bodies.

werkzeug's development server closes every connection, and answers `Expect` before the application has
looked at the request; so the listener is the standard library's, and an application is a function from
Request to Response. (moto's WSGI application is called by `moto_services.py`.)
"""

import socket
import socketserver
import urllib.parse
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from typing import Any, BinaryIO, Protocol

PIECE = 1 << 20  # bytes read or written at a time
_MAX_LINE = 65536  # bytes of a chunk's head or of a trailer
# An error can be told before a client has sent its whole body. Some clients only read the reply
# after they have sent everything: up to this many bytes are read and dropped for their sake.
_MAX_DRAIN = 256 << 20
_IDLE_SECONDS = 120


class ClientGoneError(ConnectionError):
    """The client closed the connection before the end of its body, or broke HTTP's framing."""


class Body(Protocol):
    """The bytes of a request, read once."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str  # percent-encoded, as sent
    query_string: str  # as sent, without the question mark
    query: Sequence[tuple[str, str]]  # decoded, in the order sent; a name without `=` has the value ""
    headers: Message  # names in any letter case
    body: Body
    client: str  # the peer's address
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def parameter(self, name: str) -> str | None:
        return next((value for key, value in self.query if key == name), None)

    def header(self, name: str, default: str = "") -> str:
        value: str | None = self.headers.get(name)
        return default if value is None else value

    def read_whole(self, *, limit: int) -> bytes | None:
        """The whole body; None where it has more than `limit` bytes."""
        data = bytearray()
        while piece := self.body.read(min(PIECE, limit + 1 - len(data))):
            data += piece
            if len(data) > limit:
                return None
        return bytes(data)


@dataclass(frozen=True, kw_only=True)
class FileRange:
    """Bytes of an open file; the listener sends and closes it."""

    file: BinaryIO
    start: int
    length: int  # bytes


@dataclass(frozen=True, kw_only=True)
class Response:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileRange = b""


Application = Callable[[Request], Response]


class _FixedBody:
    def __init__(self, stream: BufferedIOBase, length: int, before: Callable[[], None]) -> None:
        self._stream = stream
        self._before = before
        self.remaining = length

    @property
    def finished(self) -> bool:
        return self.remaining == 0

    def read(self, size: int = -1, /) -> bytes:
        if self.remaining == 0:
            return b""
        self._before()
        wanted = self.remaining if size < 0 else min(size, self.remaining)
        data = self._stream.read(wanted)
        if len(data) < wanted:
            raise ClientGoneError(f"{self.remaining - len(data)} bytes of the body never came")
        self.remaining -= len(data)
        return data


class _ChunkedBody:
    def __init__(self, stream: BufferedIOBase, before: Callable[[], None]) -> None:
        self._stream = stream
        self._before = before
        self._chunk = 0  # bytes left of the current chunk
        self.finished = False

    def read(self, size: int = -1, /) -> bytes:
        pieces: list[bytes] = []
        while size != 0 and not self.finished:
            self._before()
            if self._chunk == 0 and not self._next_chunk():
                break
            data = self._stream.read(min(self._chunk, PIECE) if size < 0 else min(self._chunk, size))
            if not data:
                raise ClientGoneError("the chunked body has no end")
            pieces.append(data)
            size -= len(data) if size > 0 else 0
            self._chunk -= len(data)
            if self._chunk == 0 and self._line() != b"":
                raise ClientGoneError("a chunk is longer than it says")
        return b"".join(pieces)

    def _next_chunk(self) -> bool:
        try:
            self._chunk = int(self._line().split(b";")[0].strip(), 16)
        except ValueError:
            raise ClientGoneError("a chunk without a length") from None
        if self._chunk:
            return True
        while self._line():  # HTTP trailers; S3's own come inside the aws-chunked body
            pass
        self.finished = True
        return False

    def _line(self) -> bytes:
        line = self._stream.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise ClientGoneError("the chunked body has no end")
        return line.rstrip(b"\r\n")


class _Handler(BaseHTTPRequestHandler):
    """One connection, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    server: "Listener"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # every method goes to the application
            return self._answer
        raise AttributeError(name)

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client went away: there is nobody to tell

    def handle_expect_100(self) -> bool:
        return True  # said when the body is read: a refusal then costs the client no upload

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's signature
        self.server.note(format % args)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass  # the application writes the access log, which knows operation and request id

    def _answer(self) -> None:
        expects = self.headers.get("Expect", "").lower() == "100-continue"

        def go_on() -> None:
            nonlocal expects
            if expects:
                expects = False
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

        body = self._body(go_on)
        if body is None:
            self.send_error(HTTPStatus.BAD_REQUEST, "Bad Content-Length or Transfer-Encoding")
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        if "://" in path:  # the absolute form, which proxies send
            path = urllib.parse.urlsplit(path).path
        response = self.server.application(
            Request(
                method=self.command,
                path=path or "/",
                query_string=query,
                query=urllib.parse.parse_qsl(query, keep_blank_values=True),
                headers=self.headers,
                body=body,
                client=self.client_address[0],
            )
        )
        try:
            # A body that was never asked for may or may not come; one that is too long to drop
            # cannot be told from the next request: in both cases the connection ends here.
            if not body.finished and (expects or not _drain(body)):
                self.close_connection = True
            self._send(response)
        finally:
            if isinstance(response.body, FileRange):
                response.body.file.close()

    def _body(self, before: Callable[[], None]) -> _FixedBody | _ChunkedBody | None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return _ChunkedBody(self.rfile, before)
        length = self.headers.get("Content-Length", "0").strip()
        return _FixedBody(self.rfile, int(length), before) if length.isascii() and length.isdigit() else None

    def _send(self, response: Response) -> None:
        body = response.body
        length = body.length if isinstance(body, FileRange) else len(body)
        self.send_response_only(response.status)
        self.send_header("Date", self.date_time_string())
        headers = {name.lower() for name in response.headers}
        for name, value in response.headers.items():
            self.send_header(name, _header_text(value))
        bodiless = self.command == "HEAD" or response.status in {204, 304}
        if "content-length" not in headers and response.status != 204:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        if isinstance(body, bytes) and not bodiless:
            self._headers_buffer.append(b"\r\n" + body)  # head and body in one packet
            self.flush_headers()
            return
        self.end_headers()
        if isinstance(body, FileRange) and not bodiless and body.length:
            self.connection.sendfile(body.file, body.start, body.length)


def _header_text(value: str) -> str:
    """A value as a header can carry it: one line of ISO 8859-1."""
    return value.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace").decode("latin-1")


def _drain(body: _FixedBody | _ChunkedBody) -> bool:
    dropped = 0
    while dropped <= _MAX_DRAIN:
        piece = body.read(PIECE)
        if not piece:
            return True
        dropped += len(piece)
    return False


class Listener(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A listening socket with an application behind it; a thread a connection.

    Raises OSError where the address is taken.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True  # a restart does not wait for the old connections' TIME_WAIT
    request_queue_size = 128

    def __init__(
        self, address: str, port: int, application: Application, note: Callable[[str], None]
    ) -> None:
        self.application = application
        self.note = note
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Handler)

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  the base's signature
        import traceback  # noqa: PLC0415  only when something went wrong

        self.note(f"connection from {client_address[0]} failed:\n{traceback.format_exc()}")
