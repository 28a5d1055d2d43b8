"""Channels: what File mode puts below `/opt/ml/input/data/CHANNEL`."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_mode.errors import ValidationException
from local_mode.s3.store import ObjectStore
from local_mode.training_jobs import channels
from local_mode.training_jobs.channels import Channel, DataError


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[ObjectStore]:
    store = ObjectStore(tmp_path / "s3")
    store.create_bucket("bucket")
    yield store
    store.close()


def channel(uri: str, *, data_type: str = "S3Prefix", **more: Any) -> Channel:
    source = {"S3DataType": data_type, "S3Uri": uri}
    entry = {"ChannelName": "train", "DataSource": {"S3DataSource": source}, **more}
    return Channel.from_request(entry, input_mode="File")


def put(objects: ObjectStore, *keys: str) -> None:
    for key in keys:
        objects.put("bucket", key, io.BytesIO(key.encode()))


def layout(objects: ObjectStore, uri: str, **more: Any) -> dict[str, str]:
    found = {}
    for file in channels.files([channel(uri, **more)], objects):
        size, stream = file.open()
        with stream:
            content = stream.read()
        assert len(content) == size
        found[str(file.path)] = content.decode()
    return found


def test_a_prefix_with_a_slash_is_a_folder(objects: ObjectStore) -> None:
    """`s3://b/a/` gives what is below a/, with its folders, and nothing else."""
    put(objects, "a/1", "a/b/2", "ab/3")
    assert layout(objects, "s3://bucket/a/") == {
        "input/data/train/1": "a/1",
        "input/data/train/b/2": "a/b/2",
    }


def test_a_prefix_without_a_slash_is_a_string(objects: ObjectStore) -> None:
    """`s3://b/x/a` matches the folder x/a and every longer name, which keeps its own folder."""
    put(objects, "x/a/1", "x/ab/2", "x/c")
    assert layout(objects, "s3://bucket/x/a") == {
        "input/data/train/1": "x/a/1",
        "input/data/train/ab/2": "x/ab/2",
    }


def test_one_object_keeps_its_name(objects: ObjectStore) -> None:
    """An S3Uri that is a key gives a file of the key's last part."""
    put(objects, "x/weights.bin")
    assert layout(objects, "s3://bucket/x/weights.bin") == {"input/data/train/weights.bin": "x/weights.bin"}


def test_a_bucket_alone_gives_all_of_it(objects: ObjectStore) -> None:
    """`s3://bucket` is the empty prefix, and the objects that stand for folders are no files."""
    put(objects, "a/", "a/1")
    assert layout(objects, "s3://bucket") == {"input/data/train/a/1": "a/1"}


@pytest.mark.parametrize(
    ("keys", "uri", "reason"),
    [
        ((), "s3://bucket/none/", 'No S3 objects found under S3 URL "s3://bucket/none/"'),
        (("none/",), "s3://bucket/none/", "No S3 objects found"),
        ((), "s3://no-such-bucket/x", "bucket does not exist"),
        (("a/x", "a/x/y"), "s3://bucket/a/", "want the same path"),
        (("a/../../etc/passwd",), "s3://bucket/a/", "no path of a file"),
        (("a//b",), "s3://bucket/a/", "no path of a file"),
    ],
)
def test_data_that_cannot_be_laid_out(
    objects: ObjectStore, keys: tuple[str, ...], uri: str, reason: str
) -> None:
    """A prefix without objects, and keys that no folder holds, end the job with a ClientError."""
    put(objects, *keys)
    with pytest.raises(DataError, match="ClientError: Data download failed:") as caught:
        layout(objects, uri)
    assert reason in str(caught.value)


def manifest(objects: ObjectStore, content: bytes) -> dict[str, str]:
    objects.put("bucket", "list.manifest", io.BytesIO(content))
    return layout(objects, "s3://bucket/list.manifest", data_type="ManifestFile")


