"""The whole worker on real Kafka: whatever is redelivered, shared or stopped, the collection equals the fold."""

import json
import os
import random
import signal
from pathlib import Path

import pytest

from harness.deployment import KEY, Deployment, message, stream, until
from harness.fixtures_qdrant import QdrantSpace
from harness.kafka import Kafka, Message
from oracle.fold import fold, read_collection, without_blanks
from streamdex.model import Partition
from streamdex.standins.jina import JinaFaultKind, JinaServer

PARTITIONS = 4


@pytest.fixture
async def deployment(kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path) -> Deployment:
    topic = await kafka.create_topic(partitions=PARTITIONS)
    return Deployment(kafka, jina, qdrant.address, qdrant.collection, topic, kafka.unique_group(), tmp_path)


async def test_a_stream_with_updates_and_deletes_and_all_of_it_again(deployment: Deployment) -> None:
    await deployment.produce(stream(5_000, random.Random(1)))
    assert await deployment.work_it_off("first") > 0
    assert await deployment.equals_the_fold()
    await deployment.kafka.forget_group(deployment.group)
    assert await deployment.work_it_off("second") == 0
    assert await deployment.equals_the_fold()


async def test_two_workers_share_and_one_is_stopped_in_the_middle(deployment: Deployment) -> None:
    messages = stream(5_000, random.Random(2))
    half = len(messages) // 2
    async with deployment.worker("one") as one, deployment.worker("two") as two:
        await until(lambda: len(two.events("partitions.assigned")) > 0 and len(one.events("partitions.assigned")) > 0)
        await deployment.produce(messages[:half])
        await deployment.settled()  # by both: a worker that has just come has no share of the limits yet
        embedded = deployment.jina.stats.inputs_embedded
        await deployment.produce(messages[half:])
        await until(lambda: deployment.jina.stats.inputs_embedded > embedded + half // 8)
        committed = await deployment.kafka.committed(deployment.group)
        assert await one.stop() == 0
        after = await deployment.kafka.committed(deployment.group)
        assert all(after[partition] >= offset for partition, offset in committed.items())
        await never_above_unsettled(deployment, after)
        await deployment.settled()
        assert await two.stop() == 0
    assert await deployment.equals_the_fold()


async def never_above_unsettled(deployment: Deployment, committed: dict[Partition, int]) -> None:
    """Every document whose newest event lies below the commit stands in the collection as that event left it."""
    records = await deployment.kafka.read_all(deployment.topic)
    newest: dict[bytes | None, tuple[int, bytes | None, int]] = {}
    for record in records:
        newest[record.key] = (record.offset, record.value, record.partition)
    found = without_blanks((await read_collection(deployment.qdrant, deployment.collection)).texts)
    checked = 0
    for key, (offset, value, number) in newest.items():
        if offset < committed.get(Partition(deployment.topic, number), 0):
            expected = without_blanks(fold([(key, value)]))
            document = (key or b"").decode()
            assert found.get(document) == expected.get(document)
            checked += 1
    assert checked > 0


async def test_poison_becomes_dead_letters_byte_for_byte_and_the_rest_is_indexed(deployment: Deployment) -> None:
    refused = deployment.jina.inject(JinaFaultKind.REFUSE, match="unspeakable")
    poison = [
        Message(b"p1", b"\xff not JSON", headers=[("trace", b"\x00\x01")]),
        Message(None, b'{"text": "no id"}'),
        Message(b"p3", json.dumps({"id": "p3", "text": "an unspeakable text"}).encode()),
    ]
    good = stream(200, random.Random(3))
    await deployment.produce(good[:100])
    await deployment.kafka.produce(deployment.topic, poison)
    await deployment.produce(good[100:])
    async with deployment.worker() as worker:
        await deployment.settled()
        assert await worker.stop() == 0
        assert KEY not in worker.log
    assert refused.fired > 0
    assert await deployment.equals_the_fold()
    dead_letters = await deployment.kafka.read_all(f"{deployment.topic}.dlq")
    assert {(dead_letter.key, dead_letter.value) for dead_letter in dead_letters} == {
        (one.key, one.value) for one in poison
    }
    reasons = {dead_letter.key: dict(dead_letter.headers)["__streamdex.reason"] for dead_letter in dead_letters}
    assert reasons == {b"p1": b"not_utf8", None: b"no_id", b"p3": b"refused_by_embedder"}
    (traced,) = [dead_letter for dead_letter in dead_letters if dead_letter.key == b"p1"]
    assert traced.headers[0] == ("trace", b"\x00\x01")


async def test_an_outage_of_the_embedder_loses_nothing_and_dead_letters_nothing(deployment: Deployment) -> None:
    outage = deployment.jina.inject(JinaFaultKind.STATUS, "503", times=6)
    await deployment.produce(stream(100, random.Random(4)))
    async with deployment.worker() as worker:
        await deployment.settled()
        assert await worker.stop() == 0
        assert worker.events("service.down")
    assert outage.fired == 6
    assert await deployment.equals_the_fold()
    assert await deployment.kafka.read_all(f"{deployment.topic}.dlq") == []


async def test_a_second_signal_does_not_wait_and_says_that_work_is_left(deployment: Deployment) -> None:
    hanging = deployment.jina.inject(JinaFaultKind.HANG, "30", times=1)
    await deployment.produce([message("doc-1", "a text whose answer hangs")])
    async with deployment.worker() as worker:
        await until(lambda: hanging.fired > 0)
        os.kill(worker.pid, signal.SIGTERM)
        await until(lambda: len(worker.events("worker.stopping")) > 0)
        os.kill(worker.pid, signal.SIGTERM)
        assert await worker.wait() == 3
    await deployment.work_it_off("again")
    assert await deployment.equals_the_fold()
