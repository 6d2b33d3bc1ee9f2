"""What the store must hold after a schedule, from the log alone, and what it does hold: an independent judge.

Texts are made of paragraphs, named by letters, whose cutting is known beforehand: generation 1 parts each of `a`, `b`
and `c` into its two lines.
"""

import struct
from dataclasses import dataclass
from typing import Any

import orjson
from qdrant_client import grpc as q

from harness.protocol.deployments import (
    BASES,
    DIMENSION,
    EPOCH,
    REFUSED,
    TOO_LONG,
    UNEMBEDDABLE,
    payload_keys,
    vector_of,
)
from harness.protocol.world import World
from streamdex.index.encoding.values import get_all
from streamdex.model import Order, Partition
from streamdex.standins.qdrant import Engine

LONG_LETTERS = "abc"


def line(letter: str, number: int) -> str:
    """28 characters, 8 tokens by estimate."""
    return f"{letter}{number} word word word word wordx"


def paragraph(letter: str) -> str:
    """Two lines for the first letters, one for the others; the capital ones are dead letters in the end."""
    if letter == "U":
        return UNEMBEDDABLE
    if letter == "T":
        return TOO_LONG
    return f"{line(letter, 1)}\n{line(letter, 2)}" if letter in LONG_LETTERS else line(letter, 1)


def text_of(letters: str) -> str:
    """A text with these paragraphs."""
    return "\n\n".join(map(paragraph, letters))


def cut(text: str, generation: int) -> list[str]:
    """The chunks that a deployment makes of a text."""
    paragraphs = [one for one in text.split("\n\n") if one]
    return [one for whole in paragraphs for one in whole.split("\n")] if generation else paragraphs


@dataclass(frozen=True)
class Last:
    """The event of a document that counts."""

    order: tuple[int, int]  # the version or 0, and the sequence
    partition: Partition
    offset: int
    timestamp_ms: int
    event: dict[str, Any]

    @property
    def text(self) -> str | None:
        return None if self.event.get("op") == "delete" else self.event["text"]

    def rank(self, order: Order, generation: int) -> dict[str, int]:
        """As it is stored."""
        version, sequence = self.order
        sequence = sequence * 64 + generation
        return {"version": sequence} if order is Order.OFFSET else {"version": version, "sequence": sequence}


def is_dead_letter(event: dict[str, Any], order: Order) -> bool:
    """Whether a worker that gets to judge the event must turn it away."""
    text = event.get("text", "")
    versionless = order is Order.VERSION and event.get("version") is None
    return versionless or UNEMBEDDABLE in text or TOO_LONG in text or REFUSED in event.get("metadata", {}).values()


def fold(world: World) -> dict[str, Last]:
    """The newest event of each document; dead letters count as not written."""
    newest: dict[str, Last] = {}
    for partition, log in world.log.items():
        for record in log:
            event = orjson.loads(record.value or b"")
            if is_dead_letter(event, world.order):
                continue
            version = event["version"] if world.order is Order.VERSION else 0
            rank = (version, BASES[partition] + record.offset)
            last = Last(rank, partition, record.offset, record.timestamp_ms, event)
            key = event["id"]
            if key not in newest or newest[key].order < rank:
                newest[key] = last
    return newest


def differences(world: World) -> list[str]:
    """Everything in which the store differs from the fold.

    Points of older events, or of unfinished attempts at the last one, that no manifest lists begin with `leftover`.
    """
    expected = fold(world)
    manifests = {
        manifest["document_id"]: manifest for _, manifest, _ in scroll(world.engine, f"{world.collection}__manifests")
    }
    points: dict[str, dict[str, tuple[dict[str, Any], list[float]]]] = {}
    for point_id, payload, vector in scroll(world.engine, world.collection):
        if payload == {"canary": True}:
            continue  # of a worker that died while it asked whether anything passes
        points.setdefault(payload["document_id"], {})[point_id] = payload, vector
    found = [f"{key}: {key in manifests=} {key in expected=}" for key in manifests.keys() ^ expected.keys()]
    found += [f"{key}: points of an event that was never written" for key in points.keys() - expected.keys()]
    for key in manifests.keys() & expected.keys():
        manifest = dict(manifests[key])
        there = dict(points.get(key, {}))
        found += [f"{key}: {what}" for what in _of_manifest(world.order, expected[key], manifest)]
        found += _leftovers(key, manifest, there)
        found += [f"{key}: {what}" for what in _of_points(world, expected[key], manifest, there)]
    return sorted(found)


