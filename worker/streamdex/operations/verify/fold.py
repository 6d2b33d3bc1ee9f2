"""The fold of the topic, and what the collection holds, in a file: a topic of any size takes little memory.

The file takes about 250 bytes for each document, manifest and point, and 300 more for each chunk after a document's
first.
"""

import heapq
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from streamdex.model import Manifest, Position, Rank
from streamdex.operations.verify.evidence import Evidence, Expectation, FoundPoint, NoEvent, Spot, Unindexable

BATCH = 1_000  # rows inserted together; one by one costs twice as much

# The cache is in KiB, and every sort takes as much again.
_PRAGMAS = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16384;"
_SCHEMA = """
CREATE TABLE dead_letters (topic TEXT, partition INTEGER, epoch INTEGER, offset INTEGER, replays INTEGER,
                           PRIMARY KEY (topic, partition, epoch, offset, replays)) WITHOUT ROWID;
CREATE TABLE expected (key TEXT PRIMARY KEY, version INTEGER, sequence INTEGER, body TEXT) WITHOUT ROWID;
CREATE TABLE dead_lettered (key TEXT, body TEXT);
CREATE TABLE unindexable (key TEXT, body TEXT);
CREATE TABLE no_events (body TEXT);
CREATE TABLE manifests (key TEXT, body TEXT);
CREATE TABLE points (key TEXT, body TEXT);
CREATE TABLE without_vector (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE differing (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX dead_lettered_of ON dead_lettered (key);
CREATE INDEX unindexable_of ON unindexable (key);
CREATE TABLE wanted (topic TEXT, partition INTEGER, offset INTEGER, key TEXT,
                     PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
"""
# Of two events of a document the newer one stays; of equal ones the later record, which is a replay.
_INSERT_EXPECTED = """INSERT INTO expected VALUES (?, ?, ?, ?) ON CONFLICT (key)
DO UPDATE SET version = excluded.version, sequence = excluded.sequence, body = excluded.body
WHERE (excluded.version, excluded.sequence) >= (version, sequence)"""
_FROM_TOPICS = ("expected", "dead_lettered", "unindexable")
_OF_DOCUMENTS = (*_FROM_TOPICS, "manifests", "points")