def test_a_manifest_names_objects(objects: ObjectStore, tmp_path: Path) -> None:
    """Prefix and suffix together are the object, the suffix is its path; the list may be a local file."""
    put(objects, "x/a/1", "x/b/2", "x/c")
    expected = {"input/data/train/a/1": "x/a/1", "input/data/train/b/2": "x/b/2"}
    content = b'[{"prefix": "s3://bucket/x/"}, "a/1", "b/2"]'
    assert manifest(objects, content) == expected
    assert manifest(objects, b'[{"prefix": "s3://bucket/x"}, "/a/1", "/b/2"]') == expected
    (tmp_path / "list").write_bytes(content)
    assert layout(objects, f"file://{tmp_path}/list", data_type="ManifestFile") == expected
    assert channels.folders([channel(f"file://{tmp_path}/list", data_type="ManifestFile")]) == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no JSON", "is no JSON document: Expecting value"),
        (b"\xff", "is no JSON document"),
        (b"[" * 100_000, "is no JSON document"),
        (b"{}", 'must begin with {"prefix": "s3://BUCKET/..."}'),
        (b"[]", "must begin with"),
        (b'["a/1"]', "must begin with"),
        (b'[{"prefix": ""}, "a"]', "must begin with"),
        (b'[{"prefix": "https://bucket/x/"}, "a"]', "must begin with"),
        (b'[{"prefix": "s3://bucket/x/"}, {"a": 1}]', "nothing but strings"),
        (b'[{"prefix": "s3://bucket/x/"}, ""]', "nothing but strings"),
        (b'[{"prefix": "s3://bucket/x/"}]', "names no objects"),
        (b'[{"prefix": "s3://bucket/x/"}, "a/1", "a/1"]', "want the same path"),
        (b'[{"prefix": "s3://bucket/x/a/"}, "../1"]', "s3://bucket/x/a/../1: The specified key does not"),
        (b'[{"prefix": "s3://bucket/x/"}, "none"]', "names s3://bucket/x/none: The specified key does not"),
        (b'[{"prefix": "s3://none/"}, "a"]', "names s3://none/a: The specified bucket does not exist"),
    ],
)
def test_a_manifest_that_cannot_be_followed(objects: ObjectStore, content: bytes, reason: str) -> None:
    """What is wrong with a manifest ends the job with a ClientError that names it."""
    put(objects, "x/a/1")
    with pytest.raises(DataError, match="ClientError: Data download failed:channel train: ") as caught:
        manifest(objects, content)
    assert reason in str(caught.value)


def test_a_manifest_that_is_not_there(objects: ObjectStore, tmp_path: Path) -> None:
    """A missing manifest fails the job; a folder in its place is refused at once."""
    with pytest.raises(DataError, match="manifest s3://bucket/none: The specified key does not exist"):
        layout(objects, "s3://bucket/none", data_type="ManifestFile")
    with pytest.raises(ValidationException, match="a ManifestFile is a file, not a folder"):
        channels.check([channel(f"file://{tmp_path}", data_type="ManifestFile")])


def test_a_folder_is_read_in_place(tmp_path: Path, objects: ObjectStore) -> None:
    """A file:// folder is handed to the host; a file:// file is copied under its own name."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one").write_text("1")
    folder, file = channel(f"file://{tmp_path}/data"), f"file://{tmp_path}/data/one"
    (found,) = channels.folders([folder])
    assert (str(found.path), found.source) == ("input/data/train", tmp_path / "data")
    assert layout(objects, file) == {"input/data/train/one": "1"}
    assert channels.folders([channel(file)]) == ()


def test_an_empty_folder_fails_the_job(tmp_path: Path) -> None:
    """A folder of folders without a file is empty, and the reason names it."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(DataError, match=f"the folder {tmp_path}/a holds no file"):
        channels.folders([channel(f"file://{tmp_path}/a")])


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("file:///no/such/folder", "channel train: S3Uri file:///no/such/folder: no such folder"),
        ("file://relative", "must be absolute"),
        ("https://s3.amazonaws.com/bucket/x", r"reads s3:// and file:// only"),
    ],
)
def test_a_uri_that_cannot_work_is_refused(uri: str, reason: str) -> None:
    """What can be seen to be wrong without the data is refused at once, channel and path named."""
    with pytest.raises(ValidationException, match=reason):
        channels.check([channel(uri)])


def test_the_entry_in_inputdataconfig() -> None:
    """inputdataconfig.json has AWS's four fields, the content type only where it is given."""
    assert channel("s3://bucket/x").config() == {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    assert channel("s3://bucket/x", ContentType="image/jpeg").config()["ContentType"] == "image/jpeg"
