"""What is known of one document: what the log asks for, and what the collection has."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from streamdex.model import Manifest, Partition, Position, Rank

GENERATIONS = 64  # the low part of a rank tells who cut the document, not which event it is


class Spot(NamedTuple):
    """Where a record stands in the log: elsewhere than its event's position where it is a replayed dead letter."""

    topic: str
    partition: int
    offset: int


class Expectation(NamedTuple):
    """What one event asks for; a delete has no chunks. `texts` and `metadata` are digests, `texts` one per chunk.

    The metadata of an event and of a point are the same when they have a digest in common.
    """

    document_key: str
    rank: Rank
    position: Position
    spot: Spot
    deleted: bool
    chunk_ids: tuple[str, ...]
    texts: tuple[str, ...]
    content_hash: str
    metadata: tuple[str, ...]


class Unindexable(NamedTuple):
    """An event that cannot be indexed: a dead letter, unless a newer event of its document overtook it."""

    document_key: str
    rank: Rank
    position: Position
    spot: Spot


class NoEvent(NamedTuple):
    """A record that is no event at all: a dead letter."""

    position: Position
    spot: Spot


class FoundPoint(NamedTuple):
    """A point as found. `text_fits` tells that its id can be that of its text, `text` and `metadata` are digests.

    `position` is where its event stood, None where its source and its rank do not belong together.
    """

    id: str
    document_key: str
    rank: Rank
    place: int
    chunks: int
    text: str
    text_fits: bool
    metadata: tuple[str, ...]
    position: Position | None
    has_vector: bool = True


class Where(Enum):
    """How a position lies to the log as it was folded."""

    BELOW = "below the log's start, or in another log"
    WITHIN = "within the log"
    BEYOND = "beyond the horizon"


@dataclass(frozen=True, slots=True)
class Horizon:
    """The log as folded: [begin, end) of each partition; the deployment's epoch, and its generation (-1: not known).

    `from_start` is false for a deployment that may have begun to read at the log's end: what it has never seen cannot
    be told from what it lacks.
    """

    ranges: Mapping[Partition, tuple[int, int]]
    epoch: int
    generation: int
    from_start: bool = True

    def locate(self, position: Position | None) -> Where:
        """Where a position lies; one that is not known lies below."""
        if position is None or position.epoch != self.epoch:
            return Where.BELOW
        log = self.ranges.get(Partition(position.topic, position.partition))
        if log is None or position.offset < log[0]:
            return Where.BELOW
        return Where.WITHIN if position.offset < log[1] else Where.BEYOND


@dataclass(frozen=True, slots=True)
class Evidence:
    """One document. `expected` is its newest event that is no dead letter.

    `dead_lettered` are those of its events that the dead-letter topic holds. They need not be indexed, but may be: a letter
    that was replayed beyond the horizon, or an event that was read again and passed at the second time.
    """

    document_key: str
    expected: Expectation | None = None
    dead_lettered: tuple[Expectation, ...] = ()
    unindexable: tuple[Unindexable, ...] = ()
    manifest: Manifest | None = None
    points: tuple[FoundPoint, ...] = ()

    @property
    def asked(self) -> Expectation | None:
        """The event that the collection is held against: the expected one, or a newer lettered one that it has."""
        if self.manifest is not None:
            for one in self.dead_lettered:
                newer = self.expected is None or event_order(one.rank) > event_order(self.expected.rank)
                if newer and same_event(one.rank, self.manifest.rank):
                    return one
        return self.expected


def event_order(rank: Rank) -> Rank:
    """A rank without its generation: the same event cut in another way is no other event."""
    if rank.sequence:
        return Rank(rank.version, rank.sequence // GENERATIONS)
    return Rank(rank.version // GENERATIONS)


def same_event(one: Rank, other: Rank) -> bool:
    """Whether two ranks are of one event, cut in one way or another."""
    return event_order(one) == event_order(other)


def place_of(where: Position | Spot) -> str:
    """For people: topic[partition]@offset."""
    return f"{where.topic}[{where.partition}]@{where.offset}"
