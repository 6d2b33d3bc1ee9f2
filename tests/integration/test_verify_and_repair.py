"""Verify and repair on real Kafka: each way to damage a collection is reported, mended, and nothing else is touched."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures_qdrant import QdrantSpace
from kafka_tools import Kafka
from verify_tools import World, delete, long_text, upsert

from worker.embedded.jina import JinaServer
from worker.verify import Kind

MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture
async def make_world(kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path) -> AsyncIterator[MakeWorld]:
    worlds: list[World] = []

    async def make(**sections: dict[str, Any]) -> World:
        worlds.append(World(kafka, jina, qdrant, await kafka.create_topic(), tmp_path, **sections))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.client.close()


DOCUMENTS = [f"doc-{number}" for number in range(16)]


async def filled(world: World) -> None:
    await world.produce(*(upsert(one, long_text(one), {"size": 1.1}) for one in DOCUMENTS))
    await world.produce(upsert("doc-0", long_text("doc-0", 5)), delete("doc-15"))
    await world.work()


async def test_each_class_is_reported_and_gone_after_the_repair(make_world: MakeWorld) -> None:
    world = await make_world()
    await filled(world)
    assert (await world.verify()).equal
    before = await world.everything()
    embedded = world.jina.stats.inputs_embedded
    orphan, ghost = str(uuid.uuid4()), str(uuid.uuid4())
    rank = ((await world.manifest_of("doc-4")) or {})["version"]

    await world.drop_manifests(["doc-1"])  # its points stay, listed by none
    await world.change_manifest("doc-2", version=rank - 64 * 40)  # an event that nobody remembers
    await world.copy(
        "doc-3", 0, ghost, document_key="s:nobody", source={"topic": world.topic, "partition": 0, "offset": 3}
    )
    await world.change_manifest("doc-4", content_hash="0" * 32)
    await world.drop("doc-5", 1)
    await world.strip("doc-6", 2)
    await world.copy("doc-7", 1, orphan)
    await world.change("doc-8", 0, version=rank - 64)
    await world.change("doc-9", 0, version=rank + 64 * 1000)  # newer than anything there is
    await world.change("doc-10", 3, text="something else")
    await world.change("doc-11", 3, metadata={"size": 2})
    await world.change("doc-12", 3, chunk=0)
    await world.plant("doc-13", "stranger")

    report = await world.verify()
    assert report.counts == {
        Kind.MISSING_DOCUMENT: 1,
        Kind.EXTRA_CHUNK: 4 + 1 + 1,
        Kind.STALE_DOCUMENT: 1,
        Kind.STALE_CHUNK: 4 + 1 + 1,
        Kind.WRONG_CONTENT: 1,
        Kind.MISSING_CHUNK: 1,
        Kind.MISSING_VECTOR: 1,
        Kind.WRONG_PAYLOAD: 3 + 4,  # the stranger's ids are not those of its texts
        Kind.UNEXPECTED_DOCUMENT: 1,
    }
    assert [one.document_key for one in report.examples[Kind.MISSING_VECTOR]] == ["s:doc-6"]

    result = await world.repair()
    assert result.before.counts == report.counts
    assert result.after.counts == {}
    after = await world.everything()
    assert {key: value for key, value in after.items() if key in before} == before
    left = [after[key] for key in after.keys() - before.keys()]
    assert {one["document_key"] for one in left} == {"s:stranger", "s:nobody"}
    assert all(one["tombstone_until"] > 0 and one["chunks"] == [] for one in left)
    # Embedded again: the dropped and the stripped chunk, the one whose text was changed, the one with a wild rank.
    assert world.jina.stats.inputs_embedded - embedded == 4
