"""Objects through an unmodified boto3."""

import hashlib
import http.client
import io
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_mode.service import Service


@pytest.fixture
def s3(aws: Callable[[str], Any]) -> Any:
    return aws("s3")


@pytest.fixture
def bucket(s3: Any) -> Iterator[str]:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    while page := s3.list_objects_v2(Bucket=name).get("Contents"):
        s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": entry["Key"]} for entry in page]})
    s3.delete_bucket(Bucket=name)


def error_code(call: Callable[[], object]) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_round_trip_keeps_bytes_and_attributes(s3: Any, bucket: str) -> None:
    """What is put comes back: bytes, ETag, content type, metadata, headers, size, time."""
    body = b"any bytes \x00\xff" * 100
    put = s3.put_object(
        Bucket=bucket,
        Key="a/b c+%ü.txt",
        Body=body,
        ContentType="text/x-test",
        Metadata={"Label": "three"},
        CacheControl="no-cache",
        ContentEncoding="br",
    )
    got = s3.get_object(Bucket=bucket, Key="a/b c+%ü.txt")
    assert got["Body"].read() == body
    assert put["ETag"] == got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert got["ContentType"] == "text/x-test"
    assert got["Metadata"] == {"label": "three"}
    assert (got["CacheControl"], got["ContentEncoding"]) == ("no-cache", "br")
    assert got["ContentLength"] == len(body)
    head = s3.head_object(Bucket=bucket, Key="a/b c+%ü.txt")
    assert (head["ETag"], head["LastModified"]) == (got["ETag"], got["LastModified"])


def test_an_empty_object(s3: Any, bucket: str) -> None:
    """Zero bytes are an object, too."""
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bytes=0-3", (b"0123", "bytes 0-3/10")),
        ("bytes=7-", (b"789", "bytes 7-9/10")),
        ("bytes=-2", (b"89", "bytes 8-9/10")),
        ("bytes=5-100", (b"56789", "bytes 5-9/10")),
        ("bytes=-100", (b"0123456789", "bytes 0-9/10")),
        ("bytes=6-2", (b"0123456789", None)),
        ("lines=1-2", (b"0123456789", None)),
    ],
)
def test_range(s3: Any, bucket: str, wanted: str, expected: tuple[bytes, str | None]) -> None:
    """A byte range is cut to the object; what is no range gives all of it."""
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="digits", Range=wanted)
    assert (got["Body"].read(), got.get("ContentRange")) == expected
    assert got["ResponseMetadata"]["HTTPStatusCode"] == (206 if expected[1] else 200)


@pytest.mark.parametrize(("size", "wanted"), [(10, "bytes=10-"), (0, "bytes=0-3"), (10, "bytes=-0")])
def test_range_outside(s3: Any, bucket: str, size: int, wanted: str) -> None:
    """A range without a single byte of the object is refused with S3's own code."""
    s3.put_object(Bucket=bucket, Key="digits", Body=b"x" * size)
    code = error_code(lambda: s3.get_object(Bucket=bucket, Key="digits", Range=wanted))
    assert code == ("InvalidRange", 416)


