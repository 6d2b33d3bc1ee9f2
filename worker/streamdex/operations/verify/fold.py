"""The fold of the topic and what the collection has, on disk, so that a topic of any size fits in little memory.

Takes about 250 bytes for each document, manifest and point, and 300 more for each chunk beyond the first.
"""

import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streamdex.model import Manifest, Position, Rank
from streamdex.operations.verify.evidence import Evidence, Expectation, FoundPoint, NoEvent, Spot, Unindexable

BATCH = 1_000  # rows inserted together: one by one costs twice as much

_PRAGMAS = (
    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16384;"  # KiB of memory, for each sort as well
)
_SCHEMA = """
CREATE TABLE letters (topic TEXT, partition INTEGER, epoch INTEGER, offset INTEGER, replays INTEGER,
                      PRIMARY KEY (topic, partition, epoch, offset, replays)) WITHOUT ROWID;
CREATE TABLE expected (key TEXT PRIMARY KEY, version INTEGER, sequence INTEGER, body TEXT) WITHOUT ROWID;
CREATE TABLE lettered (key TEXT, body TEXT);
CREATE TABLE condemned (key TEXT, body TEXT);
CREATE TABLE no_events (body TEXT);
CREATE TABLE manifests (key TEXT, body TEXT);
CREATE TABLE points (key TEXT, body TEXT);
CREATE TABLE without_vector (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE differing (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX lettered_of ON lettered (key);
CREATE INDEX condemned_of ON condemned (key);
CREATE TABLE wanted (topic TEXT, partition INTEGER, offset INTEGER, key TEXT,
                     PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
"""

# By the table that a row goes to. Of two events of a document the newer stands; of equal ones the later, a replay.
_INSERTS = {
    "letters": "INSERT OR IGNORE INTO letters VALUES (?, ?, ?, ?, ?)",
    "expected": "INSERT INTO expected VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET version = excluded.version, "
    "sequence = excluded.sequence, body = excluded.body "
    "WHERE (excluded.version, excluded.sequence) >= (version, sequence)",
    "lettered": "INSERT INTO lettered VALUES (?, ?)",
    "condemned": "INSERT INTO condemned VALUES (?, ?)",
    "no_events": "INSERT INTO no_events VALUES (?)",
    "manifests": "INSERT INTO manifests VALUES (?, ?)",
    "without_vector": "INSERT OR IGNORE INTO without_vector VALUES (?)",
    "points": "INSERT INTO points VALUES (?, ?)",
    "differing": "INSERT OR IGNORE INTO differing VALUES (?)",
    "wanted": "INSERT OR IGNORE INTO wanted VALUES (?, ?, ?, ?)",
}
_OF_DOCUMENTS = ("expected", "lettered", "condemned", "manifests", "points")


