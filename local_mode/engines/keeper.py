"""A host's keeper: it starts the program, keeps what it prints and how it ended, and outlives the service.

`python keeper.py CONTROL COMMAND...`, in a session of its own. CONTROL is a folder:

- `journal`: what was printed, in the order of its arrival, in frames: stream (1 or 2), length, bytes.
- `status`: `PID STATE CODE`, made by the service in its full length, so that a full disk does not hinder
  a change.

SIGTERM is passed on to the program. Standard library only, and no more of it than is needed: every
job waits for this to start.
"""

import os
import select
import signal
import struct
import sys

FRAME = struct.Struct(">BI")
JOURNAL, STATUS = "journal", "status"
STARTING, RUNNING, ENDED, FULL = "starting", "running", "ended", "full"
_STATUS_BYTES = 64
_READ_BYTES = 65536
# A process that left the program's group may hold its output open; it ends with the job.
_DRAIN_MILLISECONDS = 100


def main(control: str, command: list[str]) -> int:
    """Runs the command to its end; returns its exit code, 128 + N after signal N."""
    child = 0

    def pass_on(number: int, _frame: object) -> None:
        if code is None:
            os.kill(child, number)

    code = None
    # Held back until there is a program to pass it on to.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, pass_on)
    status = os.open(f"{control}/{STATUS}", os.O_WRONLY | os.O_CLOEXEC)
    journal = os.open(f"{control}/{JOURNAL}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    pipes = [os.pipe() for _ in (1, 2)]
    _write_status(status, RUNNING, 0)
    child = os.fork()
    if child == 0:
        _exec(command, [write for _read, write in pipes])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for _read, write in pipes:
        os.close(write)
    state = ENDED
    poll = select.poll()
    streams = {pipe[0]: number for number, pipe in enumerate(pipes, start=1)}
    for descriptor in (*streams, wake_read):
        poll.register(descriptor, select.POLLIN)
    while streams or code is None:
        ready = poll.poll(None if code is None else _DRAIN_MILLISECONDS)
        if not ready:
            break
        # Where both have something, what was printed comes before what was complained of.
        for descriptor, _event in sorted(ready):
            if descriptor == wake_read:
                os.read(wake_read, _READ_BYTES)
                continue
            data = os.read(descriptor, _READ_BYTES)
            if not data:
                poll.unregister(descriptor)
                del streams[descriptor]
            elif state == ENDED and not _keep(journal, streams[descriptor], data):
                state = FULL
                _kill_group(child)
        if code is None and (code := _reap(child)) is not None:
            _kill_group(child)
    assert code is not None
    _write_status(status, state, code)
    return code


def prepare(control: str | os.PathLike[str]) -> None:
    """Makes the files of a keeper that is to be started. Raises OSError."""
    for name, content in ((STATUS, _status(0, STARTING, 0)), (JOURNAL, b"")):
        with open(os.path.join(control, name), "xb") as file:  # noqa: PTH118, PTH123  pathlib is slow to import
            file.write(content)


def read_status(control: str | os.PathLike[str]) -> tuple[int, str, int] | None:
    """The keeper's process id, its state, the program's exit code; None where no program was started."""
    try:
        with open(os.path.join(control, STATUS), encoding="ascii") as file:  # noqa: PTH118, PTH123  as above
            pid, state, code = file.read().split()
    except (FileNotFoundError, ValueError):
        return None
    return None if state == STARTING else (int(pid), state, int(code))


def _exec(command: list[str], outputs: list[int]) -> None:
    """In the child: becomes the program. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.setsid()
        for descriptor, write in enumerate(outputs, start=1):
            os.dup2(write, descriptor)
        os.execvp(command[0], command)  # noqa: S606  no shell is wanted
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _keep(journal: int, stream: int, data: bytes) -> bool:
    """Adds a frame, whole or not at all; false where the disk is full."""
    frame = FRAME.pack(stream, len(data)) + data
    end = os.fstat(journal).st_size
    written = 0
    try:
        while written < len(frame):
            written += os.write(journal, frame[written:])
    except OSError:
        os.ftruncate(journal, end)
        return False
    return True


def _reap(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # empty, or on macOS: nothing left but a zombie
        return


def _write_status(status: int, state: str, code: int) -> None:
    os.pwrite(status, _status(os.getpid(), state, code), 0)


def _status(pid: int, state: str, code: int) -> bytes:
    return f"{pid} {state} {code}".ljust(_STATUS_BYTES - 1).encode() + b"\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
