"""Outputs: folders of the tree as archives at the S3OutputPath."""

import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from local_mode.engines.base import InputFile
from local_mode.engines.folders import folder_entries, remove_tree
from local_mode.engines.tars import StreamReader, tar_stream, without_top
from local_mode.errors import ValidationException
from local_mode.s3.store import ObjectStore
from local_mode.training_jobs.outputs import Destination, write_tar_gz

MODEL = PurePosixPath("model")


def pack(folder: Path, target: Path) -> tuple[dict[str, tarfile.TarInfo], int, list[str]]:
    entries = folder_entries(folder, inside=PurePosixPath("/opt/ml/model"))
    count, notes = write_tar_gz(entries, target, folder=MODEL)
    with tarfile.open(target) as archive:
        return {info.name: info for info in archive}, count, notes


def test_the_archive_holds_the_folder(tmp_path: Path) -> None:
    """Files, folders and their contents are in it, owned by root, readable whatever their modes were."""
    folder = tmp_path / "model"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "sub" / "weights").write_bytes(b"w" * 3_000_000)
    (folder / "secret").write_text("s")
    (folder / "secret").chmod(0)
    (folder / "sub").chmod(0o500)
    members, count, notes = pack(folder, tmp_path / "model.tar.gz")
    assert sorted(members) == ["secret", "sub", "sub/empty", "sub/weights"]
    assert (count, notes) == (2, [])
    assert members["secret"].mode == 0o600
    assert {(info.uid, info.gid, info.uname) for info in members.values()} == {(0, 0, "root")}
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        content = archive.extractfile("sub/weights")
        assert content is not None
        assert content.read() == b"w" * 3_000_000
    remove_tree(folder)


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("best", "best"),
        ("../best", "../best"),
        ("/opt/ml/model/best", "../best"),
        ("../../best", None),
        ("/etc/passwd", None),
        ("x/../../best", None),
        ("/opt/ml/model-2/best", None),
    ],
)
def test_links_stay_inside_or_are_left_out(tmp_path: Path, target: str, kept: str | None) -> None:
    """A link that leads out of the folder is no part of the archive, and the log says so."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "link").symlink_to(target)
    members, _, notes = pack(folder, tmp_path / "model.tar.gz")
    assert (members["sub/link"].linkname if "sub/link" in members else None) == kept
    assert len(notes) == (kept is None)


def test_a_link_to_the_tree_of_a_process_becomes_the_container_s(tmp_path: Path) -> None:
    """An absolute link into a process's own folder is the same link in the archive."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "best").write_text("b")
    (folder / "link").symlink_to(folder / "best")
    members, _, _ = pack(folder, tmp_path / "model.tar.gz")
    assert members["link"].linkname == "best"


def test_pipes_and_sockets_are_left_out(tmp_path: Path) -> None:
    """What is no file, folder or link cannot block the upload."""
    folder = tmp_path / "model"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    members, count, notes = pack(folder, tmp_path / "model.tar.gz")
    assert (members, count) == ({}, 0)
    assert notes == ["/opt/ml/model/pipe was left out: neither a file, a folder nor a link"]


def test_the_output_lies_below_the_path(tmp_path: Path) -> None:
    """Archives come to PATH/JOB/output/, in a bucket as in a folder, and a slash at the end is none."""
    objects = ObjectStore(tmp_path / "s3")
    objects.create_bucket("bucket")
    for uri in ("s3://bucket", "s3://bucket/results/", f"file://{tmp_path}/results"):
        destination = Destination.from_uri(uri)
        destination.check(objects)
        (tmp_path / "packed").write_text(uri)
        where = destination.artifact("job", "model.tar.gz")
        assert where == f"{uri.rstrip('/')}/job/output/model.tar.gz"
        destination.upload(tmp_path / "packed", where, objects)
    assert [stored.key for stored in objects.list("bucket", "")] == [
        "job/output/model.tar.gz",
        "results/job/output/model.tar.gz",
    ]
    results = tmp_path / "results" / "job" / "output"
    assert [path.name for path in results.iterdir()] == ["model.tar.gz"]
    objects.close()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://no-such-bucket/x", "no bucket no-such-bucket"),
        ("file://relative", "must be absolute"),
        ("file:///etc/hostname", "a file, not a folder"),
        ("https://s3.amazonaws.com/bucket", "s3:// and file:// only"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path, uri: str, reason: str) -> None:
    """A place that cannot take the model is refused before anything is trained."""
    objects = ObjectStore(tmp_path / "s3")
    with pytest.raises(ValidationException, match=reason):
        Destination.from_uri(uri).check(objects)
    objects.close()


def test_docker_s_archives_are_streams(tmp_path: Path) -> None:
    """What `tar_stream` writes is a tar that reads back piece by piece, its top folder taken off."""
    files = [
        InputFile.from_bytes(PurePosixPath(name), content)
        for name, content in (("model/a", b"1" * 513), ("model/b/c", b""))
    ]
    stream = tar_stream((PurePosixPath("model/empty"),), files, lambda: None)
    tiny = (chunk[i : i + 100] for chunk in stream for i in range(0, len(chunk), 100))
    found = {}
    with tarfile.open(fileobj=StreamReader(tiny), mode="r|") as archive:
        entries = ((info, archive.extractfile(info) if info.isreg() else None) for info in archive)
        for info, content in without_top(entries, "model"):
            found[info.name] = content.read() if content else None
    assert found == {"empty": None, "a": b"1" * 513, "b": None, "b/c": b""}
