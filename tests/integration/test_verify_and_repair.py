"""Verify and repair on real Kafka: each kind of damage is reported and repaired, and nothing else is touched."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import models

from harness.fixtures_qdrant import QdrantSpace
from harness.kafka import Kafka, Message
from harness.verify import World, delete, long_text, upsert
from streamdex.config import with_section
from streamdex.errors import ConfigurationError
from streamdex.index import Progress
from streamdex.kafka.client import survey
from streamdex.model import Outcome, Partition
from streamdex.operations.verify import DifferenceKind
from streamdex.standins.jina import JinaFaultKind, JinaServer

MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture
async def make_world(kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path) -> AsyncIterator[MakeWorld]:
    worlds: list[World] = []

    async def make(**sections: dict[str, Any]) -> World:
        worlds.append(World(kafka, jina, qdrant, await kafka.create_topic(), tmp_path, sections))
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
        "doc-3", 0, ghost, document_id="nobody", source={"topic": world.topic, "partition": 0, "offset": 3}
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
        DifferenceKind.MISSING_DOCUMENT: 1,
        DifferenceKind.EXTRA_CHUNK: 4 + 1 + 1,
        DifferenceKind.STALE_DOCUMENT: 1,
        DifferenceKind.STALE_CHUNK: 4 + 1 + 1,
        DifferenceKind.WRONG_CONTENT: 1,
        DifferenceKind.MISSING_CHUNK: 1,
        DifferenceKind.MISSING_VECTOR: 1,
        DifferenceKind.WRONG_PAYLOAD: 3 + 4,  # the stranger's ids are not those of its texts
        DifferenceKind.UNEXPECTED_DOCUMENT: 1,
    }
    assert [one.document_id for one in report.examples[DifferenceKind.MISSING_VECTOR]] == ["doc-6"]

    result = await world.repair()
    assert result.before.counts == report.counts
    assert result.after.counts == {}
    after = await world.everything()
    assert {key: value for key, value in after.items() if key in before} == before
    left = [after[key] for key in after.keys() - before.keys()]
    assert {one["document_id"] for one in left} == {"stranger", "nobody"}
    assert all(one["tombstone_until"] > 0 and one["chunks"] == [] for one in left)
    # Embedded again: the dropped and the stripped chunk, the one whose text was changed, the one with a wild rank.
    assert world.jina.stats.inputs_embedded - embedded == 4


async def test_a_document_whose_event_the_log_no_longer_holds_is_reported_and_never_touched(
    make_world: MakeWorld,
) -> None:
    world = await make_world()
    await filled(world)
    await world.delete_log(below=8)  # doc-0 has a later event as well
    await world.drop("doc-1", 1)
    await world.copy("doc-2", 0, str(uuid.uuid4()))
    await world.change_manifest("doc-3", content_hash="0" * 32)
    await world.drop_manifests(["doc-4", "doc-12"])
    await world.drop("doc-13", 0)
    damaged = await world.everything()

    result = await world.repair()
    assert result.before.unverifiable == 7
    assert result.before.not_repairable == 2  # within doc-1 and doc-2; what doc-3 and doc-4 should be, nobody knows
    assert result.after.counts == {DifferenceKind.MISSING_CHUNK: 1, DifferenceKind.EXTRA_CHUNK: 1}
    assert (result.after.unverifiable, result.after.not_repairable) == (7, 2)
    after = await world.everything()
    repaired = {f"{one}" for one in ("doc-12", "doc-13")}
    for point_id, found in after.items():
        payload = found[0] if isinstance(found, tuple) else found
        if payload["document_id"] not in repaired:
            assert found == damaged[point_id]


async def test_what_nobody_has_settled_yet_is_no_difference_unless_it_is_asked_for(make_world: MakeWorld) -> None:
    world = await make_world()
    await filled(world)
    await world.produce(upsert("doc-0", "new words"), upsert("doc-99", "a new document"), delete("doc-1"))
    await world.produce(Message(b"bad", b"no JSON"))
    report = await world.verify()
    assert (report.equal, report.unsettled) == (True, 4)
    whole = await world.verify(to_end=True)
    assert (whole.unsettled, whole.counts) == (
        0,
        {DifferenceKind.STALE_DOCUMENT: 2, DifferenceKind.MISSING_DOCUMENT: 1, DifferenceKind.NOT_DEAD_LETTERED: 1},
    )
    result = await world.repair(to_end=True)
    assert result.after.equal
    assert (await world.manifest_of("doc-99") or {})["source"]["offset"] == 19
    (dead_letter,) = await world.kafka.read_all(f"{world.topic}.dlq")
    assert (dead_letter.key, dead_letter.value, dict(dead_letter.headers)["__streamdex.offset"]) == (
        b"bad",
        b"no JSON",
        b"21",
    )
    done = await world.work()  # the worker finds all of it done
    assert (done[Outcome.UNCHANGED], done[Outcome.DEAD_LETTERED]) == (3, 1)
    assert (await world.verify()).equal


async def test_verifying_writes_nothing(make_world: MakeWorld) -> None:
    world = await make_world()
    await filled(world)
    await world.produce(upsert("doc-99", "a new document"))
    before, _ = await world.client.scroll(world.manifests, limit=1_000)
    other = with_section(world.settings, "chunk", max_tokens=64)
    assert (await world.verify(other)).equal  # cut in another way is no difference
    after, _ = await world.client.scroll(world.manifests, limit=1_000)
    assert after == before


async def test_a_repair_with_settings_that_no_worker_has_used_is_refused(make_world: MakeWorld) -> None:
    world = await make_world()
    await filled(world)
    other = with_section(world.settings, "mapping", id="id", text="text")
    with pytest.raises(ConfigurationError, match="no worker has written this collection with these settings"):
        await world.repair(other)


async def test_a_recreated_topic_is_refused(make_world: MakeWorld) -> None:
    world = await make_world()
    await filled(world)
    cluster = (await survey(world.settings.kafka, ())).cluster_id
    async with world.index() as index:
        await index.bookkeeping.write_progress(cluster, 0, {Partition(world.topic, 0): Progress(10_000, None)})
    with pytest.raises(ConfigurationError, match="it was recreated"):
        await world.verify()


async def test_dead_letters_their_replays_and_their_second_chances(make_world: MakeWorld) -> None:
    world = await make_world()
    refused = world.jina.inject(JinaFaultKind.REFUSE, match="unspeakable")
    await world.produce(
        upsert("first", "plain words"), upsert("first", "unspeakable words"), upsert("other", "more unspeakable words")
    )
    await world.produce(Message(b"bad", b"no JSON"), upsert("third", "plain words too"))
    done = await world.work()
    assert done[Outcome.DEAD_LETTERED] == 3
    assert refused.fired > 0
    report = await world.verify()
    assert (report.equal, report.dead_letters) == (True, 3)

    # Replayed while still refused: each is a dead letter again, of one replay more.
    assert await world.replay() == 3
    await world.work()
    report = await world.verify()
    assert (report.equal, report.dead_letters) == (True, 6)

    # Replayed after the fix: what can be indexed is, at its original rank, and must be from now on.
    world.jina.faults.clear()
    assert await world.replay() == 6
    await world.work()
    assert [point.payload and point.payload["text"] for point in await world.points_of("first")] == [
        "unspeakable words"
    ]
    assert (await world.manifest_of("first") or {})["source"]["offset"] == 1
    assert (await world.verify()).equal
    await world.drop_manifests(["first"])
    assert (await world.verify()).counts == {DifferenceKind.MISSING_DOCUMENT: 1, DifferenceKind.EXTRA_CHUNK: 1}
    assert (await world.repair()).after.equal
    assert (await world.manifest_of("first") or {})["source"]["offset"] == 1


async def test_a_dead_lettered_event_that_passes_when_it_is_read_again_is_no_difference(make_world: MakeWorld) -> None:
    world = await make_world()
    world.jina.inject(JinaFaultKind.REFUSE, match="unspeakable")
    await world.produce(upsert("first", "plain words"), upsert("other", "unspeakable words"))
    assert (await world.work())[Outcome.DEAD_LETTERED] == 1
    world.jina.faults.clear()
    again = with_section(world.settings, "kafka", group_id=world.kafka.unique_group())
    assert (await world.work(again))[Outcome.INDEXED] == 1
    report = await world.verify()
    assert (report.equal, report.documents) == (True, 2)


async def test_an_event_over_a_cap_needs_no_dead_letter_where_a_newer_one_overtook_it(make_world: MakeWorld) -> None:
    world = await make_world(caps={"document_chunks": 4})
    await world.produce(upsert("doc", long_text("doc", 40)), upsert("doc", "plain words"))
    await world.produce(upsert("large", long_text("large", 40)))
    async with world.index():  # makes the collection
        pass
    report = await world.verify(to_end=True)
    assert report.counts == {DifferenceKind.MISSING_DOCUMENT: 1, DifferenceKind.NOT_DEAD_LETTERED: 1}
    await world.work()
    assert (await world.verify()).equal


async def test_what_the_embedder_refuses_during_a_repair_becomes_a_dead_letter(make_world: MakeWorld) -> None:
    world = await make_world()
    await filled(world)
    await world.drop("doc-3", 1)
    refused = world.jina.inject(JinaFaultKind.REFUSE, match="doc-3 has paragraph 1")
    result = await world.repair()
    assert refused.fired > 0
    assert result.repaired is not None
    assert (result.repaired.dead_lettered, result.repaired.written) == (1, 0)
    (dead_letter,) = await world.kafka.read_all(f"{world.topic}.dlq")
    assert dead_letter.key == b"doc-3"


async def test_late_chunking_embeds_a_damaged_document_whole(make_world: MakeWorld) -> None:
    world = await make_world(jina={"late_chunking": True})
    await filled(world)
    before = await world.everything()
    embedded = world.jina.stats.inputs_embedded
    await world.drop("doc-3", 1)
    await world.change("doc-4", 1, text="something else")
    assert (await world.verify()).counts == {DifferenceKind.MISSING_CHUNK: 1, DifferenceKind.WRONG_PAYLOAD: 1}
    assert (await world.repair()).after.equal
    assert await world.everything() == before
    assert world.jina.stats.inputs_embedded - embedded == 8


async def test_in_version_order_an_event_that_nobody_sent_makes_room_for_the_one_that_was(
    make_world: MakeWorld,
) -> None:
    world = await make_world(worker={"order": "version"})
    await world.produce(upsert("doc", long_text("doc"), version=7), upsert("doc", "late and old", version=3))
    await world.produce(upsert("other", "words", version=1), delete("gone"))
    assert (await world.work())[Outcome.DEAD_LETTERED] == 1  # a null value without a version header
    assert (await world.verify()).equal
    before = await world.everything()
    await world.change_manifest("doc", version=9)
    for place in range(4):
        await world.change("doc", place, version=9)
    assert (await world.verify()).counts == {DifferenceKind.UNEXPECTED_DOCUMENT: 1}
    assert (await world.repair()).after.equal
    assert await world.everything() == before


async def test_points_of_others_are_counted_and_left_alone(make_world: MakeWorld) -> None:
    world = await make_world()
    await filled(world)
    foreign = models.PointStruct(id=77, vector=[1.0] * 32, payload={"somebody": "else"})
    await world.client.upsert(world.points, [foreign], wait=True)
    await world.drop("doc-1", 0)
    result = await world.repair()
    assert (result.after.equal, result.after.foreign) == (True, 1)
    assert len(await world.client.retrieve(world.points, [77])) == 1


async def test_a_worker_at_work_makes_no_difference_and_is_not_undone(make_world: MakeWorld) -> None:
    world = await make_world()
    await filled(world)
    stop = asyncio.Event()

    async def stream() -> int:
        rounds = 0
        while not stop.is_set():
            rounds += 1
            changed = [upsert(f"doc-{n}", long_text(f"doc-{n}", 3 + (rounds + n) % 4)) for n in range(15)]
            await world.produce(*changed, delete(f"doc-{rounds % 14}"), upsert(f"new-{rounds}", f"words {rounds}"))
        return rounds

    async with world.working() as worker:
        streaming = asyncio.create_task(stream())
        async with asyncio.timeout(60):
            while sum(worker.metrics.counts.outcomes.values()) < 50:
                await asyncio.sleep(0.1)
        for _ in range(5):
            report = await world.verify()
            assert report.counts == {}
        await world.drop("doc-14", 0)
        result = await world.repair()
        assert result.after.counts == {}
        stop.set()
        assert await streaming > 1
    await world.work()
    assert (await world.verify(to_end=True)).counts == {}
