"""A cluster of three: the broker that coordinates the group, and leads its share of the topic, is killed under load."""

import asyncio
import random
from pathlib import Path

from harness.deployment import Deployment, stream, until
from harness.fixtures_qdrant import address_of
from harness.kafka import Kafka, Message
from harness.kafka_broker import KafkaCluster
from streamdex.standins.jina import JinaServer
from streamdex.standins.qdrant import EmbeddedQdrant

PARTITIONS = 6
CHUNK = 100


async def test_the_loss_of_coordinator_and_leader_loses_nothing(
    kafka_cluster: KafkaCluster, jina: JinaServer, qdrant_server: EmbeddedQdrant, tmp_path: Path
) -> None:
    kafka = Kafka(kafka_cluster.bootstrap_servers, replication=3)
    topic = await kafka.create_topic(partitions=PARTITIONS)
    deployment = Deployment(kafka, jina, address_of(qdrant_server), "documents", topic, kafka.unique_group(), tmp_path)
    messages = stream(2_000, random.Random(1))
    half = len(messages) // 2
    async with deployment.worker() as worker:
        await load(deployment, messages[:half])
        await until(lambda: jina.stats.inputs_embedded > half // 2)
        chosen = await kafka.coordinator(deployment.group)
        coordinator = next(node for node in kafka_cluster.nodes if node.node_id == chosen)
        producing = asyncio.create_task(load(deployment, messages[half:]))
        await asyncio.to_thread(coordinator.kill9)
        assert len(deployment.produced) < len(messages)  # in the middle of it
        await producing
        await deployment.settled()
        assert not coordinator.running
        assert await worker.stop() == 0
        assert worker.events("partitions.assigned")
        assert not worker.events("topic.recreated")
        assert not worker.events("kafka.offset_out_of_range")
    assert await deployment.equals_the_fold(), deployment.wrong
    assert await kafka.read_all(f"{topic}.dlq") == []


async def load(deployment: Deployment, messages: list[Message]) -> None:
    """Write chunk after chunk, each acknowledged before the next."""
    for begin in range(0, len(messages), CHUNK):
        await deployment.produce(messages[begin : begin + CHUNK])
