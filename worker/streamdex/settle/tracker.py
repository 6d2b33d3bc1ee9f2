"""One invariant: a commit never names an offset above an unsettled one.

Glossary
- *ticket*: the handle by which the rest of the program reports the one outcome of one record.
- *settled*: the record has its outcome. *Open*: it has not.
- *tracker*: the settlement state of one partition during one assignment. When the partition leaves, its tracker
  *dies*: it never commits again and is never reused, so a late ticket of it settles into nothing.
- *position*: the offset that is read next; everything below was accepted, or was no record at all (a transaction
  marker, a hole that compaction left).
- *committable*: the lowest open offset, or the position when nothing is open. All below is settled.
- *span*: the records from the lowest open one on, settled or not: what would be read again after a crash.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from streamdex.model import Outcome, Partition


class Ticket:
    """One record on its way to its outcome. Made by `Tracker.open` alone.

    `timestamp_ms` is the record's own, `outcome` is None while the record is open.
    """

    __slots__ = ("_tracker", "offset", "outcome", "size_bytes", "timestamp_ms")

    def __init__(self, tracker: "Tracker", offset: int, size_bytes: int, timestamp_ms: int) -> None:
        self._tracker = tracker
        self.offset = offset
        self.size_bytes = size_bytes
        self.timestamp_ms = timestamp_ms
        self.outcome: Outcome | None = None

    def __repr__(self) -> str:
        topic, number = self.partition
        return f"Ticket({topic}[{number}]@{self.offset}, {self.outcome or 'open'})"

    @property
    def partition(self) -> Partition:
        """The partition whose owner must settle it."""
        return self._tracker.partition

    @property
    def start(self) -> int:
        """Where this assignment of the partition started."""
        return self._tracker.start

    @property
    def span(self) -> int:
        """The span of its tracker, for the gate."""
        return self._tracker.span

    @property
    def alive(self) -> bool:
        """Whether its assignment still lasts; if not, whatever is done for it is done by the next owner, too."""
        return not self._tracker.dead

    @property
    def leaving(self) -> bool:
        """Whether its partition is being drained, or has left: nothing new is begun for the record here."""
        return self._tracker.leaving

    def settle(self, outcome: Outcome) -> bool:
        """Report the record's outcome; False when it came too late or for the second time (see `Tracker.settle`)."""
        return self._tracker.settle(self, outcome)


class TrackerStatistics(NamedTuple):
    """How one partition stands. `oldest_open_ms` is the timestamp of the lowest open record, None without one."""

    open_count: int
    open_bytes: int
    span: int
    committable: int
    position: int
    oldest_open_ms: int | None


OnSettledTwice = Callable[[Ticket, Outcome], None]


class Tracker:
    """The settlement state of one partition during one assignment; every operation is O(1), amortised.

    A queue of tickets in the order of the log: the head is always open. Rejected: a set of open offsets with a heap for
    the lowest, which costs O(log n) and does not know how much would be read again.
    """

    __slots__ = (
        "_on_settled_twice",
        "_open_bytes",
        "_open_count",
        "_position",
        "_span",
        "dead",
        "leaving",
        "partition",
        "settled_timestamp_ms",
        "start",
    )

    def __init__(self, partition: Partition, start: int, on_settled_twice: OnSettledTwice | None = None) -> None:
        """`on_settled_twice` hears of each ticket that is settled again, with the outcome that did not count."""
        self.partition = partition
        self.start = start
        self.settled_timestamp_ms: int | None = None
        """Timestamp of the record just below `committable`; None when none of this assignment's lies there."""
        self._on_settled_twice = on_settled_twice
        self._span: deque[Ticket] = deque()
        self._position = start
        self._open_count = 0
        self._open_bytes = 0
        self.dead = False
        """Whether the assignment has ended."""
        self.leaving = False
        """Whether the assignment is ending or has ended. Set by the drain, for good."""

    def open(self, offset: int, size_bytes: int = 0, timestamp_ms: int = 0) -> Ticket:
        """Accept the record at `offset`. Offsets strictly increase and may have gaps.

        Raises ValueError for an offset below the position, which may be committed already, and on a dead tracker.
        """
        if self.dead:
            raise ValueError(f"the assignment of {self.partition} has ended")
        if offset < self._position:
            raise ValueError(f"offset {offset} of {self.partition} lies below the position {self._position}")
        ticket = Ticket(self, offset, size_bytes, timestamp_ms)
        self._open_count += 1
        self._open_bytes += size_bytes
        self._position = offset + 1
        self._span.append(ticket)
        return ticket

    def settle(self, ticket: Ticket, outcome: Outcome) -> bool:
        """Note the outcome of an open ticket of this tracker.

        False when it does not count: the tracker is dead, or the ticket was settled before, which is a bug of ours;
        then the first outcome stands and `on_settled_twice` is called.
        """
        if ticket.outcome is not None:
            if self._on_settled_twice is not None:
                self._on_settled_twice(ticket, outcome)
            return False
        ticket.outcome = outcome
        if self.dead:
            return False
        self._open_count -= 1
        self._open_bytes -= ticket.size_bytes
        span = self._span
        while span and span[0].outcome is not None:
            self.settled_timestamp_ms = span.popleft().timestamp_ms
        return True

    def advance(self, position: int) -> None:
        """Note where the partition is read next, past transaction markers and holes. A lower position is ignored."""
        if not self.dead:
            self._position = max(self._position, position)

    def kill(self) -> None:
        """End the assignment. Safe twice. Open tickets stay in the hands that hold them and settle into nothing."""
        self._position = self.committable  # so that even a missing guard could not commit too much
        self.dead = self.leaving = True
        self._span.clear()
        self._open_count = 0
        self._open_bytes = 0

    @property
    def committable(self) -> int:
        """The offset to commit: all below it is settled. It never goes down."""
        return self._span[0].offset if self._span else self._position

    @property
    def span(self) -> int:
        """Records from the lowest open one on, settled or not: what a crash now would have read again."""
        return len(self._span)

    def statistics(self) -> TrackerStatistics:
        """A snapshot for metrics and the status."""
        oldest_ms = self._span[0].timestamp_ms if self._span else None
        return TrackerStatistics(
            self._open_count, self._open_bytes, self.span, self.committable, self._position, oldest_ms
        )
