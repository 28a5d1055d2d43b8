"""Uploads as other SDKs send them: aws-chunked bodies, trailers, digests; byte for byte over a socket."""

import base64
import hashlib
import http.client
import io
import socket
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping

import pytest

from local_mode.s3 import checksums
from local_mode.service import Service

BODY = bytes(range(256)) * 700  # no multiple of any chunk below
CRC32 = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()


@pytest.fixture(scope="module")
def bucket(service: Service) -> str:
    name = f"wire-{uuid.uuid4().hex[:8]}"
    service.objects.create_bucket(name)
    return name


@pytest.fixture
def connection(service: Service) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(service.endpoint.removeprefix("http://"), timeout=10)
    yield made
    made.close()


def chunked(body: bytes, trailers: Mapping[str, str], *, size: int, signed: bool) -> bytes:
    """The aws-chunked form of a body."""
    signature = b";chunk-signature=" + b"0" * 64 if signed else b""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = [b"%x%s\r\n%s\r\n" % (len(piece), signature, piece) for piece in pieces]
    tail = "".join(f"{name}:{value}\r\n" for name, value in trailers.items())
    return b"".join(chunks) + b"0%s\r\n%s\r\n" % (signature, tail.encode())


def put(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    connection.request("PUT", path, body=body, headers=dict(headers))
    reply = connection.getresponse()
    return reply.status, reply.read()


@pytest.mark.parametrize("algorithm", [*checksums.ALGORITHMS])
@pytest.mark.parametrize("size", [100_000, 8192, 1])
def test_trailing_checksums(
    service: Service,
    connection: http.client.HTTPConnection,
    bucket: str,
    algorithm: str,
    size: int,
) -> None:
    """Every checksum in a trailer is compared; a right one stores the decoded bytes, a wrong one nothing."""
    body = BODY[:2000] if size == 1 else BODY
    signed = size == 8192
    digest = checksums.new(algorithm)
    digest.update(body)
    name = f"x-amz-checksum-{algorithm.lower()}"
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" if signed else "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    headers = {
        "x-amz-content-sha256": kind,
        "Content-Encoding": "aws-chunked",
        "x-amz-trailer": name,
        "x-amz-decoded-content-length": str(len(body)),
    }
    key = f"{algorithm}-{size}"
    wrong = chunked(
        body, {name: base64.b64encode(bytes(len(digest.digest()))).decode()}, size=size, signed=signed
    )
    status, reply = put(connection, f"/{bucket}/{key}", wrong, headers)
    assert (status, b"<Code>BadDigest</Code>" in reply) == (400, True)
    assert key not in [stored.key for stored in service.objects.list(bucket)]
    right = chunked(body, {name: checksums.encoded(digest)}, size=size, signed=signed)
    assert put(connection, f"/{bucket}/{key}", right, headers)[0] == 200
    stored = service.objects.get(bucket, key)
    assert stored.path.read_bytes() == body
    assert stored.checksums[algorithm] == checksums.encoded(digest)
    assert "ContentEncoding" not in stored.headers


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-MD5": base64.b64encode(bytes(16)).decode()}, "BadDigest"),
        ({"Content-MD5": "abc"}, "InvalidDigest"),
        ({"x-amz-content-sha256": "0" * 64}, "XAmzContentSHA256Mismatch"),
        ({"x-amz-content-sha256": "z" * 64}, "InvalidArgument"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
        ({"x-amz-checksum-xxhash64": "AAAAAA=="}, "NotImplemented"),
        ({"x-amz-made-up": "1"}, "NotImplemented"),
    ],
)
def test_wrong_headers(
    service: Service, connection: http.client.HTTPConnection, bucket: str, headers: dict[str, str], code: str
) -> None:
    """A digest that does not match, or a header that S3 does not know, stores nothing."""
    status, reply = put(connection, f"/{bucket}/wrong", BODY, headers)
    assert status >= 400
    assert f"<Code>{code}</Code>".encode() in reply
    assert "wrong" not in [stored.key for stored in service.objects.list(bucket)]


def test_right_headers(service: Service, connection: http.client.HTTPConnection, bucket: str) -> None:
    """Right digests in headers are taken, all at once, and the connection serves on."""
    headers = {
        "Content-MD5": base64.b64encode(hashlib.md5(BODY).digest()).decode(),
        "x-amz-content-sha256": hashlib.sha256(BODY).hexdigest(),
        "x-amz-checksum-crc32": CRC32,
    }
    for key in ("one", "two"):
        assert put(connection, f"/{bucket}/{key}", BODY, headers)[0] == 200
        assert service.objects.get(bucket, key).path.read_bytes() == BODY


@pytest.mark.parametrize(
    "body",
    [
        chunked(BODY, {}, size=4096, signed=False),
        chunked(BODY, {"x-amz-checksum-crc32": CRC32}, size=4096, signed=False)[:-100_000],
        b"zz\r\n",
        b"",
    ],
    ids=["no trailer", "cut off", "no length", "empty"],
)
def test_broken_chunks(
    service: Service, connection: http.client.HTTPConnection, bucket: str, body: bytes
) -> None:
    """An aws-chunked body that ends early or lacks the trailer that it promised stores nothing."""
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": str(len(BODY)),
    }
    status, reply = put(connection, f"/{bucket}/broken", body, headers)
    assert status == 400, reply
    assert "broken" not in [stored.key for stored in service.objects.list(bucket)]


def test_http_chunks(service: Service, connection: http.client.HTTPConnection, bucket: str) -> None:
    """A body in HTTP's own chunks, without a length, is taken as well."""
    pieces = (BODY[start : start + 1000] for start in range(0, len(BODY), 1000))
    connection.request(
        "PUT", f"/{bucket}/http", body=pieces, headers={"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    assert connection.getresponse().status == 200
    assert service.objects.get(bucket, "http").path.read_bytes() == BODY


def test_lost_client(service: Service, bucket: str) -> None:
    """A client that dies in the middle of its upload leaves the old object and no file."""
    old = service.objects.put(bucket, "lost", io.BytesIO(b"old"))
    host, port = service.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            f"PUT /{bucket}/lost HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n".encode()
        )
        raw.sendall(b"x" * 500_000)
    deadline = time.monotonic() + 10
    while list(service.home.s3.glob("incoming/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not list(service.home.s3.glob("incoming/*"))
    assert service.objects.get(bucket, "lost") == old


def test_expect_continue(service: Service, bucket: str) -> None:
    """A client that waits for 100 Continue is told so, or told no before it has sent a byte."""
    host, port = service.endpoint.removeprefix("http://").split(":")
    head = "PUT /{}/k HTTP/1.1\r\nHost: x.localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(head.format(bucket).replace("x.localhost", host).encode())
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"hello")
        assert raw.recv(100).startswith(b"HTTP/1.1 200 ")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(head.format("no-such-bucket").replace("x.localhost", host).encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 404 ")


def test_malformed_xml(connection: http.client.HTTPConnection, bucket: str) -> None:
    """A document that is no XML, or has entities, is MalformedXML."""
    for body in (
        b"<Delete>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><Delete/>",
        b"<Delete><Nothing/></Delete>",
        b"\xff",
    ):
        connection.request("POST", f"/{bucket}?delete", body=body)
        reply = connection.getresponse()
        assert (reply.status, b"<Code>MalformedXML</Code>" in reply.read()) == (400, True)
