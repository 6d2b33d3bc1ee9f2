"""The nouns of the program: plain values that all packages share. No I/O, no decisions.

A *record* is what Kafka delivered; an *event* is what it means for one document; a *rank* orders the events of one
document; a *manifest* is what the store remembers of a document.

Rejected: frozen dataclasses in place of named tuples. There are several values per document, and one costs four times
as much to make.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

JsonObject = dict[str, Any]


class Outcome(StrEnum):
    """How a document event ends. Every event ends in exactly one of these."""

    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    SUPERSEDED = "superseded"
    IGNORED = "ignored"
    DEAD_LETTERED = "dead_lettered"


class Order(StrEnum):
    """What orders the events of one document: their place in the log, or a version of their own."""

    OFFSET = "offset"
    VERSION = "version"


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


# Offsets [begin, end) of each partition.
Ranges = Mapping[Partition, tuple[int, int]]


class Record(NamedTuple):
    """One Kafka message as it came: key, value and headers are raw bytes, and are never logged."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def __repr__(self) -> str:
        """The position alone: a record's bytes belong to the user and must not reach a log."""
        return f"Record({self.topic}[{self.partition}]@{self.offset})"

    @property
    def size_bytes(self) -> int:
        """Roughly its size in memory: the bytes of key, value and headers."""
        size = len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        return size


class Position(NamedTuple):
    """Where an event came from in the log. A replayed dead letter keeps its original position."""

    topic: str
    partition: int
    epoch: int
    offset: int
    timestamp_ms: int


GENERATIONS = 64
SEQUENCE_BOUND = 2**53 // GENERATIONS  # Qdrant compares numbers as doubles: exact below 2^53


class Rank(NamedTuple):
    """Orders the events of one document; compares as a tuple.

    In `offset` order `version` is sequence * 64 + generation and `sequence` is 0. In `version` order `version` is
    the event's own and `sequence` is sequence * 64 + generation.
    """

    version: int
    sequence: int = 0

    @property
    def log_sequence(self) -> int:
        """The event's place in the log: base + offset."""
        return (self.sequence or self.version) // GENERATIONS

    def of_generation(self, generation: int) -> "Rank":
        """The rank that this generation gives the same event."""
        number = self.log_sequence * GENERATIONS + generation
        return Rank(self.version, number) if self.sequence else Rank(number)


class Event(NamedTuple):
    """An upsert (`text` is a string) or a delete (`text` is None) of one document."""

    document_id: str
    text: str | None
    metadata: JsonObject
    version: int | None
    position: Position

    def __repr__(self) -> str:
        """The position alone: document ids, texts and metadata belong to the user."""
        kind = "delete" if self.text is None else "upsert"
        return f"Event({kind} {self.position.topic}[{self.position.partition}]@{self.position.offset})"


class Ignored(NamedTuple):
    """A record that is about no document: a heartbeat, a control message. `why` says which, in words of ours."""

    why: str
    position: Position


class Chunk(NamedTuple):
    """A part of a document's text that gets a vector. `id` is a UUID as text, `tokens` an estimate."""

    id: str
    place: int
    text: str
    tokens: int

    def __repr__(self) -> str:
        return f"Chunk({self.place}, {self.tokens} tokens)"


class Manifest(NamedTuple):
    """What the store remembers of one document: which event wrote it last, and its chunks' ids in order.

    `tombstone_until_ms` (epoch milliseconds) is set when that event was a delete.
    """

    document_id: str
    rank: Rank
    position: Position
    chunk_ids: tuple[str, ...]
    content_hash: str
    generation: int
    tombstone_until_ms: int | None = None

    def __repr__(self) -> str:
        """The position alone: document ids belong to the user."""
        return f"Manifest({self.position.topic}[{self.position.partition}]@{self.position.offset})"


class DocumentWrite(NamedTuple):
    """One document as it must be in the collection after an event: what the index writes.

    `chunks` are all of its chunks in order; a delete has none. `listed` are the ids among them that the `before`
    manifest lists: they have their vector already. `coalesced` says that this event replaced older waiting ones.
    """

    event: Event
    rank: Rank
    generation: int
    chunks: tuple[Chunk, ...]
    listed: frozenset[str]
    content_hash: str
    before: Manifest | None
    coalesced: bool = False

    @property
    def to_embed(self) -> tuple[Chunk, ...]:
        """The chunks that need a vector: those the manifest does not list."""
        if not self.listed:
            return self.chunks
        return tuple(chunk for chunk in self.chunks if chunk.id not in self.listed)


_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}  # by the digit that it replaces


def uuid5(namespace: bytes, name: bytes) -> str:
    """RFC 9562 version 5 UUID as text; `uuid.uuid5` gives the same at three times the cost."""
    text = hashlib.sha1(namespace + name, usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"
