"""What a job leaves: folders of its tree as `*.tar.gz` at the request's S3OutputPath."""

import posixpath
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from uuid import uuid4

from local_mode.errors import ValidationException
from local_mode.s3.store import ObjectStore
from local_mode.training_jobs.channels import FILE_SCHEME, S3_SCHEME
from local_mode.training_jobs.gzips import BLOCK_BYTES, GzipWriter

Entries = Iterable[tuple[tarfile.TarInfo, IO[bytes] | None]]

MODEL_ARCHIVE, OUTPUT_ARCHIVE = "model.tar.gz", "output.tar.gz"
BASE = PurePosixPath("/opt/ml")
# What is left out is named in the log; more than these are only counted.
_MAX_NOTES = 20


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The S3OutputPath of a request: an s3:// prefix or a file:// folder."""

    uri: str  # no slash at its end

    @classmethod
    def from_uri(cls, uri: str) -> "Destination":
        return cls(uri=uri.rstrip("/"))

    def check(self, objects: ObjectStore, *, field: str = "OutputDataConfig.S3OutputPath") -> None:
        """Raises ValidationException, which names the request's field, where nothing can be written there."""
        field = f"{field} {self.uri}"
        if self.uri.startswith(FILE_SCHEME):
            folder = Path(self.uri.removeprefix(FILE_SCHEME))
            if not folder.is_absolute():
                raise ValidationException(
                    f"{field}: a file:// path must be absolute, like file:///home/me/results"
                )
            if folder.exists() and not folder.is_dir():
                raise ValidationException(f"{field}: this is a file, not a folder")
        elif self.uri.startswith(S3_SCHEME):
            bucket = self.uri.removeprefix(S3_SCHEME).partition("/")[0]
            if not objects.has_bucket(bucket):
                raise ValidationException(
                    f"{field}: no bucket {bucket} in the local SageMaker; create it first (CreateBucket)"
                )
        else:
            raise ValidationException(f"{field}: the local SageMaker writes to s3:// and file:// only")

    def artifact(self, job_name: str, file_name: str) -> str:
        """The URI of an output: PATH/JOB/output/FILE."""
        return f"{self.uri}/{job_name}/output/{file_name}"

    def upload(
        self, source: Path, uri: str, objects: ObjectStore, *, content_type: str = "application/gzip"
    ) -> None:
        """Moves a file to a URI below this one; there whole, or not at all."""
        if uri.startswith(FILE_SCHEME):
            target = Path(uri.removeprefix(FILE_SCHEME))
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{uuid4().hex}")
            try:
                shutil.copyfile(source, partial)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        else:
            bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
            objects.put_file(bucket, key, source, content_type=content_type, move=True)


def write_tar_gz(
    entries: Entries, target: Path, *, folder: PurePosixPath, check: Callable[[], None] = lambda: None
) -> tuple[int, list[str]]:
    """Writes the entries of a folder (`model`) to a `.tar.gz`; returns how many files, and notes.

    Nothing in the archive points out of it: a link stays when it leads to a place inside the folder,
    else it is left out with a note, and so are pipes, sockets and devices. Owners are root's, and what
    is in it can be read by its unpacker.
    """
    count, notes = 0, []
    left_out: set[str] = set()
    with target.open("wb") as file, GzipWriter(file) as archive:
        for found, content in entries:
            check()
            info = None if found.islnk() and found.linkname in left_out else _sanitised(found, folder)
            if info is None:
                left_out.add(found.name)
                if len(left_out) <= _MAX_NOTES:
                    notes.append(_printable(f"/opt/ml/{folder / found.name} was left out: {_reason(found)}"))
                continue
            count += not info.isdir()
            archive.write(info.tobuf(tarfile.PAX_FORMAT))
            if content is not None and info.size:
                _copy(content, archive, info)
        archive.write(bytes(2 * tarfile.BLOCKSIZE))
    if len(left_out) > _MAX_NOTES:
        notes.append(f"{len(left_out) - _MAX_NOTES} more were left out of /opt/ml/{folder}")
    return count, notes


def _copy(content: IO[bytes], archive: GzipWriter, info: tarfile.TarInfo) -> None:
    left = info.size
    while left:
        piece = content.read(min(left, BLOCK_BYTES))
        if not piece:
            raise OSError(_printable(f"{info.name} ended {left} bytes before its size"))
        archive.write(piece)
        left -= len(piece)
    archive.write(bytes(-info.size % tarfile.BLOCKSIZE))


def _sanitised(found: tarfile.TarInfo, folder: PurePosixPath) -> tarfile.TarInfo | None:
    if _escapes(found.name) or not (found.isreg() or found.isdir() or found.issym() or found.islnk()):
        return None
    info = tarfile.TarInfo(found.name)
    info.type = tarfile.REGTYPE if found.isreg() else found.type
    info.size = found.size if found.isreg() else 0
    info.mtime = int(found.mtime)
    info.mode = (found.mode & 0o777) | (0o700 if found.isdir() else 0o600)
    info.uname = info.gname = "root"
    if found.islnk():
        if _escapes(found.linkname):
            return None
        info.linkname = found.linkname
    if found.issym():
        target = found.linkname
        if target.startswith("/"):
            root = str(BASE / folder)
            if not target.startswith(f"{root}/"):
                return None
            target = posixpath.relpath(target.removeprefix(f"{root}/"), posixpath.dirname(found.name) or ".")
        steps = target.rstrip("/").split("/")
        # `..` behind a name may leave the folder where that name is itself a link: only leading ones pass.
        climbs = next((place for place, step in enumerate(steps) if step != ".."), len(steps))
        if ".." in steps[climbs:] or _escapes(posixpath.join(posixpath.dirname(found.name), target)):
            return None
        info.linkname = target
    return info


def _escapes(name: str) -> bool:
    path = posixpath.normpath(name)
    return path.startswith(("/", "../")) or path == ".."


def _printable(text: str) -> str:
    """On one line, and in UTF-8: a file's name is any bytes."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _reason(found: tarfile.TarInfo) -> str:
    if found.issym() or found.islnk():
        return f"a link to {found.linkname}, which is outside of the folder"
    return "neither a file, a folder nor a link"
