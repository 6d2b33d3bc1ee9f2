"""Decides which partitions may be read, by how much is open. Pure.

Each bound has two marks: a partition pauses at the upper one and resumes at the lower one, so it does not flap. The
records of a partition are counted by its *span* (from the lowest open one on, settled or not): that bounds what a
crash would have read again, and what a stuck record can pile up behind it.
"""

from dataclasses import dataclass
from typing import NamedTuple

from streamdex.model import Partition

LARGEST_CHUNK = 256  # records taken at once; more would hold up the event loop for milliseconds


class BackPressureStatistics(NamedTuple):
    """What is accepted and not settled."""

    span: int
    open_bytes: int
    full: bool


@dataclass(slots=True)
class _Load:
    span: int = 0
    open_bytes: int = 0
    paused: bool = False


class BackPressure:
    """At most `record_bound` records of a partition and about `byte_bound` bytes in all are accepted and not settled.

    The bytes may go over by what one poll brings (`chunk_records` of them); the records never do.
    """

    def __init__(self, record_bound: int, byte_bound: int) -> None:
        self.byte_bound = byte_bound
        self.chunk_records = max(1, min(LARGEST_CHUNK, record_bound // 8))
        """How many records may be taken from partitions that are not paused, before they are asked about again."""
        self._upper_span = max(1, record_bound - self.chunk_records + 1)
        self._lower_span = self._upper_span // 2
        self._lower_bytes = byte_bound // 2
        self._partitions: dict[Partition, _Load] = {}
        self._open_bytes = 0
        self._full = False

    def accepted(self, partition: Partition, records: int, size_bytes: int) -> None:
        """Records of a partition were accepted."""
        load = self._partitions.get(partition)
        if load is None:
            load = self._partitions[partition] = _Load()
        load.span += records
        load.open_bytes += size_bytes
        if load.span >= self._upper_span:
            load.paused = True
        self._count_bytes(size_bytes)

    def settled(self, partition: Partition, size_bytes: int, span: int) -> None:
        """A record of a living assignment has its outcome; `span` is its tracker's, after that."""
        load = self._partitions.get(partition)
        if load is None:
            return
        load.span = span
        load.open_bytes -= size_bytes
        if span <= self._lower_span:
            load.paused = False
        self._count_bytes(-size_bytes)

    def revoked(self, partition: Partition) -> None:
        """The partition left: what is open of it is not ours any more. Unknown ones are ignored."""
        load = self._partitions.pop(partition, None)
        if load is not None:
            self._count_bytes(-load.open_bytes)

    def _count_bytes(self, size_bytes: int) -> None:
        self._open_bytes += size_bytes
        if self._open_bytes >= self.byte_bound:
            self._full = True
        elif self._open_bytes <= self._lower_bytes:
            self._full = False

    def paused(self, partition: Partition) -> bool:
        """Whether the partition must not be read now."""
        if self._full:
            return True
        load = self._partitions.get(partition)
        return load is not None and load.paused

    def statistics(self) -> BackPressureStatistics:
        """A snapshot for metrics and the status."""
        span = sum(load.span for load in self._partitions.values())
        return BackPressureStatistics(span, self._open_bytes, self._full)
