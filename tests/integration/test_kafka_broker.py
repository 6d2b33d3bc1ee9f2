"""The tests' own Kafka does what tests rely on: it keeps what it acknowledged, is killed and comes back, elects."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.errors import TopicAlreadyExistsError

from harness.kafka import Kafka, Message
from harness.kafka_broker import START_LIMIT_S, KafkaBroker, KafkaCluster, KafkaStartError
from streamdex.model import Partition


async def test_everything_produced_is_read_with_tombstones_and_headers(kafka: Kafka) -> None:
    topic = await kafka.create_topic(partitions=2)
    messages = [
        Message(b"a", b"one", [("h", b"1")], partition=0, timestamp_ms=1_000),
        Message(b"b", None, partition=1),
        Message(None, b"three", partition=0),
    ]
    assert await kafka.produce(topic, messages) == [Partition(topic, each.partition or 0) for each in messages]
    records = await kafka.read_all(topic)
    assert [(each.partition, each.offset, each.key, each.value) for each in records] == [
        (0, 0, b"a", b"one"),
        (0, 1, None, b"three"),
        (1, 0, b"b", None),
    ]
    assert records[0].headers == (("h", b"1"),)
    assert records[0].timestamp_ms == 1_000
    assert await kafka.end_offsets(topic) == {Partition(topic, 0): 2, Partition(topic, 1): 1}


async def test_aborted_transactions_are_left_out_but_take_offsets(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    await kafka.produce_transaction(topic, [Message(b"a", b"aborted")], commit=False)
    await kafka.produce_transaction(topic, [Message(b"a", b"committed")], commit=True)
    assert [each.value for each in await kafka.read_all(topic)] == [b"committed"]
    assert [each.value for each in await kafka.read_all(topic, "read_uncommitted")] == [b"aborted", b"committed"]
    assert await kafka.end_offsets(topic) == {Partition(topic, 0): 4}


async def test_committed_offsets_are_seen_and_can_be_forgotten(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, [Message(b"a", b"one"), Message(b"a", b"two")])
    assert await kafka.committed(group) == {}
    await kafka.move_group(group, {Partition(topic, 0): 2})
    assert await kafka.committed(group) == {Partition(topic, 0): 2}
    await kafka.forget_group(group)
    assert await kafka.committed(group) == {}


async def test_a_topic_that_exists_is_refused(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    with pytest.raises(TopicAlreadyExistsError):
        await kafka.create_topic(topic)


async def test_a_killed_broker_comes_back_with_its_data_and_offsets(kafka_node: KafkaBroker) -> None:
    kafka = Kafka(kafka_node.bootstrap_servers)
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, [Message(b"a", b"one")])
    await kafka.move_group(group, {Partition(topic, 0): 1})
    first = kafka_node.pid
    kafka_node.kill9()
    assert not kafka_node.running
    await asyncio.to_thread(kafka_node.start)
    assert kafka_node.pid != first
    await kafka.produce(topic, [Message(b"a", b"two")])
    assert [each.value for each in await kafka.read_all(topic)] == [b"one", b"two"]
    async with asyncio.timeout(START_LIMIT_S):  # it tells of no offsets while it loads them
        while await kafka.committed(group) != {Partition(topic, 0): 1}:
            await asyncio.sleep(0.1)


async def test_a_broker_ends_by_sigterm_and_stopping_twice_is_safe(kafka_node: KafkaBroker) -> None:
    await asyncio.to_thread(kafka_node.restart)
    assert kafka_node.pid > 0
    await asyncio.to_thread(kafka_node.stop)
    await asyncio.to_thread(kafka_node.stop)
    assert not kafka_node.running
    with pytest.raises(RuntimeError, match="does not run"):
        _ = kafka_node.pid


async def test_three_nodes_elect_a_new_leader_when_one_dies(kafka_cluster: KafkaCluster) -> None:
    kafka = Kafka(kafka_cluster.bootstrap_servers, replication=3)
    topic = await kafka.create_topic(partitions=3)
    await kafka.produce(topic, [Message(b"a", b"before", partition=number) for number in range(3)])
    dead = kafka_cluster.nodes[0]
    dead.kill9()
    await kafka.produce(topic, [Message(b"a", b"after", partition=number) for number in range(3)])
    assert [each.value for each in await kafka.read_all(topic)] == [b"before", b"after"] * 3
    assert not dead.running
    await asyncio.to_thread(kafka_cluster.start)
    assert dead.running


def test_a_failed_start_shows_what_the_broker_said(tmp_path: Path, kafka_node: KafkaBroker) -> None:
    assert kafka_node.running  # so a broker of our own can be had here
    broken = KafkaCluster(tmp_path, extra={"log.segment.bytes": "none"})
    with pytest.raises(KafkaStartError, match=r"log\.segment\.bytes"):
        broken.start()
    broken.stop()