def event_of(name: str, letters: str | None, m: int = 0, version: int = 1) -> dict[str, Any]:
    """An event of the document of that name; None is a delete."""
    if letters is None:
        return {"id": name, "op": "delete", "version": version}
    return {"id": name, "text": text_of(letters), "metadata": {"m": m}, "version": version}


def _of_manifest(order: Order, last: Last, manifest: dict[str, Any]) -> list[str]:
    text = last.text
    generation = manifest["generation"]
    source = {"topic": last.partition.topic, "partition": last.partition.number, "offset": last.offset}
    wanted = {
        "schema": 2,
        "document_id": last.event["id"],
        **last.rank(order, generation),
        "source": {**source, "epoch": EPOCH, "timestamp": last.timestamp_ms},
        "generation": generation,
    }
    rest = {name: value for name, value in manifest.items() if name not in wanted}
    found = [f"manifest {name}: {manifest.get(name)}, not {value}" for name, value in wanted.items()]
    found = [one for one, (name, value) in zip(found, wanted.items(), strict=True) if manifest.get(name) != value]
    if rest.keys() - {"tombstone_until"} != {"chunks", "content_hash"}:
        found.append(f"manifest fields {sorted(rest)}")
    if ("tombstone_until" in rest) != (text is None):
        found.append("manifest is a tombstone where there is a text, or the other way round")
    if len(manifest["chunks"]) != len(cut(text or "", generation)):
        found.append(f"manifest lists {len(manifest['chunks'])} chunks")
    return found


def _leftovers(key: str, manifest: dict[str, Any], there: dict[str, Any]) -> list[str]:
    """Takes points out of `there` that the manifest does not list and that are of no newer event."""
    listed = set(manifest["chunks"])
    old = [
        point_id
        for point_id, (payload, _) in there.items()
        if point_id not in listed and _event(payload) <= _event(manifest)
    ]
    for point_id in old:
        del there[point_id]
    return [f"leftover: {len(old)} points of {key}"] if old else []


def _event(payload: dict[str, Any]) -> tuple[int, int]:
    """A rank without its generation."""
    if "sequence" in payload:
        return payload["version"], payload["sequence"] // 64
    return 0, payload["version"] // 64


def _of_points(world: World, last: Last, manifest: dict[str, Any], there: dict[str, Any]) -> list[str]:
    generation = manifest["generation"]
    texts = cut(last.text or "", generation)
    context = "".join((last.text or "").split()) if world.late_chunking else ""
    text_key, metadata_key = payload_keys(generation, world.renamed)
    shared = {
        "document_id": last.event["id"],
        **last.rank(world.order, generation),
        "chunks": len(texts),
        metadata_key: last.event.get("metadata", {}),
        "source": {"topic": last.partition.topic, "partition": last.partition.number, "offset": last.offset},
    }
    found = []
    for place, (point_id, text) in enumerate(zip(manifest["chunks"], texts, strict=False)):
        payload, vector = there.pop(point_id, ({}, []))
        if not payload:
            found.append(f"chunk {place} is missing")
            continue
        payload.pop("indexed_at")
        wanted = {**shared, "chunk": place, text_key: text}
        found += [
            f"chunk {place}: {name} is {payload.get(name)}, not {wanted.get(name)}"
            for name in sorted(payload.keys() | wanted.keys())
            if payload.get(name) != wanted.get(name)
        ]
        right = struct.unpack(f"<{DIMENSION}f", vector_of(text, context))
        if max(abs(one - other) for one, other in zip(vector, right, strict=True)) > 1e-4:
            found.append(f"chunk {place} has the vector of something else")
    if there:
        found.append(f"{len(there)} points that no manifest lists")
    return found


def scroll(engine: Engine, collection: str) -> list[tuple[str, dict[str, Any], list[float]]]:
    """The id, payload and vector of every point of a collection."""
    request = q.ScrollPoints(collection_name=collection, limit=1_000)
    request.with_payload.enable = True
    request.with_vectors.enable = True
    answer = engine.handle("Points.Scroll", request)
    return [
        (point.id.uuid, get_all(point.payload), list(point.vectors.vector.dense.data or point.vectors.vector.data))
        for point in answer.result
    ]
