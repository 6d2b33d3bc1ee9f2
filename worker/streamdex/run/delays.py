"""Actions that wait for their time, by ticket, and are dropped when the ticket's partition leaves."""

import asyncio
from collections.abc import Callable, Collection

from streamdex.model import Partition
from streamdex.settle import Ticket


class Delays:
    """At most one action waits for a ticket."""

    def __init__(self) -> None:
        self._timers: dict[Ticket, asyncio.TimerHandle] = {}

    def later(self, ticket: Ticket, delay_s: float, action: Callable[[], None]) -> None:
        """Do `action` after a while, unless it is dropped before."""

        def act() -> None:
            del self._timers[ticket]
            action()

        self._timers[ticket] = asyncio.get_running_loop().call_later(delay_s, act)

    def drop(self, partitions: Collection[Partition]) -> set[Ticket]:
        """Drop what waits for tickets of these partitions; returns the tickets."""
        dropped = {ticket for ticket in self._timers if ticket.partition in partitions}
        for ticket in dropped:
            self._timers.pop(ticket).cancel()
        return dropped
