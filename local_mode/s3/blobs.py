"""Immutable files of bytes: the contents of objects and of parts of multipart uploads."""

import hashlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SENDFILE = 1 << 30  # bytes a call
PIECE = 1 << 20  # bytes; no object is ever held in memory as a whole


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A file whose bytes are on the disk and that nothing refers to yet."""

    name: str
    path: Path
    size: int  # bytes
    md5: str  # hexadecimal; "" where it is not computed


class Blobs:
    """Blob files below `root`: written in `incoming/`, moved to `blobs/` when complete and synced.

    A blob that the index does not name is an orphan, left by a process that was killed; `sweep`
    removes it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._blobs = root / "blobs"
        for folder in (self._incoming, self._blobs):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self._blobs / name[:2] / name

    def write(self, streams: Iterable[BinaryIO]) -> Blob:
        """The bytes of the streams, one after the other.

        Whatever a stream raises passes through and leaves nothing behind.
        """
        name = uuid.uuid4().hex
        incoming = self._incoming / name
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        try:
            with incoming.open("xb", buffering=0) as file:
                for stream in streams:
                    while piece := stream.read(PIECE):
                        digest.update(piece)
                        size += len(piece)
                        view = memoryview(piece)
                        while view:
                            view = view[file.write(view) :]
                os.fsync(file.fileno())
            path = self._settle(name, incoming)
        except BaseException:
            incoming.unlink(missing_ok=True)
            raise
        return Blob(name=name, path=path, size=size, md5=digest.hexdigest())

    def join(self, paths: Iterable[Path]) -> Blob:
        """The files' bytes one after the other, copied by the kernel; the MD5 is not computed.

        Raises FileNotFoundError, leaving nothing behind.
        """
        name = uuid.uuid4().hex
        incoming = self._incoming / name
        try:
            with incoming.open("xb", buffering=0) as file:
                for path in paths:
                    with path.open("rb", buffering=0) as source:
                        while os.sendfile(file.fileno(), source.fileno(), None, _SENDFILE):
                            pass
                size = file.tell()
                os.fsync(file.fileno())
            settled = self._settle(name, incoming)
        except BaseException:
            incoming.unlink(missing_ok=True)
            raise
        return Blob(name=name, path=settled, size=size, md5="")

    def adopt(self, path: Path) -> Blob:
        """Moves a file of the same file system in: no copy; its bytes are read once, for the digest."""
        name = uuid.uuid4().hex
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            size = file.tell()
            os.fsync(file.fileno())
        return Blob(name=name, path=self._settle(name, path), size=size, md5=digest.hexdigest())

    def link(self, name: str) -> str:
        """A second name for the same bytes; raises FileNotFoundError when the first is gone."""
        second = uuid.uuid4().hex
        path = self._place(second)
        os.link(self.path(name), path)
        _sync_folder(path.parent)
        return second

    def remove(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)

    def sweep(self, *, known: set[str]) -> int:
        """Removes every file that `known` does not name; returns the bytes freed.

        Only for a store that nobody writes to.
        """
        freed = 0
        for file in [*self._incoming.iterdir(), *self._blobs.glob("*/*")]:
            if file.name not in known or file.parent == self._incoming:
                freed += file.stat().st_size
                file.unlink()
        return freed

    def _settle(self, name: str, source: Path) -> Path:
        path = self._place(name)
        source.rename(path)
        _sync_folder(path.parent)
        return path

    def _place(self, name: str) -> Path:
        path = self.path(name)
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            _sync_folder(self._blobs)
        return path


def _sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable, not only the bytes of its files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
