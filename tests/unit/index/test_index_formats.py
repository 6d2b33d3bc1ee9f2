"""Golden values of everything that is stored: permanent. A change here needs a new schema number and a migration."""

import struct
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import AsyncQdrantClient
from qdrant_client import grpc as q

from harness.index import FINGERPRINT, NOW_MS, opened, settings_for, write_of
from streamdex.errors import AccountFault, ConfigurationError
from streamdex.index.bookkeeping import Progress
from streamdex.index.encoding.requests import NO_VECTORS, as_point
from streamdex.index.encoding.values import entry, get_all, value
from streamdex.index.guards import Guards
from streamdex.index.schema.keys import CANARY_ID, MANIFEST_NAMESPACE, bookkeeping_id, manifest_id
from streamdex.index.schema.manifests import ManifestFormat
from streamdex.index.schema.payload import PackedVector, PointFormat, indexed_at
from streamdex.model import DocumentWrite, Order, Partition, Position, Rank
from streamdex.standins.qdrant import EmbeddedQdrant

METADATA = {"title": "T", "tags": ["a", None], "nested": {"n": 1, "f": 0.5, "b": True}, "empty": {}, "none": []}


def test_ids() -> None:
    assert manifest_id("doc-1") == "7db12726-12f8-53b9-b1f5-8a0b6d5160df"
    assert manifest_id("42") == "ae5d06f8-1c24-5dbe-9694-f56886aec324"
    assert bookkeeping_id("schema") == "d933365e-5f8a-5c46-84ec-e3712515cfe2"
    assert bookkeeping_id("generation:0") == "1c1989a3-0e2b-526e-aac0-0df4c0929a17"
    assert bookkeeping_id("base:documents/3/1/cluster") == "c665d213-d8cb-5f39-9a97-6f35b01574f8"
    assert bookkeeping_id("progress:documents/3/1/cluster") == "689fa81c-7c21-5985-9c23-99990b5aca71"
    assert CANARY_ID == "74d60d65-ce81-54cf-94e3-713458ce1cf0"


@given(st.text(st.characters(codec="utf-8")))
def test_the_fast_way_gives_the_same_uuid(key: str) -> None:
    assert manifest_id(key) == str(uuid.uuid5(MANIFEST_NAMESPACE, key))


def shared_of(form: PointFormat, write: DocumentWrite, now_ms: int) -> list[bytes]:
    return form.shared(write, value(write.event.metadata), indexed_at(now_ms))


def test_point() -> None:
    vector = struct.pack("<4f", 0.25, -1.5, 3e-39, 0.0)
    write = write_of("doc-1", 640, ["first", "second"], metadata=METADATA)
    form = PointFormat(Guards(Order.OFFSET), "text", "metadata", PackedVector(4))
    point = q.PointStruct.FromString(form.point(write.chunks[1], vector, shared_of(form, write, NOW_MS)))
    assert point.id.uuid == write.chunks[1].id
    assert get_all(point.payload) == {
        "document_id": "doc-1",
        "version": 640,
        "chunk": 1,
        "chunks": 2,
        "text": "second",
        "metadata": METADATA,
        "source": {"topic": "topic", "partition": 3, "offset": 640},
        "indexed_at": "2026-11-18T11:06:40.123Z",
    }
    assert struct.pack("<4f", *point.vectors.vector.dense.data) == vector


def test_point_in_version_order_and_with_other_keys() -> None:
    write = write_of("7", Rank(9, 704), ["only"])
    form = PointFormat(Guards(Order.VERSION), "page_content", "meta", PackedVector(4))
    point = q.PointStruct.FromString(form.point(write.chunks[0], bytes(16), shared_of(form, write, 0)))
    assert get_all(point.payload) == {
        "document_id": "7",
        "version": 9,
        "sequence": 704,
        "chunk": 0,
        "chunks": 1,
        "page_content": "only",
        "meta": {},
        "source": {"topic": "topic", "partition": 3, "offset": 9},
        "indexed_at": "1970-01-01T00:00:00.000Z",
    }