class Fold:
    """Takes dead letters, events, manifests, points without vector and points, in this order; gives the evidence."""

    def __init__(self, path: Path) -> None:
        """`path` is a file that does not exist yet."""
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_PRAGMAS + _SCHEMA + "BEGIN;")
        self._rows: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)  # yet to be inserted, by table

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    # --- what the topics hold ------------------------------------------------------------------------------------

    def add_dead_letter(self, position: Position, replays: int) -> None:
        """The dead-letter topic holds the event of this position, as it came after this many replays."""
        self._insert("dead_letters", (*position[:4], replays))

    def is_dead_letter(self, position: Position, replays: int) -> bool:
        """Whether the dead-letter topic holds the event of this position, as it came after this many replays.

        A replay that was dead-lettered again is a dead letter of its own; a replay that was indexed is none.
        """
        where = "topic = ? AND partition = ? AND epoch = ? AND offset = ? AND replays = ?"
        return self._holds("dead_letters", where, (*position[:4], replays))

    def add_event(self, event: Expectation) -> None:
        """An event that must be indexed, unless there is a newer one."""
        self._insert("expected", (event.document_id, *event.rank, json.dumps(event)))

    def add_dead_lettered(self, event: Expectation) -> None:
        """An event that the dead-letter topic holds, although it could be indexed."""
        self._insert("dead_lettered", (event.document_id, json.dumps(event)))

    def add_unindexable(self, event: Unindexable) -> None:
        """An event that cannot be indexed, and that the dead-letter topic does not hold."""
        self._insert("unindexable", (event.document_id, json.dumps(event)))

    def add_no_event(self, record: NoEvent) -> None:
        """A record that is no event, and that the dead-letter topic does not hold."""
        self._insert("no_events", (json.dumps(record),))

    # --- what the collection holds ------------------------------------------------------------------------------

    def add_manifest(self, found: Manifest) -> None:
        """A document's manifest."""
        self._insert("manifests", (found.document_id, json.dumps(found[1:])))

    def add_without_vector(self, point_id: str) -> None:
        """A point that has no vector."""
        self._insert("without_vector", (point_id,))

    def is_without_vector(self, point_id: str) -> bool:
        """Whether the point has no vector."""
        return self._holds("without_vector", "id = ?", (point_id,))

    def add_point(self, found: FoundPoint) -> None:
        """A point of the collection."""
        self._insert("points", (found.document_id, json.dumps(found)))

    # --- the evidence -------------------------------------------------------------------------------------------

    def evidence(self) -> Iterator[Evidence]:
        """The evidence of every document, in the order of their keys."""
        self._flush()
        # SQLite compares texts by their UTF-8, Python by code points: the same order.
        parts = [self._of_table(table) for table in _OF_DOCUMENTS]
        merged = heapq.merge(*parts, key=itemgetter(0))
        for key, rows in groupby(merged, key=itemgetter(0)):
            yield _evidence(key, rows)

    def evidence_of(self, keys: Iterable[str]) -> list[Evidence]:
        """What the topics hold of some documents. The caller reads again what the collection has of them."""
        self._flush()
        return [_evidence(key, self._topics_rows(key)) for key in keys]

    def no_events(self) -> Iterator[NoEvent]:
        """The records that are neither events nor dead letters."""
        self._flush()
        for (body,) in self._database.execute("SELECT body FROM no_events"):
            position, spot = json.loads(body)
            yield NoEvent(Position(*position), Spot(*spot))

    def _of_table(self, table: str) -> Iterator[tuple[str, str, str]]:
        rows = self._database.execute(f"SELECT key, body FROM {table} ORDER BY key")  # noqa: S608  # a name of our own
        for key, body in rows:
            yield key, table, body

    def _topics_rows(self, key: str) -> Iterator[tuple[str, str, str]]:
        for table in _FROM_TOPICS:
            query = f"SELECT body FROM {table} WHERE key = ?"  # noqa: S608  # a name of our own
            for (body,) in self._database.execute(query, (key,)):
                yield key, table, body

    # --- what is to be repaired ---------------------------------------------------------------------------------

    def add_differing(self, key: str) -> None:
        """A document that differs."""
        self._insert("differing", (key,))

    def differing(self, after: str, limit: int) -> list[str]:
        """The first documents that differ, in the order of their keys, after a key."""
        self._flush()
        query = "SELECT key FROM differing WHERE key > ? ORDER BY key LIMIT ?"
        return [key for (key,) in self._database.execute(query, (after, limit))]

    def count_differing(self) -> int:
        """How many documents differ."""
        self._flush()
        return int(self._database.execute("SELECT count(*) FROM differing").fetchone()[0])

    def want(self, spot: Spot, key: str) -> None:
        """The document's repair needs the record at this spot. An empty key: the record is no event."""
        self._insert("wanted", (*spot, key))

    def wanted_by(self, spot: Spot) -> str | None:
        """The document whose repair needs the record at this spot."""
        self._flush("wanted")
        query = "SELECT key FROM wanted WHERE topic = ? AND partition = ? AND offset = ?"
        found = self._database.execute(query, spot).fetchone()
        return None if found is None else str(found[0])

    def wanted_ranges(self) -> dict[tuple[str, int], tuple[int, int]]:
        """By topic and partition, [begin, end) of the records that repairs need."""
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
        for table in tables or tuple(self._rows):
            if rows := self._rows[table]:
                marks = ", ".join("?" * len(rows[0]))
                insert = f"INSERT OR IGNORE INTO {table} VALUES ({marks})"  # noqa: S608  # a name of our own
                self._database.executemany(_INSERT_EXPECTED if table == "expected" else insert, rows)
                rows.clear()

    def _holds(self, table: str, where: str, values: tuple[Any, ...]) -> bool:
        if table not in self._rows:  # nothing was ever inserted: nothing needs to be asked
            return False
        self._flush(table)
        query = f"SELECT 1 FROM {table} WHERE {where}"  # noqa: S608  # names of our own
        return self._database.execute(query, values).fetchone() is not None


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
            case "dead_lettered":
                dead_lettered.append(_expectation(body))
            case "unindexable":
                document_id, rank, position, spot = json.loads(body)
                unindexable.append(Unindexable(document_id, Rank(*rank), Position(*position), Spot(*spot)))
            case "manifests":
                rank, position, ids, *rest = json.loads(body)
                manifest = Manifest(key, Rank(*rank), Position(*position), tuple(ids), *rest)
            case _:
                points.append(_point(body))
    return Evidence(key, expected, tuple(dead_lettered), tuple(unindexable), manifest, tuple(points))


def _expectation(body: str) -> Expectation:
    key, rank, position, spot, deleted, ids, texts, content, metadata = json.loads(body)
    event = (key, Rank(*rank), Position(*position), Spot(*spot))
    return Expectation(*event, deleted, tuple(ids), tuple(texts), content, tuple(metadata))


def _point(body: str) -> FoundPoint:
    point = FoundPoint(*json.loads(body))
    position = None if point.position is None else Position(*point.position)
    return point._replace(rank=Rank(*point.rank), metadata=tuple(point.metadata), position=position)
