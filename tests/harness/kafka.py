"""What tests ask of a Kafka cluster, whichever one it is: topics, records, offsets. No pytest in here."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import confluent_kafka.admin
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    TopicAlreadyExistsError,
    for_code,
)

from streamdex.model import Partition, Record

Isolation = Literal["read_committed", "read_uncommitted"]
SETTLE_LIMIT_S = 30.0


class Message(NamedTuple):
    """What to produce. `partition` and `timestamp_ms` are Kafka's choice when None."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


class Kafka:
    """A cluster at `bootstrap_servers`. Every call makes its own client and closes it: slow, and nothing is left."""

    def __init__(self, bootstrap_servers: str, replication: int = 1) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.replication = replication

    def unique_topic(self, stem: str = "documents") -> str:
        """A name that no other test uses. Tests share one broker, so each has topics of its own."""
        return f"{stem}-{uuid.uuid4().hex[:12]}"

    def unique_group(self, stem: str = "streamdex") -> str:
        """A consumer group that no other test uses."""
        return f"{stem}-{uuid.uuid4().hex[:12]}"

    async def create_topic(
        self, name: str | None = None, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> str:
        """Make a topic, with a unique name when none is given; returns its name once it can be written to.

        Raises a KafkaError: the admin client itself raises nothing, the error is a code in its answer.
        """
        topic = name or self.unique_topic()
        async with self._admin() as admin:
            new = NewTopic(topic, partitions, self.replication, topic_configs=dict(config or {}))
            response = await admin.create_topics([new])
            _raise_first(response.topic_errors)
            await _until_led(admin, topic, partitions)
        return topic

    async def delete_topic(self, name: str) -> None:
        """Delete a topic. Raises a KafkaError."""
        async with self._admin() as admin:
            _raise_first((await admin.delete_topics([name])).topic_error_codes)

    async def make_topic_anew(self, name: str, partitions: int = 1) -> None:
        """Delete a topic and make one of the same name as soon as Kafka lets us, some time after it says it is gone."""
        await self.delete_topic(name)
        async with asyncio.timeout(SETTLE_LIMIT_S):
            while True:
                try:
                    await self.create_topic(name, partitions)
                except TopicAlreadyExistsError:
                    await asyncio.sleep(0)
                else:
                    return

    async def delete_records(self, at: Partition, before: int) -> None:
        """Delete what stands below an offset, as retention does. Raises a KafkaError."""
        async with self._admin() as admin:
            await admin.delete_records({TopicPartition(*at): RecordsToDelete(before)})

    async def move_group(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Set a group's offsets, as kafka-consumer-groups --reset-offsets does. It must have no members."""
        async with AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers,
            group_id=group,
            enable_auto_commit=False,  # it would commit its own position when it closes
        ) as consumer:
            consumer.assign([TopicPartition(*at) for at in offsets])
            await consumer.commit({TopicPartition(*at): offset for at, offset in offsets.items()})

    async def produce(self, topic: str, messages: Iterable[Message], codec: str | None = None) -> list[Partition]:
        """Write messages in order and wait for all their acknowledgements; returns the partition of each."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers, enable_idempotence=True, compression_type=codec
        )
        async with producer:
            sent = [
                await producer.send(topic, each.value, each.key, each.partition, each.timestamp_ms, list(each.headers))
                for each in messages
            ]
            acknowledged = await asyncio.gather(*sent)
        return [Partition(each.topic, each.partition) for each in acknowledged]

    async def produce_transaction(self, topic: str, messages: Iterable[Message], *, commit: bool) -> None:
        """Write messages in one transaction, and commit or abort it."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers, transactional_id=f"tests-{uuid.uuid4().hex}"
        ) as producer:
            await producer.begin_transaction()
            for each in messages:
                await producer.send_and_wait(topic, each.value, each.key, each.partition)
            await (producer.commit_transaction() if commit else producer.abort_transaction())

    async def committed(self, group: str) -> dict[Partition, int]:
        """The offsets that a group has committed; empty when it has none."""
        async with self._admin() as admin:
            found = await _with_coordinator(admin, group)
        return {Partition(each.topic, each.partition): at.offset for each, at in found.items() if at.offset >= 0}

    async def coordinator(self, group: str) -> int:
        """The id of the broker that coordinates a group."""
        async with self._admin() as admin:
            return int(await admin.find_coordinator(group))

    async def group_state(self, group: str) -> str:
        """How the group stands, in Kafka's words: Stable, PreparingRebalance, Empty, Dead …"""
        async with self._admin() as admin:
            (answer,) = await admin.describe_consumer_groups([group])
        return str(answer.groups[0][2])

    async def forget_group(self, group: str) -> None:
        """Delete a group with its offsets. It must have no members. Raises confluent_kafka.KafkaException."""
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.bootstrap_servers})  # aiokafka cannot
        await asyncio.to_thread(admin.delete_consumer_groups([group])[group].result, SETTLE_LIMIT_S)

    async def end_offsets(self, topic: str, isolation: Isolation = "read_uncommitted") -> dict[Partition, int]:
        """The offset after the last record of each partition, transaction markers included."""
        async with self._consumer(topic, isolation) as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
        return {Partition(each.topic, each.partition): offset for each, offset in ends.items()}

    async def read_all(self, topic: str, isolation: Isolation = "read_committed") -> list[Record]:
        """Every record that stands in the topic now, partition by partition in the order of the log."""
        records: list[Record] = []
        async with self._consumer(topic, isolation) as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            while [each for each in ends if await consumer.position(each) < ends[each]]:
                for fetched in (await consumer.getmany(timeout_ms=200)).values():
                    records.extend(map(_as_record, fetched))
        return sorted(records, key=lambda record: (record.partition, record.offset))

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()

    @asynccontextmanager
    async def _consumer(self, topic: str, isolation: Isolation) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer outside any group: it has all partitions of the topic from the start."""
        async with AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.bootstrap_servers,
            isolation_level=isolation,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        ) as consumer:
            yield consumer


def _as_record(fetched: ConsumerRecord[bytes, bytes]) -> Record:
    at = (fetched.topic, fetched.partition, fetched.offset, fetched.timestamp)
    return Record(*at, fetched.key, fetched.value, tuple(fetched.headers))


def _raise_first(errors: Iterable[tuple[object, ...]]) -> None:
    """Raise the first error among (topic, code, message…) rows."""
    for topic, code, *_ in errors:
        if code:
            raise for_code(code)(f"topic {topic}")


async def _until_led(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> None:
    """Wait until every partition has a leader: a topic is announced before it can be written to."""
    async with asyncio.timeout(SETTLE_LIMIT_S):
        while True:
            (described,) = await admin.describe_topics([topic])
            if len([each for each in described["partitions"] if each["leader"] >= 0]) == partitions:
                return
            await asyncio.sleep(0.05)


async def _with_coordinator(admin: AIOKafkaAdminClient, group: str) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Ask for a group's offsets.

    A broker that has just started may tell of no brokers at all, not even itself, and makes the topic of the offsets at
    the first question.
    """
    async with asyncio.timeout(SETTLE_LIMIT_S):
        while True:
            try:
                return await admin.list_consumer_group_offsets(group)  # type: ignore[no-any-return]  # untyped library
            except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError, NodeNotReadyError):
                await asyncio.sleep(0.1)