class Fold:
    """Takes letters, events, manifests, points without vector, points, in that order; gives evidence by document."""

    def __init__(self, path: Path) -> None:
        """`path` is a file that does not exist yet."""
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_PRAGMAS + _SCHEMA + "BEGIN;")
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _INSERTS}
        self._any_dead_letters = False
        self._any_without_vector = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    # --- what the topics say ------------------------------------------------------------------------------------

    def add_dead_letter(self, position: Position, replays: int) -> None:
        """The dead-letter topic holds the event of this position, as it came after so many replays."""
        self._any_dead_letters = True
        self._insert("letters", (position.topic, position.partition, position.epoch, position.offset, replays))

    def is_dead_letter(self, position: Position, replays: int) -> bool:
        """Whether the dead-letter topic holds the event of this position, as it came after so many replays.

        A replay that was dead-lettered again is a letter of its own; one that was indexed is not a letter.
        """
        if not self._any_dead_letters:
            return False
        self._flush("letters")
        found = self._database.execute(
            "SELECT 1 FROM letters WHERE topic = ? AND partition = ? AND epoch = ? AND offset = ? AND replays = ?",
            (position.topic, position.partition, position.epoch, position.offset, replays),
        )
        return found.fetchone() is not None

    def add_event(self, event: Expectation) -> None:
        """An event that must be indexed unless there is a newer one."""
        self._insert("expected", (event.document_key, *event.rank, json.dumps(event)))

    def add_dead_lettered(self, event: Expectation) -> None:
        """An event that the dead-letter topic holds, although it could be indexed."""
        self._insert("lettered", (event.document_key, json.dumps(event)))

    def add_unindexable(self, event: Unindexable) -> None:
        """An event that cannot be indexed, and that the dead-letter topic does not hold."""
        self._insert("condemned", (event.document_key, json.dumps(event)))

    def add_no_event(self, record: NoEvent) -> None:
        """A record that is no event, and that the dead-letter topic does not hold."""
        self._insert("no_events", (json.dumps(record),))

    # --- what the collection says -------------------------------------------------------------------------------

    def add_manifest(self, found: Manifest) -> None:
        """A document as the collection remembers it."""
        body = (
            found.rank,
            found.position,
            found.chunk_ids,
            found.content_hash,
            found.generation,
            found.tombstone_until_ms,
        )
        self._insert("manifests", (found.document_key, json.dumps(body)))

    def add_without_vector(self, point_id: str) -> None:
        """A point that has no vector."""
        self._any_without_vector = True
        self._insert("without_vector", (point_id,))

    def is_without_vector(self, point_id: str) -> bool:
        """Whether the point has no vector."""
        if not self._any_without_vector:
            return False
        self._flush("without_vector")
        found = self._database.execute("SELECT 1 FROM without_vector WHERE id = ?", (point_id,))
        return found.fetchone() is not None

    def add_point(self, found: FoundPoint) -> None:
        """A point of the collection."""
        self._insert("points", (found.document_key, json.dumps(found)))

    # --- the evidence -------------------------------------------------------------------------------------------

    def evidence(self) -> Iterator[Evidence]:
        """Everything there is, document by document."""
        self._flush()
        # SQLite compares texts by their UTF-8, Python by code points: the same order.
        parts = [self._of_table(table) for table in _OF_DOCUMENTS]
        merged = heapq.merge(*parts, key=itemgetter(0))
        for key, rows in groupby(merged, key=itemgetter(0)):
            yield _evidence(key, rows)

    def evidence_of(self, keys: Iterable[str]) -> list[Evidence]:
        """What the topics say of some documents; what the collection has of them is for the caller to read anew."""
        self._flush()
        return [_evidence(key, self._topics_rows(key)) for key in keys]

    def no_events(self) -> Iterator[NoEvent]:
        """The records that are no events and no dead letters."""
        self._flush()
        for (body,) in self._database.execute("SELECT body FROM no_events"):
            position, spot = json.loads(body)
            yield NoEvent(Position(*position), Spot(*spot))

    def _of_table(self, table: str) -> Iterator[tuple[str, str, str]]:
        rows = self._database.execute(f"SELECT key, body FROM {table} ORDER BY key")  # noqa: S608  # a name of our own
        for key, body in rows:
            yield key, table, body

    def _topics_rows(self, key: str) -> Iterator[tuple[str, str, str]]:
        for table in ("expected", "lettered", "condemned"):
            query = f"SELECT body FROM {table} WHERE key = ?"  # noqa: S608  # a name of our own
            for (body,) in self._database.execute(query, (key,)):
                yield key, table, body

    # --- what is to be mended -----------------------------------------------------------------------------------

    def add_differing(self, key: str) -> None:
        """A document that differs."""
        self._insert("differing", (key,))

    def differing(self, after: str, limit: int) -> list[str]:
        """Documents that differ, in order, beginning behind a key."""
        self._flush()
        query = "SELECT key FROM differing WHERE key > ? ORDER BY key LIMIT ?"
        return [key for (key,) in self._database.execute(query, (after, limit))]

    def count_differing(self) -> int:
        """How many documents differ."""
        self._flush()
        return int(self._database.execute("SELECT count(*) FROM differing").fetchone()[0])

    def want(self, spot: Spot, key: str) -> None:
        """The record at this spot is needed to mend the document; an empty key stands for a record that is no event."""
        self._insert("wanted", (*spot, key))

    def wanted_by(self, spot: Spot) -> str | None:
        """The document that the record at this spot is needed for."""
        self._flush("wanted")
        query = "SELECT key FROM wanted WHERE topic = ? AND partition = ? AND offset = ?"
        found = self._database.execute(query, spot).fetchone()
        return None if found is None else str(found[0])

    def wanted_ranges(self) -> dict[tuple[str, int], tuple[int, int]]:
        """By topic and partition, from the first offset that is wanted to behind the last one."""
        self._flush("wanted")
        query = "SELECT topic, partition, min(offset), max(offset) + 1 FROM wanted GROUP BY topic, partition"
        return {(topic, partition): (begin, end) for topic, partition, begin, end in self._database.execute(query)}

    # --- rows ---------------------------------------------------------------------------------------------------

    def _insert(self, table: str, row: tuple[Any, ...]) -> None:
        rows = self._rows[table]
        rows.append(row)
        if len(rows) >= BATCH:
            self._flush(table)

    def _flush(self, *tables: str) -> None:
        for table in tables or _INSERTS:
            if rows := self._rows[table]:
                self._database.executemany(_INSERTS[table], rows)
                rows.clear()


def _evidence(key: str, rows: Iterable[tuple[str, str, str]]) -> Evidence:
    expected: Expectation | None = None
    manifest: Manifest | None = None
    dead_lettered: list[Expectation] = []
    unindexable: list[Unindexable] = []
    points: list[FoundPoint] = []
    for _, table, body in rows:
        match table:
            case "expected":
                expected = _expectation(body)
            case "lettered":
                dead_lettered.append(_expectation(body))
            case "condemned":
                document_key, rank, position, spot = json.loads(body)
                unindexable.append(Unindexable(document_key, Rank(*rank), Position(*position), Spot(*spot)))
            case "manifests":
                manifest = _manifest(key, body)
            case _:
                points.append(_point(body))
    return Evidence(key, expected, tuple(dead_lettered), tuple(unindexable), manifest, tuple(points))


def _expectation(body: str) -> Expectation:
    key, rank, position, spot, deleted, ids, texts, content, metadata = json.loads(body)
    places = (Rank(*rank), Position(*position), Spot(*spot))
    return Expectation(key, *places, deleted, tuple(ids), tuple(texts), content, tuple(metadata))


def _manifest(key: str, body: str) -> Manifest:
    rank, position, ids, content, generation, tombstone = json.loads(body)
    return Manifest(key, Rank(*rank), Position(*position), tuple(ids), content, generation, tombstone)


def _point(body: str) -> FoundPoint:
    point = FoundPoint(*json.loads(body))
    position = None if point.position is None else Position(*point.position)
    return point._replace(rank=Rank(*point.rank), metadata=tuple(point.metadata), position=position)