def test_conditional_reads(s3: Any, bucket: str) -> None:
    """If-Match, If-None-Match and the dates decide as RFC 9110 has it."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    head = s3.head_object(Bucket=bucket, Key="k")
    etag, when = head["ETag"], head["LastModified"]
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag)["ETag"] == etag
    assert error_code(lambda: s3.get_object(Bucket=bucket, Key="k", IfMatch='"no"'))[1] == 412
    assert error_code(lambda: s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag))[1] == 304
    assert error_code(lambda: s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=when))[1] == 304
    assert s3.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=when)["ETag"] == etag


def test_conditional_writes(s3: Any, bucket: str) -> None:
    """If-None-Match: * never overwrites; If-Match only overwrites the version named."""
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")
    assert error_code(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")) == (
        "PreconditionFailed",
        412,
    )
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    s3.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=first["ETag"])
    assert (
        error_code(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"4", IfMatch=first["ETag"]))[1] == 412
    )
    assert error_code(lambda: s3.put_object(Bucket=bucket, Key="new", Body=b"5", IfMatch='"x"'))[1] == 404


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_come_back(s3: Any, bucket: str, algorithm: str) -> None:
    """A checksum sent with an object is kept and returned to who asks for it."""
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    assert head["ChecksumType"] == "FULL_OBJECT"


def test_copy(s3: Any, bucket: str) -> None:
    """A copy keeps or replaces the attributes, and outlives its source."""
    s3.put_object(Bucket=bucket, Key="a b", Body=b"hello", Metadata={"x": "1"}, ContentType="text/plain")
    source = {"Bucket": bucket, "Key": "a b"}
    s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)
    s3.copy_object(
        Bucket=bucket, Key="new", CopySource=source, MetadataDirective="REPLACE", Metadata={"y": "2"}
    )
    s3.delete_object(Bucket=bucket, Key="a b")
    kept, new = (s3.get_object(Bucket=bucket, Key=key) for key in ("kept", "new"))
    assert (kept["Body"].read(), kept["Metadata"], kept["ContentType"]) == (
        b"hello",
        {"x": "1"},
        "text/plain",
    )
    assert (new["Body"].read(), new["Metadata"], new["ContentType"]) == (
        b"hello",
        {"y": "2"},
        "binary/octet-stream",
    )
    assert error_code(lambda: s3.copy_object(Bucket=bucket, Key="x", CopySource=source))[0] == "NoSuchKey"
    own = {"Bucket": bucket, "Key": "kept"}
    assert (
        error_code(lambda: s3.copy_object(Bucket=bucket, Key="kept", CopySource=own))[0] == "InvalidRequest"
    )


def test_deletion(s3: Any, bucket: str) -> None:
    """Deleting is idempotent; a batch says what it deleted."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")
    assert error_code(lambda: s3.get_object(Bucket=bucket, Key="k")) == ("NoSuchKey", 404)
    assert error_code(lambda: s3.head_object(Bucket=bucket, Key="k")) == ("404", 404)
    s3.put_object(Bucket=bucket, Key="<&>", Body=b"x")
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "<&>"}, {"Key": "none"}]})
    assert deleted["Deleted"] == [{"Key": "<&>"}, {"Key": "none"}]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_reader_keeps_its_version(s3: Any, bucket: str, service: Service) -> None:
    """An object that is overwritten or deleted stays whole for who has begun to read it."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"old" * 1000)
    stored, file = service.objects.open(bucket, "k")
    s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    s3.delete_object(Bucket=bucket, Key="k")
    with file:
        assert file.read() == b"old" * 1000
    assert not stored.path.exists()


def test_readers_see_whole_versions(s3: Any, bucket: str) -> None:
    """While writers overwrite an object, every read gives one version, whole, with its own ETag."""
    versions = [bytes([number]) * (1000 * number * number) for number in range(1, 30)]
    etags = {hashlib.md5(version).hexdigest() for version in versions}
    s3.put_object(Bucket=bucket, Key="k", Body=versions[0])

    def write(offset: int) -> None:
        for version in versions[offset::2]:
            s3.put_object(Bucket=bucket, Key="k", Body=version)

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, offset) for offset in (0, 1)]
        while not all(writer.done() for writer in writers):
            got = s3.get_object(Bucket=bucket, Key="k")
            body = got["Body"].read()
            assert got["ETag"].strip('"') == hashlib.md5(body).hexdigest()
            assert got["ETag"].strip('"') in etags
        for writer in writers:
            writer.result()


def test_buckets(s3: Any, bucket: str) -> None:
    """Buckets are listed, made twice without harm, and go only when empty."""
    assert bucket in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    s3.create_bucket(Bucket=bucket)
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert error_code(lambda: s3.delete_bucket(Bucket=bucket)) == ("BucketNotEmpty", 409)
    assert error_code(lambda: s3.head_bucket(Bucket="no-such-bucket")) == ("404", 404)
    assert error_code(lambda: s3.put_object(Bucket="no-such-bucket", Key="k", Body=b""))[0] == "NoSuchBucket"
    assert error_code(lambda: s3.create_bucket(Bucket="Not_A_Name"))[0] == "InvalidBucketName"


def test_bucket_of_another_region(aws: Callable[[str], Any]) -> None:
    """A bucket says the region that its maker asked for."""
    s3 = aws("s3")
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-1"
    s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize(
    ("operation", "arguments", "named"),
    [
        ("put_bucket_policy", {"Policy": "{}"}, "PutBucketPolicy"),
        ("list_object_versions", {}, "ListObjectVersions"),
        ("put_object", {"Key": "k", "Body": b"", "Tagging": "a=b"}, "Tagging"),
        ("put_object", {"Key": "k", "Body": b"", "SSEKMSKeyId": "my-key"}, "SSEKMSKeyId"),
        ("put_object", {"Key": "k", "Body": b"", "ACL": "public-read"}, "public-read"),
        ("put_object", {"Key": "k", "Body": b"", "StorageClass": "GLACIER"}, "GLACIER"),
        ("delete_object", {"Key": "k", "VersionId": "v1"}, "v1"),
        ("get_object_tagging", {"Key": "k"}, "GetObjectTagging"),
    ],
)
def test_what_is_not_done_is_refused(
    s3: Any, bucket: str, operation: str, arguments: dict[str, Any], named: str
) -> None:
    """An operation or parameter that is not acted on is refused, and the refusal names it."""
    with pytest.raises(ClientError, match=named) as caught:
        getattr(s3, operation)(Bucket=bucket, **arguments)
    assert caught.value.response["Error"]["Code"] == "NotImplemented"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_harmless_values_are_taken(s3: Any, bucket: str, service: Service) -> None:
    """Values that ask for what is the case anyway do no harm."""
    s3.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"",
        ACL="private",
        StorageClass="STANDARD",
        ServerSideEncryption="AES256",
        ExpectedBucketOwner=service.account,
    )
    # SDK 2 uploads its scripts so: encrypted by the account's own key.
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ServerSideEncryption="aws:kms")
    denied = error_code(lambda: s3.head_object(Bucket=bucket, Key="k", ExpectedBucketOwner="1" * 12))
    assert denied[1] == 403


def test_presigned_urls(s3: Any, bucket: str) -> None:
    """A presigned URL reads the object without a client."""
    s3.put_object(Bucket=bucket, Key="a b", Body=b"hello")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as reply:
        assert reply.read() == b"hello"


def test_virtual_hosts(service: Service, aws: Callable[[str], Any], bucket: str) -> None:
    """A bucket may be named by the host instead of the path."""
    aws("s3").put_object(Bucket=bucket, Key="x/y", Body=b"hello")
    connection = http.client.HTTPConnection(service.endpoint.removeprefix("http://"))
    connection.request("GET", "/x/y", headers={"Host": f"{bucket}.localhost:4700"})
    assert connection.getresponse().read() == b"hello"
    connection.close()


def test_files_move_in(service: Service, bucket: str, tmp_path: Any) -> None:
    """The engines' side of the store: a file is copied or moved in, and read by its path."""
    path = tmp_path / "model.tar.gz"
    path.write_bytes(b"model")
    copied = service.objects.put_file(bucket, "copied", path)
    moved = service.objects.put_file(bucket, "moved", path, move=True)
    assert not path.exists()
    assert copied.path.read_bytes() == moved.path.read_bytes() == b"model"
    assert [stored.key for stored in service.objects.list(bucket, "")] == ["copied", "moved"]
    service.objects.put(bucket, "stream", io.BytesIO(b"bytes"), metadata={"a": "b"})
    assert service.objects.get(bucket, "stream").metadata == {"a": "b"}
