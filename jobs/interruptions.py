"""Ctrl-C counted instead of raised: what it means depends on how often it came."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruptions:
    """SIGINT and SIGTERM since the beginning, and a wait that either ends early."""

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @classmethod
    @contextmanager
    def caught(cls) -> Iterator["Interruptions"]:
        """Count the signals of this process inside the block; call it in the main thread."""
        interruptions = cls()
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, interruptions._came) for number in numbers]
        try:
            yield interruptions
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
            os.close(interruptions._read)
            os.close(interruptions._write)

    def _came(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        # The pipe ends a wait; a full one has enough in it to end the next wait, too.
        try:
            os.write(self._write, b"!")
        except BlockingIOError:
            return

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a signal comes."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        if ready:
            os.read(self._read, 4096)
