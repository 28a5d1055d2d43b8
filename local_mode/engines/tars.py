"""Tar archives as streams: written to and read from Docker's archive API without a file in between."""

import io
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO

from local_mode.engines.base import InputFile, read_chunks

# At a time: tarfile moves what is left of it at each header, its default makes large files slow.
_READ_BYTES = 64 << 10

Entry = tuple[tarfile.TarInfo, IO[bytes] | None]


def tar_stream(
    top: str, directories: Sequence[PurePosixPath], files: Iterable[InputFile], check: Callable[[], None]
) -> Iterator[bytes]:
    """An archive of the folder `top`, in pieces: empty directories, and files with their folders.

    Everyone may write everywhere, in `top` itself too: the image's user need not be root.
    """
    made: set[PurePosixPath] = set()
    now = int(time.time())  # zip, and so pip, takes no file from before 1980

    def folders(path: PurePosixPath) -> Iterator[bytes]:
        for folder in (*reversed(path.parents), path):
            if folder not in made:
                made.add(folder)
                info = tarfile.TarInfo((top / folder).as_posix())
                info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o777, now
                yield info.tobuf(tarfile.PAX_FORMAT)

    for directory in directories:
        yield from folders(directory)
    for file in files:
        check()
        yield from folders(file.path.parent)
        size, content = file.open()
        info = tarfile.TarInfo((top / file.path).as_posix())
        info.size, info.mode, info.mtime = size, 0o666, now
        yield info.tobuf(tarfile.PAX_FORMAT)
        with content:
            written = 0
            for chunk in read_chunks(content, check):
                written += len(chunk)
                yield chunk
        if written != size:
            raise OSError(f"{file.path} changed while it was read: {written} of {size} bytes")
        yield b"\0" * (-size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def read_tar_stream(chunks: Iterable[bytes]) -> Iterator[Entry]:
    """The members of an archive that comes in pieces; each must be read before the next."""
    with tarfile.open(fileobj=StreamReader(chunks), mode="r|", bufsize=_READ_BYTES) as archive:
        while (info := archive.next()) is not None:
            yield info, archive.extractfile(info) if info.isreg() else None
            # Kept for going back, which a stream cannot do: 100,000 of them take 100 MB.
            archive.members.clear()  # type: ignore[attr-defined]  # of the class; its stub has it not


def without_top(entries: Iterable[Entry], top: str) -> Iterator[Entry]:
    """The members of Docker's archive of a folder, which all begin with the folder's own name."""
    for info, content in entries:
        name = info.name.removeprefix("./").rstrip("/")
        if name == top:
            if not info.isdir():
                return  # a link or a file in the folder's place
            continue
        info.name = name.removeprefix(f"{top}/")
        if info.islnk():
            info.linkname = info.linkname.removeprefix("./").removeprefix(f"{top}/")
        yield info, content


class StreamReader(io.RawIOBase):
    """Pieces as a file to read from."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, all of them unless the stream ends."""
        parts, wanted = [self._rest], size - len(self._rest)
        while size < 0 or wanted > 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            wanted -= len(chunk)
        data = b"".join(parts)
        self._rest = data[size:] if 0 <= size < len(data) else b""
        return data if size < 0 else data[:size]
