"""How many jobs run at once: the others wait for their turn, in order."""

import threading
from collections.abc import Callable


class Slots:
    """At most `limit` tickets are served at a time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._changed = threading.Condition()
        self._waiting: list[Ticket] = []
        self._served: set[Ticket] = set()

    def ticket(self, *, runs: bool = False) -> "Ticket":
        """The next in the queue; with `runs` it is served at once, whatever the limit."""
        ticket = Ticket(self)
        with self._changed:
            if runs:
                self._served.add(ticket)
            else:
                self._waiting.append(ticket)
        return ticket

    def look_again(self) -> None:
        """Has everybody who waits ask `gives_up`."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, ticket: "Ticket", gives_up: Callable[[], bool], say: Callable[[int], None]) -> None:
        said = None
        with self._changed:
            while ticket not in self._served and not gives_up():
                place = self._waiting.index(ticket)
                if place == 0 and len(self._served) < self.limit:
                    self._served.add(self._waiting.pop(0))
                    self._changed.notify_all()
                    return
                if place != said:
                    say(place)
                    said = place
                self._changed.wait()

    def leave(self, ticket: "Ticket") -> None:
        with self._changed:
            self._served.discard(ticket)
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            self._changed.notify_all()


class Ticket:
    """One job's place."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots

    def wait(self, *, gives_up: Callable[[], bool], say: Callable[[int], None]) -> None:
        """Returns at its turn, or when `gives_up`; `say` is told how many are before it when that changes."""
        self.slots.wait(self, gives_up, say)

    def leave(self) -> None:
        """Lets the next one in."""
        self.slots.leave(self)
