"""Manifests as they are stored (schema 1, permanent): one vectorless point per document, beside the collection.

| field | holds |
|---|---|
| schema | 1 |
| document_key | as on the points |
| version, sequence | the rank, as on the points |
| source | topic, partition, epoch, offset, timestamp (of the record, epoch milliseconds) |
| chunks | ids of the document's points, in order |
| content_hash | of text, metadata and payload keys |
| generation | of the cutting that wrote it |
| tombstone_until | epoch milliseconds, only where the event was a delete |

Manifests of our own are kept in the same collection; they have `kind` instead of `document_key`.
"""

from typing import Any

from qdrant_client import grpc as q

from worker.errors import AccountFault, Service
from worker.index.guards import DOCUMENT_KEY, Guards
from worker.index.keys import manifest_id
from worker.index.payload import SOURCE, put_source
from worker.model import DocumentWrite, Manifest, Position

SCHEMA_NUMBER = 1
SCHEMA = "schema"
KIND = "kind"
CHUNK_IDS = "chunks"
CONTENT_HASH = "content_hash"
GENERATION = "generation"
TOMBSTONE_UNTIL = "tombstone_until"


class ManifestFormat:
    """How the manifests of one collection are filled and read."""

    def __init__(self, guards: Guards, tombstone_ttl_ms: int) -> None:
        self._guards = guards
        self._tombstone_ttl_ms = tombstone_ttl_ms

    def fill(self, point: q.PointStruct, write: DocumentWrite, now_ms: int) -> None:
        """Fill the manifest that a write leaves behind."""
        event = write.event
        point.id.uuid = manifest_id(event.document_key)
        point.vectors.vectors.SetInParent()  # a collection without vectors wants the field all the same
        payload = point.payload
        payload[SCHEMA].integer_value = SCHEMA_NUMBER
        payload[DOCUMENT_KEY].string_value = event.document_key
        self._guards.put_rank(payload, write.rank)
        _put_position(payload, event.position)
        payload[CHUNK_IDS].list_value.SetInParent()
        add = payload[CHUNK_IDS].list_value.values.add
        for chunk in write.chunks:
            add().string_value = chunk.id
        payload[CONTENT_HASH].string_value = write.content_hash
        payload[GENERATION].integer_value = write.generation
        if event.text is None:
            payload[TOMBSTONE_UNTIL].integer_value = now_ms + self._tombstone_ttl_ms

    def read(self, payload: Any) -> Manifest:
        """The manifest that a payload holds. Raises AccountFault when a newer worker wrote it."""
        refuse_other_schema(payload)
        return Manifest(
            document_key=payload[DOCUMENT_KEY].string_value,
            rank=self._guards.get_rank(payload),
            position=_get_position(payload),
            chunk_ids=tuple([item.string_value for item in payload[CHUNK_IDS].list_value.values]),
            content_hash=payload[CONTENT_HASH].string_value,
            generation=payload[GENERATION].integer_value,
            tombstone_until_ms=payload[TOMBSTONE_UNTIL].integer_value if TOMBSTONE_UNTIL in payload else None,
        )


def refuse_other_schema(payload: Any) -> None:
    """Refuse what another schema wrote: reading it as ours would lose what we do not know of. Raises AccountFault."""
    found = payload[SCHEMA].integer_value
    if found != SCHEMA_NUMBER:
        raise AccountFault(
            Service.QDRANT,
            f"a manifest has schema {found}, this worker knows {SCHEMA_NUMBER}",
            "Run the newer version of streamdex that wrote it.",
        )


def _put_position(payload: Any, position: Position) -> None:
    put_source(payload, position)
    source = payload[SOURCE].struct_value.fields
    source["epoch"].integer_value = position.epoch
    source["timestamp"].integer_value = position.timestamp_ms


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
