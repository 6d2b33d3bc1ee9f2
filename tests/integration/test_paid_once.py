"""Nothing is paid for twice: texts that a document's manifest lists are not embedded again; collections catch up."""

import json
import random
import shutil
from pathlib import Path

import pytest

from harness.deployment import Deployment, message, stream, until
from harness.fixtures_qdrant import QdrantSpace, address_of
from harness.kafka import Kafka, Message
from streamdex.standins.jina import JinaServer
from streamdex.standins.qdrant import EmbeddedQdrant

CHUNKS = 40


@pytest.fixture
async def deployment(kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path) -> Deployment:
    topic = await kafka.create_topic()
    return Deployment(kafka, jina, qdrant.address, qdrant.collection, topic, kafka.unique_group(), tmp_path)


def document(paragraphs: list[str], team: str = "ops") -> Message:
    event = {"id": "long", "text": "\n\n".join(paragraphs), "metadata": {"team": team}}
    return Message(b"long", json.dumps(event).encode())


async def test_a_long_document_pays_for_what_changed(deployment: Deployment) -> None:
    paragraphs = [f"Paragraph {number}: " + "some words of it " * 100 for number in range(CHUNKS)]
    await deployment.produce([document(paragraphs)])
    assert await deployment.work_it_off() == CHUNKS
    paragraphs[20] = "Paragraph 20, changed: " + "other words of it " * 95
    await deployment.produce([document(paragraphs)])
    assert await deployment.work_it_off() in (1, 2)
    await deployment.produce([document(paragraphs, team="office")])
    assert await deployment.work_it_off() == 0
    await deployment.kafka.forget_group(deployment.group)
    assert await deployment.work_it_off() == 0
    assert await deployment.equals_the_fold()


async def test_updates_that_wait_are_embedded_once(deployment: Deployment) -> None:
    await deployment.produce([message("doc", f"Version {number} of the text.") for number in range(10)])
    assert await deployment.work_it_off() == 1
    assert await deployment.equals_the_fold()


async def test_twenty_thousand_documents_again_embed_nothing(deployment: Deployment) -> None:
    await deployment.produce(stream(20_000, random.Random(5)))
    assert await deployment.work_it_off("first") >= 19_000
    await deployment.kafka.forget_group(deployment.group)
    assert await deployment.work_it_off("second") == 0
    assert await deployment.equals_the_fold()


async def test_a_new_collection_under_the_old_group_is_complete(deployment: Deployment) -> None:
    await deployment.produce(stream(500, random.Random(6)))
    await deployment.work_it_off("first")
    deployment.collection += "-new"  # its name still begins as the test's own, so it is removed with it
    worker = await deployment.catch_up("second")
    assert worker.events("progress.behind")


async def test_a_collection_restored_from_an_older_copy_catches_up(
    kafka: Kafka, jina: JinaServer, tmp_path: Path
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    topic = await kafka.create_topic(partitions=2)
    messages = stream(400, random.Random(7))
    async with EmbeddedQdrant(directory=data) as server:
        port = server.port
        deployment = Deployment(kafka, jina, address_of(server), "restored", topic, kafka.unique_group(), tmp_path)
        await deployment.produce(messages[:250])
        await deployment.work_it_off("first")
    shutil.copytree(data, copy)
    async with EmbeddedQdrant(directory=data, port=port):
        await deployment.produce(messages[250:])
        await deployment.work_it_off("second")
        assert await deployment.equals_the_fold()
    shutil.rmtree(data)
    async with EmbeddedQdrant(directory=copy, port=port):
        worker = await deployment.catch_up("third")
        assert worker.events("progress.behind")


async def test_a_topic_made_anew_waits_for_the_epoch_and_then_ranks_above(
    kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path
) -> None:
    topic = await kafka.create_topic()
    deployment = Deployment(kafka, jina, qdrant.address, qdrant.collection, topic, kafka.unique_group(), tmp_path)
    await deployment.produce(stream(50, random.Random(8)))
    await deployment.work_it_off("first")
    await kafka.make_topic_anew(topic)
    deployment.produced.clear()
    await deployment.produce(stream(60, random.Random(9)))
    async with deployment.worker("without") as worker:
        await until(lambda: len(worker.events("topic.recreated")) > 0)
        assert await worker.stop() == 0
    assert await deployment.work_it_off("with", STREAMDEX_KAFKA__EPOCH="1") > 0
    assert await deployment.equals_the_fold()
