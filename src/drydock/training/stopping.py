"""A stop asked for by signal: remembered, and acted on between two steps."""

import signal
from types import FrameType


class StopRequested(Exception):  # noqa: N818  not an error: the platform or the user asked
    """Raised between two batches once a stop was asked for."""


class Stop:
    """Whether SIGTERM or SIGINT has come."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def listen(self) -> None:
        """From here on both signals ask for a stop, rather than end the process; a second SIGINT ends it."""
        signal.signal(signal.SIGTERM, self._receive)
        signal.signal(signal.SIGINT, self._receive)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Raise StopRequested where a stop was asked for."""
        if self.signal is not None:
            raise StopRequested(self.signal.name)
