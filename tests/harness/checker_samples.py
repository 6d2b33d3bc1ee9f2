"""A small campaign without a fault, as plain values, for the tests of its checker to plant violations in."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from chaos.checker.dead_letters import Letter, read_letters
from chaos.checker.events import GENERATIONS, Event, LogRecord, Ranked, Ranking, decodable, digest, histories
from chaos.checker.evidence import Payment
from chaos.checker.store import Held, Point, manifest_id

TOPIC = "documents"
BASES = {0: 1_000, 1: 5_000}
RANKING = Ranking("offset", BASES)
GENERATION = 3
INDEXED_AT = "2026-11-22T10:00:00.000Z"
INDEXED_AT_S = 1_795_341_600.0
OWN = ("stage", "message", "attempts", "first_failed_at", "worker", "replays")


def record(offset: int, value: object, key: bytes | None = b"doc", partition: int = 0, **more: Any) -> LogRecord:
    """A record; `value` is made JSON unless it is bytes or None."""
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return LogRecord(partition, offset, more.get("timestamp_ms", 1_000 + offset), key, raw, more.get("headers", ()))


def letter_of(of: LogRecord, reason: str = "not_utf8", sent_ms: int = 2_000, **changed: Any) -> LogRecord:
    """Its dead letter; `changed` are fields of the record."""
    place = {"topic": TOPIC, "partition": of.partition, "offset": of.offset, "epoch": 0, "timestamp": of.timestamp_ms}
    own = {**place, "reason": reason, **dict.fromkeys(OWN, "1")}
    headers = (*of.headers, *((f"__streamdex.{name}", str(value).encode()) for name, value in own.items()))
    return LogRecord(0, of.offset, sent_ms, of.key, of.value, headers)._replace(**changed)


def letters_of(*records: LogRecord) -> list[Letter]:
    """As the checker reads them."""
    return read_letters(records, TOPIC)


@dataclass
class World:
    """Records, and a store that holds their fold. Documents are named by the record's key."""

    records: list[LogRecord] = field(default_factory=list)
    poisoned: dict[tuple[int, int], str] = field(default_factory=dict)

    def upsert(self, key: str, *paragraphs: str, partition: int = 0, **metadata: Any) -> LogRecord:
        """Write an event."""
        return self.add(key, {"text": "\n\n".join(paragraphs), "metadata": metadata}, partition)

    def delete(self, key: str, partition: int = 0) -> LogRecord:
        """Write a delete."""
        return self.add(key, None, partition)

    def add(self, key: str, value: object, partition: int = 0) -> LogRecord:
        """Write a record."""
        offset = sum(each.partition == partition for each in self.records)
        self.records.append(record(offset, value, key.encode(), partition))
        return self.records[-1]

    def poison(self, key: str = "bad") -> LogRecord:
        """Write what is no event."""
        bad = self.add(key, b"{")
        self.poisoned[bad.place] = "undecodable"
        return bad

    @property
    def ranked(self) -> list[Ranked]:
        """The events."""
        return list(decodable(self.records, RANKING))

    @property
    def histories(self) -> dict[str, list[Ranked]]:
        """By document."""
        return histories(self.ranked, self.poisoned)

    @property
    def committed(self) -> dict[int, int]:
        """All of it."""
        return {number: sum(each.partition == number for each in self.records) for number in BASES}

    def held(self) -> Held:
        """The collection as it must be."""
        held = Held(bookkeeping=[{"kind": "generation", "number": GENERATION}])
        for key, history in self.histories.items():
            last = history[-1]
            points = [] if last.event.text is None else points_of(last)
            held.manifests[key] = [Point(manifest_id(key), manifest_of(last, points))]
            if points:
                held.points[key] = points
        return held


def points_of(last: Ranked) -> list[Point]:
    """The points of an event."""
    paragraphs = last.event.paragraphs
    shared = {**stored(last), "metadata": last.event.metadata, "chunks": len(paragraphs), "indexed_at": INDEXED_AT}
    return [
        Point(point_id(last.event, place), {**shared, "chunk": place, "text": text})
        for place, text in enumerate(paragraphs)
    ]


def point_id(event: Event, place: int) -> str:
    """Any id will do that the document's texts decide."""
    text = event.paragraphs[place]
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{event.document_id} {text} {event.paragraphs[:place].count(text)}"))


def manifest_of(last: Ranked, points: list[Point]) -> dict[str, Any]:
    """The manifest of an event."""
    payload = {**stored(last), "schema": 2, "chunks": [point.id for point in points], "generation": GENERATION}
    payload["source"] = {**payload["source"], "epoch": 0, "timestamp": last.record.timestamp_ms}
    return payload | ({"tombstone_until": 9_000} if last.event.text is None else {})


def stored(last: Ranked) -> dict[str, Any]:
    """What points and manifest share."""
    return {
        "document_id": last.event.document_id,
        "version": last.rank.sequence * GENERATIONS + GENERATION,
        "source": {"topic": TOPIC, "partition": last.record.partition, "offset": last.record.offset},
    }


def paid(text: str, at: float, worker: str = "w0-001", fault: str | None = None) -> Payment:
    """One text of a bill."""
    return Payment(at, worker, fault is None, digest(text), 10, fault)


def answer(text: str, at: float, worker: str = "w0-001") -> dict[str, Any]:
    """What a worker notes of an answer."""
    return {"at": at, "worker": worker, "inputs": [digest(text)]}
