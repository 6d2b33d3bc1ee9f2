"""The consumer through outages of real Kafka, and when aiokafka itself is stuck or dead."""

import asyncio
import time

import pytest

from harness.bounds import Bound, set_bound
from harness.intake_worker import Worker, numbered, until
from harness.kafka import Kafka, Message
from harness.kafka_broker import KafkaBroker
from streamdex.errors import ServiceFault
from streamdex.intake.consumer.watch import ConsumerRestart
from streamdex.model import Partition


def restarts(worker: Worker, cause: ConsumerRestart) -> float:
    return worker.metrics.registry.get_sample_value("streamdex_kafka_restarts_total", {"cause": cause.value}) or 0.0


async def test_a_broker_that_goes_and_comes_back_loses_nothing(kafka_node: KafkaBroker) -> None:
    kafka = Kafka(kafka_node.bootstrap_servers)
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()
    await kafka.produce(topic, numbered(100))
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: len(worker.read) == 100, "the first part")
        await asyncio.to_thread(kafka_node.kill9)
        with pytest.raises(ServiceFault):
            await worker.consumer.commit(dict.fromkeys(worker.ledger.partitions, 0))
        assert "kafka commits" in worker.health.reasons
        await asyncio.to_thread(kafka_node.start)
        await kafka.produce(topic, numbered(100))
        await until(lambda: len(set(worker.places)) == 200, "the second part")
        await until(lambda: not worker.health.reasons, "health")
    assert await kafka.committed(group) == await kafka.end_offsets(topic)


async def test_closing_with_the_broker_down_is_limited_in_time(kafka_node: KafkaBroker) -> None:
    kafka = Kafka(kafka_node.bootstrap_servers)
    topic, group = await kafka.create_topic(), kafka.unique_group()
    worker = Worker(kafka, topic, group)
    await worker.consumer.start()
    reading = asyncio.create_task(worker.consumer.run(worker.accept, worker))
    await until(lambda: worker.assignments, "the assignment")
    await asyncio.to_thread(kafka_node.kill9)
    worker.consumer.stop_fetching()
    await reading
    began_s = time.monotonic()
    await worker.consumer.close()
    assert time.monotonic() - began_s < 15
    assert worker.revocations == [frozenset({Partition(topic, 0)})]


async def test_a_dead_heartbeat_makes_the_consumer_anew(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that aiokafka does not expect ends its heartbeats, and from then on every other poll raises."""
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(50))
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: len(worker.read) == 50, "the first part")
        first, fired = worker.kafka, asyncio.Event()

        async def die() -> bool:
            fired.set()
            raise ValueError("not what aiokafka expects")

        monkeypatch.setattr(first._coordinator, "_do_heartbeat", die)
        await until(fired.is_set, "the fault")
        await until(lambda: restarts(worker, ConsumerRestart.TASK_DIED) == 1, "the restart")
        await kafka.produce(topic, numbered(50))
        await until(lambda: len(set(worker.places)) == 100, "the second part")
        assert worker.kafka is not first
    assert len(worker.places) == 100  # all was committed before the first one was closed
    assert await kafka.committed(group) == await kafka.end_offsets(topic)


async def test_a_poll_that_never_returns_makes_the_consumer_anew(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.POLL_STUCK_S, 2.0)
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(50))
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: len(worker.read) == 50, "the first part")
        fired = asyncio.Event()

        async def hang(*_: object, **__: object) -> None:
            fired.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(worker.kafka, "getmany", hang)
        await until(fired.is_set, "the fault")
        await until(lambda: restarts(worker, ConsumerRestart.POLL_STUCK) == 1, "the restart")
        await kafka.produce(topic, numbered(50))
        await until(lambda: len(set(worker.places)) == 100, "the second part")
    assert len(worker.places) == 100


async def test_a_member_that_was_expelled_does_not_commit(kafka: Kafka) -> None:
    """A commit without a generation would be accepted by the group that it left empty."""
    topic, group = await kafka.create_topic(), kafka.unique_group()
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: worker.assignments, "the assignment")
        coordinator = worker.kafka._coordinator
        generation, coordinator.generation = coordinator.generation, -1
        with pytest.raises(ServiceFault, match="not in the group"):
            await worker.consumer.commit({Partition(topic, 0): 0})
        coordinator.generation = generation
        await worker.consumer.commit({Partition(topic, 0): 0})


async def test_a_topic_that_is_deleted_is_told(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.METADATA_MAX_AGE_S, 0.5)
    topic, group = await kafka.create_topic(), kafka.unique_group()
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: worker.assignments, "the assignment")
        await kafka.delete_topic(topic)
        await until(lambda: f"topic {topic}" in worker.health.reasons, "the reason")
        await kafka.create_topic(topic)
        await until(lambda: f"topic {topic}" not in worker.health.reasons, "its return")


async def test_a_new_partition_is_read(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.METADATA_MAX_AGE_S, 0.5)
    topic, group = await kafka.create_topic(), kafka.unique_group()
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: worker.assignments, "the assignment")
        await add_partitions(kafka, topic, 3)
        await until(lambda: len(worker.ledger.partitions) == 3, "the new partitions")
        await kafka.produce(topic, [Message(b"k", b"v", partition=2)])
        await until(lambda: worker.places == [(2, 0)], "its record")


async def add_partitions(kafka: Kafka, topic: str, total: int) -> None:
    from aiokafka.admin import NewPartitions

    async with kafka._admin() as admin:
        await admin.create_partitions({topic: NewPartitions(total)})


async def test_a_large_record_comes_through_small_fetches(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(config={"max.message.bytes": "4000000"}), kafka.unique_group()
    large = [Message(b"k", bytes([n]) * 3_000_000) for n in range(3)]
    from aiokafka import AIOKafkaProducer

    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, max_request_size=4_000_000, max_batch_size=4_000_000
    ) as producer:
        for message in large:
            await producer.send_and_wait(topic, message.value, message.key)
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: len(worker.read) == 3, "all records")
    assert [record.value for record in worker.read] == [message.value for message in large]
