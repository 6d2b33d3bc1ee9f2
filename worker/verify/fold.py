"""The fold of the topic: what the newest event of each document asks for, kept on disk and compared by key."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from worker.model import Manifest, Partition, Position, Rank
from worker.verify.differences import Difference, Kind, Report

GENERATIONS = 64  # the low part of a rank tells who cut the document, not which event it is

_SCHEMA = """
CREATE TABLE letters (topic TEXT, partition INTEGER, epoch INTEGER, offset INTEGER,
                      PRIMARY KEY (topic, partition, epoch, offset)) WITHOUT ROWID;
CREATE TABLE expected (key TEXT PRIMARY KEY, version INTEGER, sequence INTEGER, place TEXT, deleted INTEGER,
                       ids TEXT, content TEXT, metadata TEXT) WITHOUT ROWID;
CREATE TABLE stored (key TEXT PRIMARY KEY, version INTEGER, sequence INTEGER, generation INTEGER, ids TEXT,
                     place TEXT, seen INTEGER DEFAULT 0) WITHOUT ROWID;
"""


class Expectation(NamedTuple):
    """What one event asks for. `metadata_digest` stands for the metadata as stored; a delete has no chunk ids."""

    document_key: str
    rank: Rank
    position: Position
    deleted: bool
    chunk_ids: tuple[str, ...]
    content_hash: str
    metadata_digest: str


class FoundPoint(NamedTuple):
    """A point as found. `text_fits` tells that its id is that of its own text."""

    id: str
    document_key: str
    rank: Rank
    place: int
    chunks: int
    text_fits: bool
    metadata_digest: str


@dataclass(frozen=True, slots=True)
class Horizon:
    """The log as folded: [begin, end) of each partition, and the deployment's generation and epoch."""

    ranges: Mapping[Partition, tuple[int, int]]
    epoch: int
    generation: int