@pytest.mark.parametrize("length", [0, 12, 20])
def test_a_vector_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"{length} bytes where 16"):
        PackedVector(4).of_point(bytes(length))


def manifest_payload(order: Order, rank: Rank, texts: list[str] | None) -> tuple[Any, dict[str, Any]]:
    write = write_of("doc-1", rank, texts, generation=2)
    point = q.PointStruct.FromString(ManifestFormat(Guards(order), tombstone_ttl_ms=1000).manifest(write, NOW_MS))
    return point, get_all(point.payload)


def test_manifest() -> None:
    point, payload = manifest_payload(Order.OFFSET, Rank(642), ["first", "second"])
    write = write_of("doc-1", 642, ["first", "second"])
    assert point.id.uuid == "7db12726-12f8-53b9-b1f5-8a0b6d5160df"
    assert point.vectors.WhichOneof("vectors_options") == "vectors"
    assert payload == {
        "schema": 2,
        "document_id": "doc-1",
        "version": 642,
        "source": {"topic": "topic", "partition": 3, "epoch": 1, "offset": 642, "timestamp": 1_790_000_000_000},
        "chunks": [chunk.id for chunk in write.chunks],
        "content_hash": write.content_hash,
        "generation": 2,
    }
    manifest = ManifestFormat(Guards(Order.OFFSET), 1000).read(point.payload)
    assert (manifest.document_id, manifest.rank, manifest.position) == ("doc-1", Rank(642), write.event.position)
    assert (manifest.chunk_ids, manifest.generation) == (tuple(chunk.id for chunk in write.chunks), 2)
    assert manifest.content_hash == write.content_hash
    assert manifest.tombstone_until_ms is None


@given(
    st.text(st.characters(codec="utf-8"), max_size=300),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**53),
    st.integers(-1, 2**53),
)
def test_where_an_event_stood(topic: str, partition: int, epoch: int, offset: int, timestamp_ms: int) -> None:
    """What stands around the numbers is kept by their length: each combination must come out right."""
    write = write_of("doc-1", 64, ["only"])
    position = Position(topic, partition, epoch, offset, timestamp_ms)
    write = write._replace(event=write.event._replace(position=position))
    guards = Guards(Order.OFFSET)
    source = {"topic": topic, "partition": partition, "offset": offset}
    for _ in range(2):  # the second time from what was kept
        form = PointFormat(guards, "text", "metadata", PackedVector(4))
        point = q.PointStruct.FromString(form.point(write.chunks[0], bytes(16), shared_of(form, write, 0)))
        assert get_all(point.payload)["source"] == source
        manifest = q.PointStruct.FromString(ManifestFormat(guards, 1000).manifest(write, NOW_MS))
        assert get_all(manifest.payload)["source"] == {**source, "epoch": epoch, "timestamp": timestamp_ms}
        assert ManifestFormat(guards, 1000).read(manifest.payload).position == position


def test_tombstone_in_version_order() -> None:
    point, payload = manifest_payload(Order.VERSION, Rank(5, 640), None)
    assert payload == {
        "schema": 2,
        "document_id": "doc-1",
        "version": 5,
        "sequence": 640,
        "source": {"topic": "topic", "partition": 3, "epoch": 1, "offset": 5, "timestamp": 1_790_000_000_000},
        "chunks": [],
        "content_hash": "",
        "generation": 2,
        "tombstone_until": NOW_MS + 1000,
    }
    manifest = ManifestFormat(Guards(Order.VERSION), 1000).read(point.payload)
    assert manifest.rank == Rank(5, 640)
    assert manifest.tombstone_until_ms == NOW_MS + 1000


