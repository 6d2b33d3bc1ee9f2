"""Manifests as they are stored (schema 2): one vectorless point per document, beside the collection.

| field | holds |
|---|---|
| schema | 2 |
| document_id | as on the points |
| version, sequence | the rank, as on the points |
| source | topic, partition, epoch, offset, timestamp (of the record, epoch milliseconds) |
| chunks | ids of the document's points, in order |
| content_hash | of text, metadata and payload keys |
| generation | of the cutting that wrote it |
| tombstone_until | epoch milliseconds, only where the event was a delete |

Manifests of our own are kept in the same collection; they have `kind` instead of `document_id`.
"""

from functools import lru_cache
from typing import Any

from streamdex.errors import AccountFault, Service
from streamdex.index.encoding.requests import NO_VECTORS, as_point
from streamdex.index.encoding.values import FIELD, Name, entry, integer, struct_of, uuids
from streamdex.index.guards import DOCUMENT_ID, Guards
from streamdex.index.schema.keys import manifest_id
from streamdex.index.schema.payload import OFFSET, SOURCE, SOURCE_NAME
from streamdex.model import DocumentWrite, Manifest, Position

SCHEMA_NUMBER = 2
SCHEMA = "schema"
KIND = "kind"
CHUNK_IDS = "chunks"
CONTENT_HASH = "content_hash"
GENERATION = "generation"
TOMBSTONE_UNTIL = "tombstone_until"

SCHEMA_ENTRY = entry(SCHEMA, SCHEMA_NUMBER)
_DOCUMENT_ID, _CHUNK_IDS, _CONTENT_HASH, _GENERATION, _TIMESTAMP = [
    Name(name) for name in (DOCUMENT_ID, CHUNK_IDS, CONTENT_HASH, GENERATION, "timestamp")
]


class ManifestFormat:
    """How the manifests of one collection are written and read."""

    def __init__(self, guards: Guards, tombstone_ttl_ms: int) -> None:
        self._guards = guards
        self._tombstone_ttl_ms = tombstone_ttl_ms

    def manifest(self, write: DocumentWrite, now_ms: int) -> bytes:
        """The manifest that a write leaves behind, as bytes of a point; see `wire.py`."""
        event = write.event
        payload = [
            SCHEMA_ENTRY,
            _DOCUMENT_ID.holds_text(event.document_id),
            *self._guards.rank_entries(write.rank),
            _source(event.position),
            _CHUNK_IDS.holds(uuids([chunk.id for chunk in write.chunks])),
            _CONTENT_HASH.holds_text(write.content_hash),
            _GENERATION.holds_integer(write.generation),
        ]
        if event.text is None:
            payload.append(entry(TOMBSTONE_UNTIL, now_ms + self._tombstone_ttl_ms))
        return as_point(manifest_id(event.document_id), payload, NO_VECTORS)

    def read(self, payload: Any) -> Manifest:
        """The manifest that a payload holds. Raises AccountFault when a newer worker wrote it."""
        refuse_other_schema(payload)
        return Manifest(
            document_id=payload[DOCUMENT_ID].string_value,
            rank=self._guards.get_rank(payload),
            position=_get_position(payload),
            chunk_ids=tuple([item.string_value for item in payload[CHUNK_IDS].list_value.values]),
            content_hash=payload[CONTENT_HASH].string_value,
            generation=payload[GENERATION].integer_value,
            tombstone_until_ms=payload[TOMBSTONE_UNTIL].integer_value if TOMBSTONE_UNTIL in payload else None,
        )


def refuse_other_schema(payload: Any) -> None:
    """Refuse what another schema wrote: read as ours, it would lose what we do not know of. Raises AccountFault."""
    found = payload[SCHEMA].integer_value
    if found != SCHEMA_NUMBER:
        newer = "Run the newer version of streamdex that wrote it."
        fix = newer if found > SCHEMA_NUMBER else "Name a new collection; it is filled from the log."
        raise AccountFault(Service.QDRANT, f"a manifest has schema {found}, this worker knows {SCHEMA_NUMBER}", fix)


def _source(position: Position) -> bytes:
    offset, timestamp = integer(position.offset), integer(position.timestamp_ms)
    before, between = _around(position.topic, position.partition, position.epoch, len(offset), len(timestamp))
    return b"".join((before, offset, between, timestamp))


@lru_cache(maxsize=4096)  # the partitions of one worker, by the bytes that their offsets and timestamps take
def _around(topic: str, partition: int, epoch: int, offset_size: int, timestamp_size: int) -> tuple[bytes, bytes]:
    """What stands before an offset of this size, and between it and a timestamp: the same for all of a partition."""
    offset, timestamp = OFFSET.holds(bytes(offset_size)), _TIMESTAMP.holds(bytes(timestamp_size))
    entries = (entry("topic", topic), entry("partition", partition), entry("epoch", epoch), offset, timestamp)
    between = FIELD + timestamp[:-timestamp_size]
    whole = SOURCE_NAME.holds(struct_of(entries))
    return whole[: -(offset_size + len(between) + timestamp_size)], between


def _get_position(payload: Any) -> Position:
    """What is missing or of another kind comes out empty: the rank decides, the position only tells."""
    source = payload[SOURCE].struct_value.fields
    return Position(
        source["topic"].string_value,
        source["partition"].integer_value,
        source["epoch"].integer_value,
        source["offset"].integer_value,
        source["timestamp"].integer_value,
    )
