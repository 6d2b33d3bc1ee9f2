"""What Kafka has: topics whole, log ends, commits. Every call makes its own client and closes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from chaos.checker.events import LogRecord

READ_LIMIT_S = 300.0
PATIENCE_S = 30.0


async def read_topic(bootstrap: str, topic: str) -> list[LogRecord]:
    """Every committed record of a topic, by partition and offset; none where there is no such topic."""
    records: list[LogRecord] = []
    async with asyncio.timeout(READ_LIMIT_S), opened_consumer(bootstrap) as consumer:
        partitions = [TopicPartition(topic, number) for number in await _numbers(consumer, topic)]
        if not partitions:
            return []
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        while [each for each in partitions if await consumer.position(each) < ends[each]]:
            for fetched in (await consumer.getmany(timeout_ms=200)).values():
                records.extend(map(as_log_record, fetched))
    return sorted(records, key=lambda record: record.place)


async def log_ends(bootstrap: str, topic: str) -> dict[int, int]:
    """The offset after the last record of each partition, transaction markers included."""
    async with asyncio.timeout(READ_LIMIT_S), opened_consumer(bootstrap) as consumer:
        partitions = [TopicPartition(topic, number) for number in await _numbers(consumer, topic)]
        return {each.partition: end for each, end in (await consumer.end_offsets(partitions)).items()}


async def committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """What a group has committed of a topic, by partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        return await offsets_of(admin, group, topic)
    finally:
        await admin.close()


async def offsets_of(admin: AIOKafkaAdminClient, group: str, topic: str) -> dict[int, int]:
    """The same with a client that is open. Waits for a coordinator that has just been started."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                found = await admin.list_consumer_group_offsets(group)
            except KafkaError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(0.1)
                continue
            return {each.partition: at.offset for each, at in found.items() if each.topic == topic and at.offset >= 0}


@asynccontextmanager
async def opened_consumer(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer outside any group, without partitions yet, that reads what is committed."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer:
        yield consumer


async def _numbers(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    await consumer.topics()  # asks for all; `partitions_for_topic` answers from what is known
    return sorted(consumer.partitions_for_topic(topic) or ())


def as_log_record(fetched: "ConsumerRecord[bytes, bytes]") -> LogRecord:
    """A record as the checker keeps it."""
    at = (fetched.partition, fetched.offset, fetched.timestamp)
    return LogRecord(*at, fetched.key, fetched.value, tuple(fetched.headers))
