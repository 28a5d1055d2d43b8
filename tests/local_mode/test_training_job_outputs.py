"""Outputs: folders of the tree as archives at the S3OutputPath."""

import gzip
import io
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from local_mode.engines.base import InputFile
from local_mode.engines.folders import folder_entries, remove_tree
from local_mode.engines.tars import StreamReader, tar_stream, without_top
from local_mode.errors import ValidationException
from local_mode.s3.store import ObjectStore
from local_mode.training_jobs.gzips import BLOCK_BYTES, GzipWriter
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
    stream = tar_stream("ml", (PurePosixPath("model/empty"),), files, lambda: None)
    tiny = (chunk[i : i + 100] for chunk in stream for i in range(0, len(chunk), 100))
    found = {}
    with tarfile.open(fileobj=StreamReader(tiny), mode="r|") as archive:
        entries = ((info, archive.extractfile(info) if info.isreg() else None) for info in archive)
        for info, content in without_top(entries, "ml"):
            found[info.name] = content.read() if content else None
            assert info.mode == (0o777 if info.isdir() else 0o666)
    assert found == {
        "model": None,
        "model/empty": None,
        "model/a": b"1" * 513,
        "model/b": None,
        "model/b/c": b"",
    }


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 1])
@pytest.mark.parametrize("kind", ["zeros", "text", "noise"])
def test_a_gzip_file_holds_what_was_written(kind: str, size: int) -> None:
    """Compressed, stored and empty blocks read back; what shrinks is shrunk, the rest hardly grows."""
    noise = random.Random(size)
    contents = {
        "zeros": bytes(size),
        "text": (b"Average loss: 0.4321\n" * (size // 20 + 1))[:size],
        "noise": noise.randbytes(size),
    }
    content, target = contents[kind], io.BytesIO()
    with GzipWriter(target) as packed:
        for start in range(0, size, 99_999):
            packed.write(content[start : start + 99_999])
        assert packed.tell() == size
    assert gzip.decompress(target.getvalue()) == content
    assert len(target.getvalue()) < (size * 1.001 if kind == "noise" else size * 0.02) + 100


def test_an_error_leaves_the_gzip_file_incomplete() -> None:
    """A half-written archive cannot be taken for a whole one."""
    target = io.BytesIO()

    def fail() -> None:
        with GzipWriter(target) as packed:
            packed.write(b"some")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    with pytest.raises(EOFError):
        gzip.decompress(target.getvalue())


def test_what_is_left_out_cannot_be_named_by_a_hard_link(tmp_path: Path) -> None:
    """A second name of a link that was left out is left out too: the archive stays one that unpacks."""

    def entries() -> Iterator[tuple[tarfile.TarInfo, None]]:
        for name, kind, target in (("evil", tarfile.SYMTYPE, "/etc"), ("too", tarfile.LNKTYPE, "evil")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            yield info, None

    count, notes = write_tar_gz(entries(), tmp_path / "model.tar.gz", folder=MODEL)
    assert (count, len(notes)) == (0, 2)


def test_a_file_of_several_names_is_packed_once(tmp_path: Path) -> None:
    """`best` as a hard link to a checkpoint takes no second copy of the weights."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "checkpoint").write_bytes(b"weights")
    for second in ("best", "sub/best"):
        (folder / second).hardlink_to(folder / "checkpoint")
    (tmp_path / "outside").hardlink_to(folder / "checkpoint")
    members, count, notes = pack(folder, tmp_path / "model.tar.gz")
    assert (count, notes) == (3, [])
    assert {name: info.linkname for name, info in members.items() if info.islnk()} == {
        "checkpoint": "best",
        "sub/best": "best",
    }
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert (tmp_path / "unpacked" / "sub" / "best").read_bytes() == b"weights"


def test_odd_names_are_kept_and_said_on_one_line(tmp_path: Path) -> None:
    """Any bytes may be a name: they come back as they were, and a note about them is one line of UTF-8."""
    folder = tmp_path / "model"
    folder.mkdir()
    names = [b"two\nlines", b"caf\xc3\xa9", b"not utf-8 \xff", b" ", b"x" * 255, "\u4e16".encode() * 85]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(name)
    os.mkfifo(folder / os.fsdecode(b"pipe\n\xff"))
    members, _, notes = pack(folder, tmp_path / "model.tar.gz")
    assert sorted(map(os.fsencode, members)) == sorted(names)
    assert notes == [
        r"/opt/ml/model/pipe\n\udcff was left out: neither a file, a folder nor a link",
    ]


def test_a_flood_of_notes_is_counted(tmp_path: Path) -> None:
    """A thousand links that lead out take a few lines of the log, and none is forgotten."""
    folder = tmp_path / "model"
    folder.mkdir()
    for number in range(1000):
        (folder / f"link-{number:04}").symlink_to("/etc/passwd")
    _, _, notes = pack(folder, tmp_path / "model.tar.gz")
    assert len(notes) == 21
    assert notes[-1] == "980 more were left out of /opt/ml/model"
