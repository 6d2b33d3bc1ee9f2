"""What is missing in a new collection, compared with the one that it is to replace, document by document. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from streamdex.index import Progress
from streamdex.model import Manifest, Order, Partition, Ranges


class Gap(StrEnum):
    """Why the successor does not have a document, or has an older state of it."""

    NOT_INDEXED = "its last event was not indexed with these settings: see streamdex dlq list"
    NOT_IN_THE_LOG = "the log does not hold its last event any more: produce it again"
    OTHER_TOPIC = "its topic is not among kafka.topics: name all that are indexed into this collection"


@dataclass(frozen=True, slots=True)
class GapFinder:
    """Compares manifests. `log` is [begin, end) of each partition; `epoch` and `order` are the successor's.

    The predecessor's manifests have the ranks that `Alias.documents` gives them.
    """

    log: Ranges
    epoch: int
    order: Order

    def is_ahead(self, old: Manifest, progress: Mapping[Partition, Progress]) -> bool:
        """Whether the predecessor has an event of the document that the successor has not reached yet."""
        at = old.position
        partition = Partition(at.topic, at.partition)
        if at.epoch != self.epoch or partition not in self.log:
            return False
        known = progress.get(partition)
        return at.offset >= (known.offset if known is not None else self.log[partition][0])

    def gap(self, old: Manifest, found: Manifest | None) -> Gap | None:
        """What the successor misses of a document, by the predecessor's manifest and its own."""
        if not self._has_gap(old, found):
            return None
        at = old.position
        if at.topic not in {partition.topic for partition in self.log}:
            return Gap.OTHER_TOPIC
        begin, end = self.log.get(Partition(at.topic, at.partition), (0, 0))
        return Gap.NOT_INDEXED if at.epoch == self.epoch and begin <= at.offset < end else Gap.NOT_IN_THE_LOG

    def _has_gap(self, old: Manifest, found: Manifest | None) -> bool:
        if found is None:
            return _is_live(old)
        older = self._is_older(found, old)
        if older is None:
            return _is_live(old) != _is_live(found)
        return older and (_is_live(old) or _is_live(found))

    def _is_older(self, found: Manifest, old: Manifest) -> bool | None:
        """Whether the successor has an older event of the document.

        None where nobody can know: in another order other events win, and offsets of two logs do not compare.
        """
        order = Order.VERSION if old.rank.sequence else Order.OFFSET
        if order is not self.order:
            return None
        if order is Order.VERSION:
            return found.rank.version < old.rank.version
        here, there = found.position, old.position
        if (here.topic, here.partition, here.epoch) != (there.topic, there.partition, there.epoch):
            return None
        return here.offset < there.offset


def _is_live(manifest: Manifest) -> bool:
    return manifest.tombstone_until_ms is None