@pytest.mark.parametrize(("schema", "fix"), [(3, "newer version"), (1, "Name a new collection")])
def test_another_schema_is_refused_by_name(schema: int, fix: str) -> None:
    point, _ = manifest_payload(Order.OFFSET, Rank(1), ["text"])
    point.payload["schema"].integer_value = schema
    with pytest.raises(AccountFault, match=f"schema {schema}, this worker knows 2") as caught:
        ManifestFormat(Guards(Order.OFFSET), 1000).read(point.payload)
    assert fix in caught.value.fix


async def reserved_manifests(index: Any) -> dict[str, Any]:
    store = index.bookkeeping._store
    return {point.id.uuid: get_all(point.payload) async for point in store.scroll(store.names.manifests)}


async def test_reserved_manifests(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await index.bookkeeping.generation("digest-of-a-cutting")
        await index.bookkeeping.bases("cluster", 1, {Partition("documents", 3): 10})
        await index.bookkeeping.write_progress("cluster", 1, {Partition("documents", 3): Progress(7, 99)})
        place = {"cluster": "cluster", "topic": "documents", "partition": 3, "epoch": 1}
        assert await reserved_manifests(index) == {
            bookkeeping_id("schema"): {"schema": 2, "kind": "schema", "order": "offset", "fingerprint": FINGERPRINT},
            bookkeeping_id("generation:0"): {
                "schema": 2,
                "kind": "generation",
                "number": 0,
                "cutting": "digest-of-a-cutting",
            },
            bookkeeping_id("base:documents/3/1/cluster"): {"schema": 2, "kind": "base", "base": NOW_MS + 1, **place},
            bookkeeping_id("progress:documents/3/1/cluster"): {
                "schema": 2,
                "kind": "progress",
                "offset": 7,
                "timestamp": 99,
                **place,
            },
        }


@pytest.mark.parametrize("schema", [1, 3])
async def test_a_collection_of_another_schema_is_refused_at_the_start(
    schema: int, qdrant_server: EmbeddedQdrant
) -> None:
    async with opened(qdrant_server) as index:
        other = as_point(bookkeeping_id("schema"), [entry("schema", schema)], NO_VECTORS)
        await index.bookkeeping._store.upsert("documents__1__manifests", [other], lambda _: None)
    with pytest.raises(ConfigurationError, match=f"schema {schema}, this worker knows 2"):
        async with opened(qdrant_server, settings_for(qdrant_server)):
            pytest.fail("another schema was accepted")


def test_a_damaged_manifest_is_read_as_far_as_it_goes() -> None:
    """Its rank decides what is written; without one it ranks lowest, and the document's next event puts it right."""
    point, _ = manifest_payload(Order.OFFSET, Rank(642), ["text"])
    form = ManifestFormat(Guards(Order.OFFSET), 1000)
    point.payload["source"].struct_value.fields["offset"].string_value = "seven"
    del point.payload["source"].struct_value.fields["epoch"]
    assert form.read(point.payload).position == ("topic", 3, 0, 0, 1_790_000_000_000)
    for name in ("source", "version", "chunks"):
        del point.payload[name]
    damaged = form.read(point.payload)
    assert damaged.position == ("", 0, 0, 0, 0)
    assert damaged.rank < Rank(0)
    assert damaged.chunk_ids == ()


async def test_what_the_collection_remembers_is_refused_when_damaged(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    """A start or a rank that is derived from a guess would be worse than none."""
    partition = Partition("topic", 0)
    async with opened(qdrant_server) as index:
        await index.bookkeeping.bases("cluster", 0, {partition: 5})
        await index.bookkeeping.write_progress("cluster", 0, {partition: Progress(5, None)})
        for kind, field in (("base", "base"), ("progress", "offset")):
            name = bookkeeping_id(f"{kind}:topic/0/0/cluster")
            await qdrant_client.set_payload("documents__1__manifests", {field: "5"}, [name])
        with pytest.raises(AccountFault, match="damaged"):
            await index.bookkeeping.bases("cluster", 0, {partition: 5})
        with pytest.raises(AccountFault, match="damaged"):
            await index.bookkeeping.progress("cluster", 0, [partition])
