"""The bytes of an upload: out of the aws-chunked encoding, and compared with every digest sent along.

Reading past the end raises where a digest does not match, so that a store which reads to the end
before it commits never keeps bytes that are not the client's.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

from local_mode.errors import ServiceError
from local_mode.http import Body, Request
from local_mode.s3 import checksums
from local_mode.s3.checksums import HEADER_PREFIX, Checksum

_MAX_LINE = 8192  # bytes of a chunk's head or of a trailer
_READ = 1 << 16


class AwsChunkedBody:
    """`Content-Encoding: aws-chunked`: chunks, each with an optional signature, then trailers.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
    Signatures are not verified, those of chunks no more than those of requests.
    """

    def __init__(self, stream: Body, decoded_length: int | None) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._expected = decoded_length
        self._length = 0
        self._chunk = 0  # bytes left of the current chunk
        self._finished = False
        self.trailers: dict[str, str] = {}

    def read(self, size: int = -1, /) -> bytes:
        pieces: list[bytes] = []
        while size != 0 and not self._finished:
            if self._chunk == 0 and not self._next_chunk():
                break
            wanted = self._chunk if size < 0 else min(self._chunk, size)
            data = self._take(wanted)
            pieces.append(data)
            self._length += len(data)
            self._chunk -= len(data)
            size -= len(data) if size > 0 else 0
            if self._chunk == 0 and self._line():
                raise _incomplete("a chunk is longer than it says")
        return b"".join(pieces)

    def _next_chunk(self) -> bool:
        head = self._line()
        try:
            self._chunk = int(head.partition(b";")[0], 16)
        except ValueError:
            raise _incomplete(f"bad chunk head {head!r:.80}") from None
        if self._chunk:
            return True
        while line := self._line(last=True):
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise _incomplete(f"bad trailer {line!r:.80}")
            self.trailers[name.strip().lower()] = value.strip()
        self._finished = True
        if self._expected is not None and self._length != self._expected:
            raise _incomplete(
                f"{self._length} bytes came, x-amz-decoded-content-length says {self._expected}"
            )
        return False

    def _take(self, count: int) -> bytes:
        if not self._buffer:
            data = self._stream.read(min(count, 1 << 20))
            if not data:
                raise _incomplete("the body ends within a chunk")
            return data
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _line(self, *, last: bool = False) -> bytes:
        """The next line without its end; at the very end of the body, with `last`, an empty one."""
        while (end := self._buffer.find(b"\n")) < 0:
            piece = self._stream.read(_READ)
            if not piece and last and not self._buffer:
                return b""
            if not piece or len(self._buffer) > _MAX_LINE:
                raise _incomplete("the body ends within the framing")
            self._buffer += piece
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.rstrip(b"\r")


@dataclass(kw_only=True)
class _Expectation:
    digest: Checksum
    want: str | None  # base64; None: said by a trailer, or only wanted by us
    error: tuple[str, str]  # code, message


@dataclass(kw_only=True)
class VerifiedBody:
    """An upload's bytes; `checksums` has the S3 checksums, base64, once it was read to its end."""

    _stream: Body
    _chunked: AwsChunkedBody | None = None
    _trailer_algorithms: set[str] = field(default_factory=set)
    _expectations: list[_Expectation] = field(default_factory=list)
    _algorithms: dict[str, _Expectation] = field(default_factory=dict)
    _finished: bool = False
    checksums: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request, *, algorithm: str | None = None) -> "VerifiedBody":
        """With all that the request's headers say; `algorithm` is computed even if no value was sent.

        Raises ServiceError for a malformed digest or an algorithm that is not emulated.
        """
        sha256 = request.header("x-amz-content-sha256")
        chunked = sha256.startswith("STREAMING-") or "aws-chunked" in request.header("Content-Encoding")
        stream: Body = request.body
        decoder = None
        if chunked:
            length = request.header("x-amz-decoded-content-length")
            decoder = stream = AwsChunkedBody(stream, int(length) if length.isdecimal() else None)
        body = cls(_stream=stream, _chunked=decoder)
        if len(sha256) == 64:
            body._expect_sha256(sha256)
        if "Content-MD5" in request.headers:
            body._expect_md5(request.header("Content-MD5"))
        for header, value in request.headers.items():
            name = header.lower()
            if is_digest_header(name):
                body._expect(name.removeprefix(HEADER_PREFIX).upper(), value)
        for trailer in request.header("x-amz-trailer").split(","):
            name = trailer.strip().lower()
            if name.startswith(HEADER_PREFIX):
                body._trailer_algorithms.add(name.removeprefix(HEADER_PREFIX).upper())
        for wanted in {*body._trailer_algorithms, *([algorithm] if algorithm else [])}:
            body.want(wanted)
        return body

    def want(self, algorithm: str) -> None:
        """Computes a checksum that no value was sent for. Call it before the first read."""
        if algorithm not in self._algorithms:
            self._expect(algorithm, None)

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        for expectation in self._expectations:
            expectation.digest.update(data)
        if (not data or size < 0) and size != 0 and not self._finished:
            self._finished = True
            self._verify()
        return data

    def _expect_sha256(self, value: str) -> None:
        try:
            want = base64.b64encode(bytes.fromhex(value)).decode()
        except ValueError:
            raise ServiceError(
                "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-... or a SHA-256"
            ) from None
        error = (
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
        self._expectations.append(_Expectation(digest=hashlib.sha256(), want=want, error=error))

    def _expect_md5(self, value: str) -> None:
        try:
            valid = len(base64.b64decode(value, validate=True)) == 16
        except (ValueError, binascii.Error):
            valid = False
        if not valid:
            raise ServiceError("InvalidDigest", "The Content-MD5 you specified is not valid.")
        error = ("BadDigest", "The Content-MD5 you specified did not match what we received.")
        digest = hashlib.md5(usedforsecurity=False)
        self._expectations.append(_Expectation(digest=digest, want=value, error=error))

    def _expect(self, algorithm: str, value: str | None) -> None:
        error = ("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
        expectation = _Expectation(digest=checksums.new(algorithm), want=value, error=error)
        self._algorithms[algorithm] = expectation
        self._expectations.append(expectation)

    def _verify(self) -> None:
        for algorithm in self._trailer_algorithms:
            name = f"{HEADER_PREFIX}{algorithm.lower()}"
            value = self._chunked.trailers.get(name) if self._chunked else None
            if value is None:
                raise ServiceError(
                    "MalformedTrailerError", f"The trailer {name} was announced and did not come."
                )
            self._algorithms[algorithm].want = value
        for expectation in self._expectations:
            if expectation.want not in (None, checksums.encoded(expectation.digest)):
                code, message = expectation.error
                raise ServiceError(code, message)
        self.checksums = {name: checksums.encoded(e.digest) for name, e in self._algorithms.items()}


def is_digest_header(name: str) -> bool:
    """Whether a header, in lower case, is a checksum's value."""
    about = {f"{HEADER_PREFIX}{word}" for word in ("algorithm", "mode", "type")}
    return name.startswith(HEADER_PREFIX) and name not in about


def _incomplete(why: str) -> ServiceError:
    return ServiceError("IncompleteBody", f"The aws-chunked body is broken: {why}")
