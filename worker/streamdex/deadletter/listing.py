"""The last dead letter of each record, on disk, so that a dead-letter topic of any size fits in little memory.

A record that was replayed and failed again has a dead letter for each time. Only the last counts: it says how often it
came back: to replay an earlier one would begin that count again, for ever.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self

from streamdex.deadletter.headers import DeadLetterFacts
from streamdex.model import Partition, Position

MOST_REPLAYS = 3


class Stays(StrEnum):
    """Why a dead letter is not replayed."""

    CAME_BACK = f"came back {MOST_REPLAYS} times"
    """It is not cured by trying."""
    MISPLACED = "their place in the order is lost"
    """It would rank above events that are newer."""
    OLD = "older than deletes are remembered (worker.tombstone_ttl_s)"
    """A document that was deleted since, and of which no tombstone is left, would come back."""


# All of it can be made again: no journal, nothing is flushed.
_SCHEMA = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16384;
CREATE TABLE dead_letters (topic TEXT, partition INTEGER, epoch INTEGER, offset INTEGER, replays INTEGER, reason TEXT,
                      failed_at_ms INTEGER, document TEXT, at_topic TEXT, at_partition INTEGER, at_offset INTEGER,
                      stays TEXT, body TEXT, PRIMARY KEY (topic, partition, epoch, offset)) WITHOUT ROWID;
CREATE INDEX by_place ON dead_letters (at_topic, at_partition, at_offset);
BEGIN;
"""
_INSERT = """
INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (topic, partition, epoch, offset) DO UPDATE
SET replays = excluded.replays, reason = excluded.reason, failed_at_ms = excluded.failed_at_ms,
    document = excluded.document, at_topic = excluded.at_topic, at_partition = excluded.at_partition,
    at_offset = excluded.at_offset, stays = excluded.stays, body = excluded.body
WHERE excluded.replays >= replays
"""
_WANTED = """
(:since_ms IS NULL OR failed_at_ms >= :since_ms) AND (:until_ms IS NULL OR failed_at_ms < :until_ms)
AND (:reasons IS NULL OR reason IN (SELECT value FROM json_each(:reasons)))
AND (:document IS NULL OR document = :document) AND (NOT :to_replay OR stays IS NULL)
"""
_BY_REASON = f"SELECT reason, count(*) FROM dead_letters WHERE {_WANTED} GROUP BY reason ORDER BY 2 DESC, 1"  # noqa: S608  # constants
_STAYING = f"SELECT stays, count(*) FROM dead_letters WHERE {_WANTED} AND stays IS NOT NULL GROUP BY stays ORDER BY 1"  # noqa: S608  # constants
_NEWEST = f"SELECT body FROM dead_letters WHERE {_WANTED} ORDER BY failed_at_ms DESC, at_offset DESC LIMIT :most"  # noqa: S608  # constants
_RANGES = f"""SELECT at_topic, at_partition, min(at_offset), max(at_offset) + 1 FROM dead_letters WHERE {_WANTED}
GROUP BY at_topic, at_partition"""  # noqa: S608  # constants
_ONE = f"""SELECT 1 FROM dead_letters
WHERE at_topic = :at_topic AND at_partition = :at_partition AND at_offset = :at_offset AND {_WANTED}"""  # noqa: S608  # constants


class ListedDeadLetter(NamedTuple):
    """A dead letter without its key and value, where it stands, and why it is not replayed, if so.

    `document` is the document's key; where the event cannot be read, it is made of the record's own.
    """

    topic: str
    partition: int
    offset: int
    facts: DeadLetterFacts
    document: str | None
    size_bytes: int
    stays: Stays | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant; None: whichever. Times are those at which a record failed; `until` is not in."""

    reasons: tuple[str, ...] | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    document: str | None = None
    to_replay: bool = False
    """Without those that stay."""

    def values(self) -> dict[str, Any]:
        """As the statements name them."""
        return {
            "reasons": None if self.reasons is None else json.dumps(self.reasons),
            "since_ms": self.since_ms,
            "until_ms": self.until_ms,
            "document": self.document,
            "to_replay": self.to_replay,
        }


def why_it_stays(facts: DeadLetterFacts, unknown_before_ms: int) -> Stays | None:
    """Why a dead letter is not replayed. Deletes of events written before `unknown_before_ms` may be unknown by now."""
    if facts.misplaced:
        return Stays.MISPLACED
    if facts.replays >= MOST_REPLAYS:
        return Stays.CAME_BACK
    return Stays.OLD if facts.position.timestamp_ms < unknown_before_ms else None


class DeadLetterIndex:
    """Takes dead letters, in any order, then answers. A context manager; it takes 500 bytes of disk a record."""

    def __init__(self, path: Path) -> None:
        """`path` is a file that does not exist yet."""
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, entry: ListedDeadLetter) -> None:
        """The last of a record's dead letters stands: that with most replays, of equal ones the later."""
        facts = entry.facts
        first = facts.position
        known = (first.topic, first.partition, first.epoch, first.offset, facts.replays, facts.reason)
        place = (entry.topic, entry.partition, entry.offset)
        row = (*known, facts.first_failed_at_ms, entry.document, *place, entry.stays, json.dumps(entry))
        self._database.execute(_INSERT, row)

    def count(self, wanted: Wanted) -> dict[str, int]:
        """How many records by reason, the most frequent first."""
        return dict(self._database.execute(_BY_REASON, wanted.values()))

    def staying(self, wanted: Wanted) -> dict[str, int]:
        """How many of them are not replayed, by why."""
        return dict(self._database.execute(_STAYING, wanted.values()))

    def newest(self, wanted: Wanted, most: int) -> Iterator[ListedDeadLetter]:
        """At most so many, that which failed last first."""
        for (body,) in self._database.execute(_NEWEST, {**wanted.values(), "most": most}):
            yield _entry(json.loads(body))

    def ranges(self, wanted: Wanted) -> dict[Partition, tuple[int, int]]:
        """Where in the dead-letter topics they stand: [begin, end) of each partition that has some."""
        rows = self._database.execute(_RANGES, wanted.values())
        return {Partition(topic, partition): (begin, end) for topic, partition, begin, end in rows}

    def holds(self, wanted: Wanted, at: Partition, offset: int) -> bool:
        """Whether the dead letter at this place is wanted, and the last of its record."""
        place = {"at_topic": at.topic, "at_partition": at.number, "at_offset": offset}
        return self._database.execute(_ONE, {**wanted.values(), **place}).fetchone() is not None


def _entry(body: list[Any]) -> ListedDeadLetter:
    topic, partition, offset, (position, *facts), document, size_bytes, stays = body
    whole = DeadLetterFacts(Position(*position), *facts)
    return ListedDeadLetter(
        topic, partition, offset, whole, document, size_bytes, None if stays is None else Stays(stays)
    )
