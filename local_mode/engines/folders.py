"""Folders of jobs on this machine: linked in, packed, removed, whatever a script did to them."""

import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from local_mode.engines.base import InputFolder


def link_tree(folder: InputFolder, base: Path, check: Callable[[], None]) -> None:
    """A tree of real folders and links to files: to add or delete here leaves the user's folder alone."""
    pending = [(folder.source, base / folder.path, frozenset({folder.source.resolve()}))]
    while pending:
        source, target, ancestors = pending.pop()
        check()
        target.mkdir(parents=True, exist_ok=True)
        for entry in os.scandir(source):
            if entry.is_dir():
                real = Path(entry.path).resolve()
                if real not in ancestors:  # a link to its own parent would never end
                    pending.append((Path(entry.path), target / entry.name, ancestors | {real}))
            elif entry.is_file():
                (target / entry.name).symlink_to(Path(entry.path).absolute())


def remove_tree(folder: Path) -> None:
    """Removes a folder and all below it, whatever modes a script gave them."""

    def open_up(function: Callable[..., Any], path: str, _error: Any) -> None:
        parent = os.path.dirname(path)  # noqa: PTH120  shutil speaks strings
        for locked in (parent, path):
            if os.path.isdir(locked) and not os.path.islink(locked):  # noqa: PTH112, PTH114  the same
                os.chmod(locked, stat.S_IRWXU)  # noqa: PTH101  the same
        if function in {os.scandir, os.open, os.lstat}:
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            function(path)

    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder, onerror=open_up)


def folder_entries(
    root: Path, *, inside: PurePosixPath
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """What a folder holds, names relative to it; `inside` is where a container would have it."""
    pending = [root]
    names: dict[tuple[int, int], str] = {}  # of files with several, by device and number
    while pending:
        folder = pending.pop()
        if not os.access(folder, os.R_OK | os.X_OK):
            folder.chmod(stat.S_IRWXU)  # a script may leave odd modes; the folder is this host's own
        for entry in sorted(os.scandir(folder), key=lambda item: item.name):
            path = Path(entry.path)
            info = tarfile.TarInfo(path.relative_to(root).as_posix())
            status = entry.stat(follow_symlinks=False)
            info.mtime, info.mode = status.st_mtime, stat.S_IMODE(status.st_mode)
            if entry.is_symlink():
                info.type, info.linkname = tarfile.SYMTYPE, _container_link(path, root=root, inside=inside)
                yield info, None
            elif entry.is_dir():
                info.type = tarfile.DIRTYPE
                yield info, None
                pending.append(path)
            elif (first := names.get((status.st_dev, status.st_ino))) is not None:
                info.type, info.linkname = tarfile.LNKTYPE, first
                yield info, None
            elif stat.S_ISREG(status.st_mode):
                if status.st_nlink > 1:
                    names[status.st_dev, status.st_ino] = info.name
                if not os.access(path, os.R_OK):
                    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
                with path.open("rb") as file:
                    info.size = os.fstat(file.fileno()).st_size
                    yield info, file
            else:
                info.type = tarfile.FIFOTYPE
                yield info, None


def _container_link(path: Path, *, root: Path, inside: PurePosixPath) -> str:
    """A link's target; an absolute one below the folder as a container would have it."""
    target = Path(os.readlink(path))  # noqa: PTH115  Path.readlink is the same; os keeps trailing parts
    if target.is_absolute() and target.is_relative_to(root):
        return str(inside / target.relative_to(root))
    return str(target)
