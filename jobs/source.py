"""A user's own script: the folder that SageMaker's script mode takes as `sourcedir.tar.gz`.

The archive lies at an address made from its content, so equal sources are one object, and a request can
be printed without anything being sent.
"""

import functools
import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import JobError

ARCHIVE = "sourcedir.tar.gz"  # the name that the SDK gives it
_MAX_BYTES = 256 * 1024 * 1024  # of all files; what is larger is data, and data is a channel
_LEFT_OUT = frozenset({"__pycache__", ".git", ".venv", ".ipynb_checkpoints"})


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder of this machine with the script in it."""

    folder: Path
    bucket: str

    @property
    def key(self) -> str:
        digest = hashlib.sha256(self._archive).hexdigest()
        return f"drydock/source/{digest[:16]}/{ARCHIVE}"

    @property
    def address(self) -> str:
        """Where `upload` puts it. Raises `JobError`, as `upload` does."""
        return f"s3://{self.bucket}/{self.key}"

    def require(self, program: str) -> None:
        """Raises `JobError` where the script is not in the folder."""
        if not (self.folder / program).is_file():
            raise JobError(f"there is no {program} in {self.folder}: name the script by PROGRAM=FILE")

    def upload(self, s3: Any) -> None:
        """Put the archive where `address` says; botocore's errors pass through."""
        s3.put_object(Bucket=self.bucket, Key=self.key, Body=self._archive)

    @functools.cached_property
    def _archive(self) -> bytes:
        """Equal files give equal bytes: no times, no owners, one order."""
        if not self.folder.is_dir():
            raise JobError(f"{self.folder}: no such folder; SOURCE names the folder with your script")
        packed = io.BytesIO()
        size = 0
        with (
            gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in sorted(self.folder.rglob("*")):
                name = path.relative_to(self.folder)
                if not _LEFT_OUT.isdisjoint(name.parts) or not (path.is_file() or path.is_symlink()):
                    continue
                entry = tar.gettarinfo(path, arcname=str(name))
                entry.mtime = entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                size += entry.size
                if size > _MAX_BYTES:
                    raise JobError(
                        f"{self.folder} holds more than {_MAX_BYTES // 1024**2} MiB: give data to the job by "
                        "a channel (--channel NAME=FOLDER), and only code by SOURCE"
                    )
                if entry.isreg():
                    with path.open("rb") as file:
                        tar.addfile(entry, file)
                else:
                    tar.addfile(entry)
        return packed.getvalue()
