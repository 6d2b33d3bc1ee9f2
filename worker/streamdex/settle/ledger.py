"""The living trackers, by partition: what is assigned to this replica, and what of it may be committed."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from streamdex.model import Partition
from streamdex.settle.tracker import OnSettledTwice, Tracker, TrackerStatistics


class Mark(NamedTuple):
    """What may be committed for one partition, and by whose authority.

    `timestamp_ms` is that of the record just below `offset`; None when no record of this assignment lies there.
    """

    tracker: Tracker
    offset: int
    timestamp_ms: int | None


class PartitionStatus(NamedTuple):
    """How one partition stands. `committed` is None until this assignment has committed."""

    tracker: TrackerStatistics
    committed: int | None


class LedgerStatistics(NamedTuple):
    """All partitions of this replica together. `oldest_open_s`: age of the oldest open record by its own timestamp."""

    partitions: int
    open_records: int
    open_bytes: int
    oldest_open_s: float


class Ledger:
    """Fenced by identity: each assignment makes a new tracker, and what a dead one left behind counts for nothing."""

    def __init__(self, on_settled_twice: OnSettledTwice | None = None) -> None:
        self._on_settled_twice = on_settled_twice
        self._trackers: dict[Partition, Tracker] = {}
        self._noted: dict[Partition, int] = {}

    def assign(self, partition: Partition, start: int) -> Tracker:
        """A partition came to this replica and is read from `start`. A tracker it had before dies."""
        self.revoke((partition,))
        tracker = Tracker(partition, start, self._on_settled_twice)
        self._trackers[partition] = tracker
        return tracker

    def revoke(self, partitions: Collection[Partition]) -> None:
        """Partitions left this replica, committed or not: their trackers die. Unknown ones are ignored."""
        for partition in partitions:
            tracker = self._trackers.pop(partition, None)
            self._noted.pop(partition, None)
            if tracker is not None:
                tracker.kill()

    def tracker(self, partition: Partition) -> Tracker | None:
        """The living tracker of a partition; None when this replica does not have it."""
        return self._trackers.get(partition)

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that this replica has."""
        return tuple(self._trackers)

    def marks(self) -> dict[Partition, Mark]:
        """What may be committed, for every partition."""
        return {
            partition: Mark(tracker, tracker.committable, tracker.settled_timestamp_ms)
            for partition, tracker in self._trackers.items()
        }

    def moved(self) -> dict[Partition, Mark]:
        """What may be committed and was not yet: also the start of an assignment that never committed.

        Otherwise a partition that starts at the end of its log would have a commit, but no progress until its first
        record, and a restart would take the collection for a new one.
        """
        return {
            partition: mark for partition, mark in self.marks().items() if mark.offset > self._noted.get(partition, -1)
        }

    def living(self, marks: Iterable[Mark]) -> dict[Partition, Mark]:
        """Of these marks, those whose assignment still lasts; a dead tracker's must not be committed."""
        return {mark.tracker.partition: mark for mark in marks if not mark.tracker.dead}

    def noted(self, marks: Iterable[Mark]) -> None:
        """These were committed. Those whose assignment ended meanwhile are ignored."""
        for partition, mark in self.living(marks).items():
            self._noted[partition] = max(mark.offset, self._noted.get(partition, mark.offset))

    def uncommitted(self, partitions: Collection[Partition]) -> int:
        """How many offsets of these are settled and not committed: their records would be read again."""
        marks = self.moved()
        return sum(
            mark.offset - max(mark.tracker.start, self._noted.get(partition, 0))
            for partition, mark in marks.items()
            if partition in partitions
        )

    def statuses(self) -> dict[Partition, PartitionStatus]:
        """A snapshot of each partition, for metrics and the status."""
        return {
            partition: PartitionStatus(tracker.statistics(), self._noted.get(partition))
            for partition, tracker in self._trackers.items()
        }

    def statistics(self, now_ms: int) -> LedgerStatistics:
        """A snapshot for metrics and the status."""
        each = [tracker.statistics() for tracker in self._trackers.values()]
        oldest_ms = min((one.oldest_open_ms for one in each if one.oldest_open_ms is not None), default=now_ms)
        return LedgerStatistics(
            partitions=len(each),
            open_records=sum(one.open_count for one in each),
            open_bytes=sum(one.open_bytes for one in each),
            oldest_open_s=max(0.0, (now_ms - oldest_ms) / 1000),
        )
