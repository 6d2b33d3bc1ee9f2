"""The embedded broker through the real client: what the demo and the tests of one member rely on."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from harness.kafka import Kafka, Message
from harness.kafka_broker import live_brokers
from streamdex.model import Partition
from streamdex.standins.broker import PARTITION_BYTES, PARTITIONS, EmbeddedBroker

KIB = 1024


@pytest.fixture
def embedded() -> Iterator[Kafka]:
    broker = EmbeddedBroker()
    yield Kafka(broker.start())
    broker.stop()


async def test_keeps_keys_values_headers_and_tombstones(embedded: Kafka) -> None:
    messages = [
        Message(b"a", b"one", [("h", b"1")], partition=0),
        Message(b"a", None, partition=0),
        Message(b"b", b"two", partition=3),
    ]
    await embedded.produce("documents", messages)
    records = await embedded.read_all("documents")
    assert [(each.partition, each.offset, each.key, each.value) for each in records] == [
        (0, 0, b"a", b"one"),
        (0, 1, b"a", None),
        (3, 0, b"b", b"two"),
    ]
    assert records[0].headers == (("h", b"1"),)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
async def test_takes_compressed_batches(embedded: Kafka, codec: str) -> None:
    await embedded.produce("documents", [Message(b"a", b"one " * 100, partition=0)], codec)
    assert [each.value for each in await embedded.read_all("documents")] == [b"one " * 100]


async def test_a_topic_is_made_by_its_first_mention_with_four_partitions(embedded: Kafka) -> None:
    await embedded.produce("documents", [Message(b"a", b"one", partition=0)])
    ends = await embedded.end_offsets("documents")
    assert ends == {Partition("documents", number): int(number == 0) for number in range(PARTITIONS)}


async def test_a_member_joins_commits_and_its_successor_goes_on_there(embedded: Kafka) -> None:
    await embedded.produce("documents", [Message(b"a", b"one", partition=0), Message(b"a", b"two", partition=0)])
    first = _member(embedded)
    async with first:
        record = await first.getone()
        assert record.value == b"one"
        await first.commit({TopicPartition("documents", 0): 1})
        assert await first.committed(TopicPartition("documents", 0)) == 1
    second = _member(embedded)
    async with second:
        assert (await second.getone()).value == b"two"


async def test_drops_the_oldest_in_silence_beyond_its_bound(embedded: Kafka) -> None:
    """The reason why the demo's input is bounded, and why its fold asserts that the log begins at 0."""
    count = PARTITION_BYTES // (512 * KIB) + 4
    await embedded.produce("documents", [Message(None, bytes(512 * KIB), partition=0) for _ in range(count)])
    offsets = [each.offset for each in await embedded.read_all("documents")]
    assert offsets[-1] == count - 1
    assert offsets[0] > 0


async def test_starting_and_stopping_twice_is_safe() -> None:
    broker = EmbeddedBroker()
    broker.stop()
    address = broker.start()
    assert broker.start() == address
    assert await asyncio.to_thread(live_brokers, address) == 1
    broker.stop()
    broker.stop()
    assert await asyncio.to_thread(live_brokers, address) == 0


def _member(kafka: Kafka) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        "documents",
        bootstrap_servers=kafka.bootstrap_servers,
        group_id="group",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=4_000,  # after it a successor is let in, also when the first one left; below 3 s nobody is
        heartbeat_interval_ms=300,
    )
