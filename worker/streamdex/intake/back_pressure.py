"""Back-pressure, decided: which partitions may be read, by how much is open. Pure.

Two marks each: a partition pauses at the upper one and resumes at the lower one, so that it does not flutter. The
records of a partition are counted by its *span* (from the lowest open one on, settled or not): that bounds what a
crash would have read again, and what a stuck record can pile up behind it.
"""

from dataclasses import dataclass
from typing import NamedTuple

from streamdex.model import Partition

LARGEST_CHUNK = 256  # records taken at once; more would hold up the event loop for milliseconds


class BackPressureStatistics(NamedTuple):
    """What is taken in and not settled."""

    span: int
    open_bytes: int
    full: bool


@dataclass(slots=True)
class _Standing:
    span: int = 0
    open_bytes: int = 0
    paused: bool = False


class BackPressure:
    """At most `record_bound` records of a partition and about `byte_bound` bytes in all are taken in and not settled.

    The bytes may go over by what one poll brings (`chunk_records` of them); the records never do.
    """

    def __init__(self, record_bound: int, byte_bound: int) -> None:
        self.byte_bound = byte_bound
        self.chunk_records = max(1, min(LARGEST_CHUNK, record_bound // 8))
        """How many records may be taken from partitions that are not paused, before they are asked about again."""
        self._upper_span = max(1, record_bound - self.chunk_records + 1)
        self._lower_span = self._upper_span // 2
        self._lower_bytes = byte_bound // 2
        self._partitions: dict[Partition, _Standing] = {}
        self._open_bytes = 0
        self._full = False

    def took(self, partition: Partition, records: int, size_bytes: int) -> None:
        """Records of a partition were taken in."""
        standing = self._partitions.get(partition)
        if standing is None:
            standing = self._partitions[partition] = _Standing()
        standing.span += records
        standing.open_bytes += size_bytes
        if standing.span >= self._upper_span:
            standing.paused = True
        self._count_bytes(size_bytes)

    def settled(self, partition: Partition, size_bytes: int, span: int) -> None:
        """A record of a living assignment has its outcome; `span` is its tracker's, after that."""
        standing = self._partitions.get(partition)
        if standing is None:
            return
        standing.span = span
        standing.open_bytes -= size_bytes
        if span <= self._lower_span:
            standing.paused = False
        self._count_bytes(-size_bytes)

    def revoked(self, partition: Partition) -> None:
        """The partition left: what is open of it is no longer ours. Unknown ones are ignored."""
        standing = self._partitions.pop(partition, None)
        if standing is not None:
            self._count_bytes(-standing.open_bytes)

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
        standing = self._partitions.get(partition)
        return standing is not None and standing.paused

    def statistics(self) -> BackPressureStatistics:
        """A snapshot for metrics and the status."""
        span = sum(standing.span for standing in self._partitions.values())
        return BackPressureStatistics(span, self._open_bytes, self._full)
