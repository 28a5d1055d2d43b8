"""Processes of hosts, found by what cannot be shaken off: their parents, and the tree they were given.

A script may leave its process group or its parent, and clear its environment, but hardly all three
before it is looked for. Read from /proc: elsewhere than on Linux the process group has to do.
"""

import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from drydock.contract import BASE_DIR_VARIABLE

_PROC = Path("/proc")


def kill_trees(roots: Iterable[int], *, spare: int | None = None) -> None:
    """SIGKILL to processes and all that descend from them, but for the process `spare` itself."""
    children = _children()
    pending, found = list(roots), set[int]()
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending += children[pid]
    for pid in found - {spare}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def kill_marked(base: Path, *, spare: Callable[[int], bool] = lambda _pid: False) -> None:
    """SIGKILL to every process tree whose SAGEMAKER_BASE_DIR is `base` or below, until none is left.

    A process that `spare` is true of is left alone.
    """
    killed: set[int] = set()
    while found := {pid for pid in marked(base) if not spare(pid)} - killed:
        kill_trees(found)
        killed |= found


def marked(base: Path) -> Iterator[int]:
    """The processes whose environment puts their tree at `base` or below it."""
    marks = (f"{BASE_DIR_VARIABLE}={base}\0".encode(), f"{BASE_DIR_VARIABLE}={base}/".encode())
    for pid in _pids():
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            environment = b"\0" + (_PROC / str(pid) / "environ").read_bytes()
            if any(b"\0" + mark in environment for mark in marks):
                yield pid


def _children() -> defaultdict[int, list[int]]:
    children = defaultdict[int, list[int]](list)
    for pid in _pids():
        with contextlib.suppress(OSError):  # ended meanwhile
            # "PID (NAME) STATE PARENT ...", and NAME may hold anything.
            status = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
            children[int(status.rpartition(")")[2].split()[1])].append(pid)
    return children


def _pids() -> Iterator[int]:
    if _PROC.is_dir():
        yield from (int(folder.name) for folder in _PROC.iterdir() if folder.name.isdecimal())
