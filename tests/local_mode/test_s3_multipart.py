"""Multipart uploads, as the SDK's transfer manager and by hand."""

import hashlib
import io
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from local_mode.s3.multipart import MIN_PART
from local_mode.service import Service


@pytest.fixture(scope="module")
def bucket(service: Service) -> str:
    name = f"multipart-{uuid.uuid4().hex[:8]}"
    service.objects.create_bucket(name)
    return name


@pytest.fixture
def s3(aws: Callable[[str], Any]) -> Any:
    return aws("s3")


def code(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


class Upload:
    """One upload by hand."""

    def __init__(self, s3: Any, bucket: str, key: str, **arguments: Any) -> None:
        self.s3 = s3
        self.where = {"Bucket": bucket, "Key": key}
        made = s3.create_multipart_upload(**self.where, **arguments)
        self.where["UploadId"] = made["UploadId"]
        self.parts: list[dict[str, Any]] = []

    def put(self, number: int, body: bytes, **arguments: Any) -> None:
        reply = self.s3.upload_part(**self.where, PartNumber=number, Body=body, **arguments)
        kept = {name: value for name, value in reply.items() if name.startswith("Checksum")}
        self.parts.append({"PartNumber": number, "ETag": reply["ETag"], **kept})

    def complete(self, **arguments: Any) -> Any:
        return self.s3.complete_multipart_upload(
            **self.where, MultipartUpload={"Parts": self.parts}, **arguments
        )


def test_transfer_manager(s3: Any, bucket: str, tmp_path: Path) -> None:
    """`upload_file` and `download_file` bring 30 MiB there and back in parallel parts."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(30 << 20))
    s3.upload_file(str(source), bucket, "big")
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-4"')
    s3.download_file(bucket, "big", str(target))
    assert target.read_bytes() == source.read_bytes()
    config = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20)
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy", Config=config)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == source.read_bytes()


def test_by_hand(s3: Any, bucket: str, service: Service) -> None:
    """Parts in any order become one object with S3's ETag; a part sent twice counts once."""
    bodies = [b"a" * MIN_PART, b"b" * MIN_PART, b"end"]
    upload = Upload(s3, bucket, "hand", Metadata={"x": "1"}, ContentType="text/plain")
    upload.put(3, bodies[2])
    upload.put(1, b"not this one")
    upload.parts.pop()
    upload.put(1, bodies[0])
    upload.put(2, bodies[1])
    listed = s3.list_parts(**upload.where, MaxParts=2)
    assert [part["PartNumber"] for part in listed["Parts"]] == [1, 2]
    assert listed["IsTruncated"]
    rest = s3.list_parts(**upload.where, PartNumberMarker=listed["NextPartNumberMarker"])
    assert [part["Size"] for part in rest["Parts"]] == [3]
    waiting = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [entry["UploadId"] for entry in waiting] == [upload.where["UploadId"]]
    assert "hand" not in [stored.key for stored in service.objects.list(bucket)]
    upload.parts.sort(key=lambda part: part["PartNumber"])
    upload.complete()
    digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
    got = s3.get_object(Bucket=bucket, Key="hand")
    assert got["Body"].read() == b"".join(bodies)
    assert (got["ETag"], got["Metadata"], got["ContentType"]) == (f'"{digest}-3"', {"x": "1"}, "text/plain")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_full_object_checksum(s3: Any, bucket: str) -> None:
    """A checksum of the whole object is computed over the parts, and a wrong one refused."""
    upload = Upload(s3, bucket, "full", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    upload.put(1, b"x" * MIN_PART, ChecksumAlgorithm="CRC32")
    upload.put(2, b"y", ChecksumAlgorithm="CRC32")
    assert code(lambda: upload.complete(ChecksumCRC32="AAAAAA==", ChecksumType="FULL_OBJECT")) == "BadDigest"
    whole = s3.put_object(Bucket=bucket, Key="one", Body=b"x" * MIN_PART + b"y", ChecksumAlgorithm="CRC32")
    assert upload.complete(ChecksumType="FULL_OBJECT")["ChecksumCRC32"] == whole["ChecksumCRC32"]


def test_part_copies(s3: Any, bucket: str, service: Service) -> None:
    """A part may be a range of another object."""
    service.objects.put(bucket, "source", io.BytesIO(b"0123456789"))
    upload = Upload(s3, bucket, "ranges")
    reply = s3.upload_part_copy(
        **upload.where,
        PartNumber=1,
        CopySource={"Bucket": bucket, "Key": "source"},
        CopySourceRange="bytes=2-5",
    )
    upload.parts = [{"PartNumber": 1, "ETag": reply["CopyPartResult"]["ETag"]}]
    upload.complete()
    assert s3.get_object(Bucket=bucket, Key="ranges")["Body"].read() == b"2345"


def test_mistakes(s3: Any, bucket: str) -> None:
    """S3's own codes for small, unordered, unknown and missing parts; the upload stays usable."""
    upload = Upload(s3, bucket, "mistakes")
    upload.put(1, b"small")
    upload.put(2, b"end")
    assert code(upload.complete) == "EntityTooSmall"
    upload.parts.reverse()
    assert code(upload.complete) == "InvalidPartOrder"
    upload.parts = [{"PartNumber": 7, "ETag": '"x"'}]
    assert code(upload.complete) == "InvalidPart"
    upload.parts = []
    assert code(upload.complete) == "MalformedXML"
    assert code(lambda: upload.put(10_001, b"")) == "InvalidArgument"
    s3.abort_multipart_upload(**upload.where)
    assert code(lambda: upload.put(1, b"late")) == "NoSuchUpload"
    assert code(upload.complete) in {"NoSuchUpload", "MalformedXML"}


def test_abort_frees_the_disk(s3: Any, bucket: str, service: Service) -> None:
    """Nothing of an aborted upload stays on the disk."""

    def blobs() -> int:
        return sum(1 for path in service.home.s3.glob("blobs/*/*") if path.is_file())

    before = blobs()
    upload = Upload(s3, bucket, "aborted")
    upload.put(1, b"x" * 1000)
    assert blobs() == before + 1
    s3.abort_multipart_upload(**upload.where)
    assert blobs() == before
