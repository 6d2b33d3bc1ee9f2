"""What must have come of a log, from the log alone, and what has: the judge of the mutants' scenarios.

It reads the store and the letters as anybody could, by the formats that the README describes.
"""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mutants.kafka_group import Group
from mutants.mutant import Violation, Wrong
from oracle.protocol_fold import scroll
from streamdex.kafka.position_headers import OFFSET, PARTITION, PREFIX
from streamdex.model import Partition, Record
from streamdex.standins.jina.vectors import Space, embed
from streamdex.standins.qdrant import Engine

SPACE = Space("jina-embeddings-v3", 64, "retrieval.passage")
POINTS = "documents__1"
MANIFESTS = f"{POINTS}__manifests"


class Point(NamedTuple):
    """A stored chunk."""

    payload: dict[str, Any]
    vector: list[float]


@dataclass
class Held:
    """The store at one moment: manifests by document, points by id."""

    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    points: dict[str, Point] = field(default_factory=dict)

    def has(self, record: Record) -> bool:
        """Whether the record's event, or a newer one of its document, stands there whole."""
        manifest = self.manifests.get(key_of(record))
        if manifest is None or manifest["source"]["offset"] < record.offset:
            return False
        chunks = [self.points.get(chunk) for chunk in manifest["chunks"]]
        return all(chunk is not None and chunk.payload["version"] >= manifest["version"] for chunk in chunks)


def held(engine: Engine) -> Held:
    """Look into the store."""
    manifests = [payload for _, payload, _ in scroll(engine, MANIFESTS) if "document_id" in payload]
    points = {point_id: Point(payload, vector) for point_id, payload, vector in scroll(engine, POINTS)}
    return Held({one["document_id"]: one for one in manifests}, points)


class Judge:
    """Judges each commit when it comes, and everything in the end. `poison` are the records that must be turned away.

    A document's events stand in one partition, and each comes to one chunk.
    """

    def __init__(self, engine: Engine, group: Group) -> None:
        self._engine = engine
        self._group = group
        self.poison: set[tuple[Partition, int]] = set()
        self.found: list[Violation] = []
        group.on_commit = self.judge_commit

    def judge_commit(self, member: Any, partition: Partition, offset: int) -> None:
        """A commit has come. The group still takes it, as a broker would."""
        if member.expelled:
            self.find(Wrong.UNPROVEN)
        elif self._group.owner[partition] is not member:
            self.find(Wrong.FOREIGN)
        there = held(self._engine)
        for record in self._group.log[partition][:offset]:
            sent = self._is_sent(record)
            if sent and not self._is_poison(record):
                self.find(Wrong.INNOCENT, repr(record))
            elif not sent and (self._is_poison(record) or not there.has(record)):
                self.find(Wrong.UNSETTLED, f"{record} below {offset}")

    def find(self, wrong: Wrong, told: str = "") -> None:
        """Note something wrong."""
        self.found.append(Violation(wrong, told))

    def judge_all(self) -> None:
        """The log is settled. Raises the first thing that is wrong."""
        self._judge_letters()
        there = held(self._engine)
        newest = {key_of(record): record for record in self._written()}
        wrong = [f"{key} is there" for key in there.manifests.keys() - newest.keys()]
        for key, record in newest.items():
            wrong += [f"{key}: {what}" for what in _differences(there, key, record)]
        wrong += [f"{len(there.points)} points that nothing tells of"] if there.points else []
        if wrong:
            self.find(Wrong.COLLECTION, "; ".join(wrong))
        if self.found:
            raise self.found[0]

    def _written(self) -> list[Record]:
        return [one for log in self._group.log.values() for one in log if not self._is_poison(one)]

    def _judge_letters(self) -> None:
        for dead_letter in self._group.dead_letters:
            headers = dict(dead_letter.headers)
            place = Partition(dead_letter.topic.removesuffix(".dlq"), int(headers[PARTITION] or b""))
            record = self._group.log[place][int(headers[OFFSET] or b"")]
            own = tuple(header for header in dead_letter.headers if not header[0].startswith(PREFIX))
            if not self._is_poison(record):
                self.find(Wrong.INNOCENT, repr(record))
            if (dead_letter.key, dead_letter.value, own) != (record.key, record.value, record.headers):
                self.find(Wrong.LETTER, repr(record))

    def _is_poison(self, record: Record) -> bool:
        return (Partition(record.topic, record.partition), record.offset) in self.poison

    def _is_sent(self, record: Record) -> bool:
        place = ((PARTITION, b"%d" % record.partition), (OFFSET, b"%d" % record.offset))
        return any(set(place) <= set(dead_letter.headers) for dead_letter in self._group.dead_letters)


def key_of(record: Record) -> str:
    """The document of a record that is no poison."""
    return str(json.loads(record.value or b"")["id"])


def _differences(there: Held, key: str, record: Record) -> list[str]:
    """Takes what it has looked at out of `there`."""
    manifest = there.manifests.get(key)
    if manifest is None:
        return ["is missing"]
    if manifest["source"]["offset"] != record.offset:
        return [f"is as of {manifest['source']['offset']}, not of {record.offset}"]
    chunks = [there.points.pop(chunk, None) for chunk in manifest["chunks"]]
    if len(chunks) != 1 or chunks[0] is None:
        return ["its chunk is missing"]
    text = json.loads(record.value or b"")["text"]
    if chunks[0].payload["text"] != text:
        return ["has another text"]
    right = embed([text], SPACE, normalized=True)[0]
    return [] if np.allclose(chunks[0].vector, right, atol=1e-4) else ["has the vector of something else"]
