"""ListObjects and ListObjectsV2: order, prefixes, pages."""

import io
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_mode.service import Service

KEYS = ["a", "a/1", "a/2", "a/b/3", "a0", "b/c/d", "b/c/e", "ü/x y", "\U0001f6a2/z", "z+&<"]


@pytest.fixture(scope="module")
def bucket(service: Service) -> str:
    name = f"listing-{uuid.uuid4().hex[:8]}"
    service.objects.create_bucket(name)
    for key in KEYS:
        service.objects.put(name, key, io.BytesIO(key.encode()))
    return name


def everything(s3: Any, **arguments: Any) -> tuple[list[str], list[str], int]:
    """Keys, common prefixes and the number of pages."""
    keys: list[str] = []
    prefixes: list[str] = []
    pages = 0
    for page in s3.get_paginator("list_objects_v2").paginate(**arguments):
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        assert page["KeyCount"] == len(page.get("Contents", [])) + len(page.get("CommonPrefixes", []))
        pages += 1
    return keys, prefixes, pages


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_add_up(aws: Callable[[str], Any], bucket: str, size: int) -> None:
    """Pages of any size give every key once, in the order of its UTF-8 bytes."""
    keys, prefixes, pages = everything(aws("s3"), Bucket=bucket, MaxKeys=size)
    assert keys == sorted(KEYS, key=str.encode)
    assert prefixes == []
    assert pages == -(-len(KEYS) // size)


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", (["a", "a0", "z+&<"], ["a/", "b/", "ü/", "\U0001f6a2/"])),
        ("a/", (["a/1", "a/2"], ["a/b/"])),
        ("a", (["a", "a0"], ["a/"])),
        ("b/", ([], ["b/c/"])),
        ("none", ([], [])),
    ],
)
def test_delimiter(
    aws: Callable[[str], Any], bucket: str, size: int, prefix: str, expected: tuple[list[str], list[str]]
) -> None:
    """A delimiter folds keys into common prefixes, each once over all pages."""
    found = everything(aws("s3"), Bucket=bucket, Prefix=prefix, Delimiter="/", MaxKeys=size)
    assert found[:2] == expected


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_version_1(aws: Callable[[str], Any], bucket: str, size: int) -> None:
    """The first version of the operation goes on by markers to the same end."""
    pages = aws("s3").get_paginator("list_objects").paginate(Bucket=bucket, Delimiter="/", MaxKeys=size)
    found: list[str] = []
    for page in pages:
        found += [entry["Key"] for entry in page.get("Contents", [])]
        found += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
    assert sorted(found) == sorted(["a", "a/", "a0", "b/", "z+&<", "ü/", "\U0001f6a2/"])


def test_start_after(aws: Callable[[str], Any], bucket: str) -> None:
    """StartAfter begins above a key, there or not."""
    assert everything(aws("s3"), Bucket=bucket, StartAfter="a/2")[0][0] == "a/b/3"
    assert everything(aws("s3"), Bucket=bucket, StartAfter="a/b/")[0][0] == "a/b/3"


def test_bad_arguments(aws: Callable[[str], Any], bucket: str) -> None:
    """A bucket that is not there and a token that is none are errors."""
    s3 = aws("s3")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.list_objects_v2(Bucket="no-such-bucket")
    with pytest.raises(ClientError, match="InvalidArgument"):
        s3.list_objects_v2(Bucket=bucket, ContinuationToken="no token")