class Fold:
    """Feed it letters, then events, then manifests, then points, and read the report; in that order."""

    def __init__(self, path: Path, horizon: Horizon) -> None:
        """`path` is a file that does not exist yet."""
        self._horizon = horizon
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA + "BEGIN;")
        self.report = Report()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def letter(self, position: Position) -> None:
        """A record that the dead-letter topic holds: the fold skips it."""
        key = (position.topic, position.partition, position.epoch, position.offset)
        self._database.execute("INSERT OR IGNORE INTO letters VALUES (?, ?, ?, ?)", key)

    def is_letter(self, position: Position) -> bool:
        """Whether the dead-letter topic holds the record at this position."""
        key = (position.topic, position.partition, position.epoch, position.offset)
        found = self._database.execute(
            "SELECT 1 FROM letters WHERE topic = ? AND partition = ? AND epoch = ? AND offset = ?", key
        )
        return found.fetchone() is not None

    def event(self, expected: Expectation) -> None:
        """An event of the log that is no dead letter: the newest one of its document stands."""
        self._database.execute(
            "INSERT INTO expected VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
            "version = excluded.version, sequence = excluded.sequence, place = excluded.place, "
            "deleted = excluded.deleted, ids = excluded.ids, content = excluded.content, metadata = excluded.metadata "
            "WHERE (excluded.version, excluded.sequence) >= (version, sequence)",
            (
                expected.document_key,
                *expected.rank,
                _place(expected.position),
                expected.deleted,
                json.dumps(expected.chunk_ids),
                expected.content_hash,
                expected.metadata_digest,
            ),
        )

    def not_indexable(self, position: Position) -> None:
        """An event that cannot be indexed: it must be found in the dead-letter topic."""
        if not self.is_letter(position):
            self.report.add(Difference(Kind.NOT_DEAD_LETTERED, "", _place(position)))

    def manifest(self, found: Manifest) -> None:
        """A document as the collection remembers it."""
        self._database.execute(
            "INSERT OR REPLACE INTO stored (key, version, sequence, generation, ids, place) VALUES (?, ?, ?, ?, ?, ?)",
            (
                found.document_key,
                *found.rank,
                found.generation,
                json.dumps(found.chunk_ids),
                _place(found.position),
            ),
        )
        expected = self._database.execute(
            "SELECT version, sequence, deleted, ids, content FROM expected WHERE key = ?", (found.document_key,)
        ).fetchone()
        if expected is None:
            self._without_event(found)
        else:
            self.report.documents += 1
            self._compare(found, *expected)

    def _without_event(self, found: Manifest) -> None:
        begin, end = self._horizon.ranges.get(Partition(found.position.topic, found.position.partition), (0, 0))
        if found.position.epoch != self._horizon.epoch or found.position.offset < begin or begin == end == 0:
            self.report.unverifiable += 1
        elif found.position.offset >= end:
            self.report.beyond_horizon += 1
        elif found.tombstone_until_ms is None:
            self._differs(Kind.UNEXPECTED_DOCUMENT, found)

    def _compare(self, found: Manifest, version: int, sequence: int, deleted: int, ids: str, content: str) -> None:
        here, there = self._event_order(found.rank), self._event_order(Rank(version, sequence))
        if here < there:
            self._differs(Kind.STALE_DOCUMENT, found)
        elif here > there:
            if self._within(found.position):
                self._differs(Kind.UNEXPECTED_DOCUMENT, found)
            else:
                self.report.beyond_horizon += 1
        else:
            same_cut = found.generation != self._horizon.generation or json.loads(ids) == list(found.chunk_ids)
            same_kind = bool(deleted) == (found.tombstone_until_ms is not None)
            if not (same_cut and same_kind and content == found.content_hash):
                self._differs(Kind.WRONG_CONTENT, found)

    def _event_order(self, rank: Rank) -> Rank:
        """A rank without its generation: the same event cut in another way is no difference."""
        if rank.sequence:
            return Rank(rank.version, rank.sequence // GENERATIONS)
        return Rank(rank.version // GENERATIONS)

    def _within(self, position: Position) -> bool:
        begin, end = self._horizon.ranges.get(Partition(position.topic, position.partition), (0, 0))
        return position.epoch == self._horizon.epoch and begin <= position.offset < end

    def point(self, found: FoundPoint) -> None:
        """A point of the collection, held against its document's manifest."""
        self.report.points += 1
        row = self._database.execute(
            "SELECT s.version, s.sequence, s.ids, s.place, e.version, e.sequence, e.metadata FROM stored s "
            "LEFT JOIN expected e ON e.key = s.key WHERE s.key = ?",
            (found.document_key,),
        ).fetchone()
        ids = json.loads(row[2]) if row else []
        if found.id not in ids:
            self.report.add(Difference(Kind.EXTRA_CHUNK, found.document_key, row[3] if row else ""))
            return
        self._database.execute("UPDATE stored SET seen = seen + 1 WHERE key = ?", (found.document_key,))
        rank = Rank(row[0], row[1])
        if found.rank != rank:
            self.report.add(Difference(Kind.STALE_CHUNK, found.document_key, row[3]))
            return
        same_event = row[4] is not None and self._event_order(Rank(row[4], row[5])) == self._event_order(rank)
        wrong_metadata = same_event and found.metadata_digest != row[6]
        if wrong_metadata or not found.text_fits or (found.place, found.chunks) != (ids.index(found.id), len(ids)):
            self.report.add(Difference(Kind.WRONG_PAYLOAD, found.document_key, row[3]))

    def finish(self) -> Report:
        """Count what the collection lacks. Call it last."""
        for key, place in self._rows(
            "SELECT key, place FROM expected e "
            "WHERE NOT deleted AND NOT EXISTS (SELECT 1 FROM stored WHERE key = e.key)"
        ):
            self.report.add(Difference(Kind.MISSING_DOCUMENT, key, place))
        for key, place, ids, seen in self._rows("SELECT key, place, ids, seen FROM stored"):
            for _ in range(len(json.loads(ids)) - seen):
                self.report.add(Difference(Kind.MISSING_CHUNK, key, place))
        return self.report

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        yield from self._database.execute(query)

    def _differs(self, kind: Kind, found: Manifest) -> None:
        self.report.add(Difference(kind, found.document_key, _place(found.position)))


def _place(position: Position) -> str:
    return f"{position.topic}[{position.partition}]@{position.offset}"
