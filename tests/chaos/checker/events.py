"""What records mean, by the README alone: events, ranks, and the history of each document. Pure.

Nothing of the worker's own decoder, chunker or ranking is used: two readings of one text that agree are the proof.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

GENERATIONS = 64
DEEPEST_METADATA = 31  # levels, the object itself included: a payload has 32, and is level 1
OWN_HEADERS = "__streamdex."
VERSION_HEADER = "streamdex.version"  # of a null value
NEVER_TAKEN_UP = 2**60  # a partition without a base: nothing in the store can speak of its records

Place = tuple[int, int]  # partition and offset
Headers = tuple[tuple[str, bytes | None], ...]


class LogRecord(NamedTuple):
    """A record of a topic as it stands in the log."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def place(self) -> Place:
        """Partition and offset."""
        return self.partition, self.offset

    def __repr__(self) -> str:
        return f"LogRecord({self.partition}@{self.offset})"


class NoEvent(Exception):
    """A record that nobody can index; its text says why, without quoting it."""


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """What a record asks for. `text` None: a delete."""

    document_id: str
    text: str | None
    metadata: dict[str, Any]
    version: int | None

    @property
    def paragraphs(self) -> list[str]:
        """The parts of the text; the campaign writes them so that each becomes one chunk."""
        return [part for part in (self.text or "").split("\n\n") if part and not part.isspace()]


def decode(record: LogRecord) -> Event:
    """The event of a record. Raises NoEvent."""
    if record.value is None:
        return Event(_key(None, record.key), None, {}, _version_of_null(record))
    try:
        body = json.loads(record.value)
    except ValueError:  # UnicodeDecodeError is one
        raise NoEvent("not JSON") from None
    if not isinstance(body, dict):
        raise NoEvent("not an object")
    key = _key(body.get("id"), record.key)
    version = body.get("version")
    if body.get("op") == "delete":
        return Event(key, None, {}, version)
    text, metadata = body.get("text"), body.get("metadata") or {}
    if not isinstance(text, str) or not isinstance(metadata, dict):
        raise NoEvent("no text, or metadata that is no object")
    if levels(metadata) > DEEPEST_METADATA:
        raise NoEvent("too deep")
    return Event(key, text, metadata, version)


def _version_of_null(record: LogRecord) -> int | None:
    value = dict(record.headers).get(VERSION_HEADER)
    return None if value is None else int(value)


def _key(document_id: object, record_key: bytes | None) -> str:
    if isinstance(document_id, str) and document_id:
        return f"{document_id}"
    if isinstance(document_id, int) and not isinstance(document_id, bool):
        return f"{document_id}"
    if document_id is not None or not record_key:
        raise NoEvent("no id")
    try:
        return f"{record_key.decode()}"
    except UnicodeDecodeError:
        raise NoEvent("no id") from None


def levels(value: object) -> int:
    """How deep JSON nests; 0 for what is no object or list."""
    deep = 0
    level: list[object] = [value]
    while level := [each for each in level if isinstance(each, (dict, list))]:
        deep += 1
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return deep


class Rank(NamedTuple):
    """Orders the events of a document, without the number of the cutting, which is a matter of the stored form alone.

    `sequence` is the log's base plus the offset; `version` is 0 where the order is `offset`.
    """

    version: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """How a deployment ranks: its order, `offset` or `version`, and the base of each partition."""

    order: str
    bases: Mapping[int, int]

    def of(self, record: LogRecord, event: Event) -> Rank:
        """The rank of an event. Raises NoEvent where the order asks for a version and there is none."""
        sequence = self.bases.get(record.partition, NEVER_TAKEN_UP) + record.offset
        if self.order == "offset":
            return Rank(0, sequence)
        if event.version is None:
            raise NoEvent("no version")
        return Rank(event.version, sequence)

    def stored(self, payload: Mapping[str, Any]) -> tuple[Rank, int]:
        """The rank that a point or manifest carries, and the number of its cutting; the lowest where it has none."""
        version = payload.get("version", -1)
        if self.order == "offset":
            sequence, generation = divmod(version, GENERATIONS)
            return Rank(0, sequence), generation
        sequence, generation = divmod(payload.get("sequence", -1), GENERATIONS)
        return Rank(version, sequence), generation


class Ranked(NamedTuple):
    """A record that is an event, and its rank."""

    rank: Rank
    record: LogRecord
    event: Event


def decodable(records: Iterable[LogRecord], ranking: Ranking) -> Iterator[Ranked]:
    """The records that are events."""
    for record in records:
        try:
            event = decode(record)
            yield Ranked(ranking.of(record, event), record, event)
        except NoEvent:
            continue


def histories(events: Iterable[Ranked], skipped: Collection[Place]) -> dict[str, list[Ranked]]:
    """The events of each document in the order of their ranks, without those that were dead-lettered."""
    found: dict[str, list[Ranked]] = {}
    for each in events:
        if each.record.place not in skipped:
            found.setdefault(each.event.document_id, []).append(each)
    for history in found.values():
        history.sort(key=lambda each: each.rank)
    return found


def digest(text: str) -> str:
    """The name under which the stand-in for Jina bills a text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def text_counts(event: Event) -> Counter[str]:
    """How often each paragraph stands in an event's text, by digest."""
    return Counter(digest(paragraph) for paragraph in event.paragraphs)
