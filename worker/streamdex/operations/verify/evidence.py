"""What is known of one document: what the topic demands, and what the collection holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from streamdex.model import Manifest, Partition, Position, Rank


class Spot(NamedTuple):
    """Where a record stands in the log. A replayed dead letter stands elsewhere than at its event's position."""

    topic: str
    partition: int
    offset: int


class Expectation(NamedTuple):
    """What one event demands. A delete has no chunks. `texts` and `metadata` are digests, `texts` one per chunk.

    An event and a point have the same metadata when they have a digest in common.
    """

    document_id: str
    rank: Rank
    position: Position
    spot: Spot
    deleted: bool
    chunk_ids: tuple[str, ...]
    texts: tuple[str, ...]
    content_hash: str
    metadata: tuple[str, ...]


class Unindexable(NamedTuple):
    """An event that cannot be indexed. It must be a dead letter, unless a newer event of its document overtook it."""

    document_id: str
    rank: Rank
    position: Position
    spot: Spot


class NoEvent(NamedTuple):
    """A record that is no event at all. It must be a dead letter."""

    position: Position
    spot: Spot


class FoundPoint(NamedTuple):
    """A stored point. `text` and `metadata` are digests; `text_fits`: its id can be that of its text.

    `position` is where its event stood, None where source and rank contradict each other.
    """

    id: str
    document_id: str
    rank: Rank
    place: int
    chunks: int
    text: str
    text_fits: bool
    metadata: tuple[str, ...]
    position: Position | None
    has_vector: bool = True


class LogSide(Enum):
    """Where a position lies, seen from the part of the log that was folded."""

    BEFORE = "before the log's start, or in another log"
    WITHIN = "within the folded part"
    AFTER = "after the cut-off"


@dataclass(frozen=True, slots=True)
class FoldScope:
    """The part of the log that is folded: [begin, cut-off) of each partition, of the deployment's epoch.

    `generation` is the deployment's, -1 where it is not known. `from_start` is false where the deployment may have
    begun to read at the log's end: then a document that it never read looks like one that it lost.
    """

    ranges: Mapping[Partition, tuple[int, int]]
    epoch: int
    generation: int
    from_start: bool = True

    def locate(self, position: Position | None) -> LogSide:
        """Where a position lies. An unknown one lies before the folded part."""
        if position is None or position.epoch != self.epoch:
            return LogSide.BEFORE
        log = self.ranges.get(Partition(position.topic, position.partition))
        if log is None or position.offset < log[0]:
            return LogSide.BEFORE
        return LogSide.WITHIN if position.offset < log[1] else LogSide.AFTER


@dataclass(frozen=True, slots=True)
class Evidence:
    """One document. `expected` is its newest event that is no dead letter.

    `dead_lettered` are its events that the dead-letter topic holds. They need not be indexed, but may be: because the
    dead letter was replayed after the cut-off, or because the event was read again and passed the second time.
    """

    document_id: str
    expected: Expectation | None = None
    dead_lettered: tuple[Expectation, ...] = ()
    unindexable: tuple[Unindexable, ...] = ()
    manifest: Manifest | None = None
    points: tuple[FoundPoint, ...] = ()

    @property
    def reference(self) -> Expectation | None:
        """The event to compare with: the expected one, or a newer dead-lettered one that the collection has."""
        if self.manifest is not None:
            for one in self.dead_lettered:
                newer = self.expected is None or event_order(one.rank) > event_order(self.expected.rank)
                if newer and same_event(one.rank, self.manifest.rank):
                    return one
        return self.expected


def event_order(rank: Rank) -> Rank:
    """A rank without its generation: an event that is cut in another way is still the same event."""
    return rank.of_generation(0)


def same_event(one: Rank, other: Rank) -> bool:
    """Whether two ranks belong to one event, however it was cut."""
    return event_order(one) == event_order(other)


def place_of(where: Position | Spot) -> str:
    """topic[partition]@offset, for people."""
    return f"{where.topic}[{where.partition}]@{where.offset}"
