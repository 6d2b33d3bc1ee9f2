"""What Kafka has: topics whole, log ends, commits. Every call makes its own client and closes it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from chaos.checker.events import LogRecord

READ_LIMIT_S = 300.0
PATIENCE_S = 30.0
CLOSE_LIMIT_S = 2.0


async def read_topic(bootstrap: str, topic: str) -> list[LogRecord]:
    """Every committed record of a topic, by partition and offset; none where there is no such topic."""
    async with asyncio.timeout(READ_LIMIT_S), opened_tail(bootstrap, topic) as tail:
        await tail.read_to(await tail.ends())
        return sorted(tail.take(), key=lambda record: record.place)


async def log_ends(bootstrap: str, topic: str) -> dict[int, int]:
    """The offset after the last record of each partition, transaction markers included."""
    async with asyncio.timeout(READ_LIMIT_S), opened_tail(bootstrap, topic) as tail:
        return await tail.ends()


async def committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """What a group has committed of a topic, by partition."""
    async with opened_admin(bootstrap) as admin:
        return await offsets_of(admin, group, topic)


async def offsets_of(admin: AIOKafkaAdminClient, group: str, topic: str, limit_s: float = PATIENCE_S) -> dict[int, int]:
    """The same with a client that is open. Waits for a coordinator that has just been started. Raises TimeoutError."""
    async with asyncio.timeout(limit_s):
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
async def opened_admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for questions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        yield admin
    finally:
        await _closed(admin.close())


class Tail:
    """Reads a topic on from where it was opened; what it has read waits in `buffer` until it is taken."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = {each.partition: each for each in partitions}
        self.buffer: list[LogRecord] = []

    async def ends(self) -> dict[int, int]:
        """The offset after the last record of each partition that is committed, transaction markers included."""
        found = await self._consumer.end_offsets(list(self._partitions.values())) if self._partitions else {}
        return {each.partition: end for each, end in found.items()}

    async def read_to(self, ends: Mapping[int, int], limit_s: float = PATIENCE_S) -> None:
        """Read until nothing below these offsets is unread, and perhaps further. Raises TimeoutError.

        The limit is for progress: it begins anew with whatever comes.
        """
        async with asyncio.timeout(limit_s) as limit:
            while [at for at, end in ends.items() if await self._consumer.position(self._partitions[at]) < end]:
                for fetched in (await self._consumer.getmany(timeout_ms=100)).values():
                    self.buffer.extend(map(_as_log_record, fetched))
                    limit.reschedule(asyncio.get_running_loop().time() + limit_s)

    def take(self) -> list[LogRecord]:
        """All that waits."""
        taken, self.buffer = self.buffer, []
        return taken


@asynccontextmanager
async def opened_tail(bootstrap: str, topic: str, starts: Mapping[int, int] | None = None) -> AsyncIterator[Tail]:
    """All partitions of a topic, outside any group, from these offsets or from the start; none of a topic that is not.

    Only what is committed is read.
    """
    async with opened_admin(bootstrap) as admin:
        (described,) = await admin.describe_topics([topic])
        partitions = [TopicPartition(topic, each["partition"]) for each in described["partitions"]]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=20,
    )
    try:
        await consumer.start()
        consumer.assign(partitions)
        for each in partitions:
            consumer.seek(each, (starts or {}).get(each.partition, 0))
        yield Tail(consumer, partitions)
    finally:
        await _closed(consumer.stop())


async def _closed(closing: Awaitable[None]) -> None:
    """With the broker away, aiokafka's clients may not come to an end, or raise a CancelledError of their own."""
    task = asyncio.ensure_future(closing)
    await asyncio.wait({task}, timeout=CLOSE_LIMIT_S)
    task.cancel()
    await asyncio.wait({task}, timeout=CLOSE_LIMIT_S)


def _as_log_record(fetched: "ConsumerRecord[bytes, bytes]") -> LogRecord:
    at = (fetched.partition, fetched.offset, fetched.timestamp)
    return LogRecord(*at, fetched.key, fetched.value, tuple(fetched.headers))
