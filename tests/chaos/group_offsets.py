"""What a consumer group has committed, every commit of it, read from Kafka's own topic of offsets."""

import struct
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from chaos.run_directory import RunDirectory
from harness.kafka import Kafka

OFFSETS_TOPIC = "__consumer_offsets"
OFFSETS_PARTITIONS = 3  # as the broker of the tests is set


class Commit(NamedTuple):
    """One commit of one partition; `at` in Unix seconds, by the broker's clock."""

    group: str
    topic: str
    partition: int
    offset: int
    at: float


def decode_commit(key: bytes | None, value: bytes | None, timestamp_ms: int) -> Commit | None:
    """A record of the topic of offsets as a commit; None for the other things that stand there."""
    if key is None or value is None or struct.unpack_from(">h", key)[0] not in (0, 1):
        return None
    group, at = _string(key, 2)
    topic, at = _string(key, at)
    (partition,) = struct.unpack_from(">i", key, at)
    (offset,) = struct.unpack_from(">q", value, 2)
    return Commit(group, topic, partition, offset, timestamp_ms / 1000)


def _string(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">h", data, at)
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length


class GroupOffsets:
    """Follows a group; `latest` is what it has committed last, by partition."""

    def __init__(self, run: RunDirectory, bootstrap_servers: str, group: str, topic: str) -> None:
        self._run = run
        self._bootstrap_servers = bootstrap_servers
        self._group = group
        self._topic = topic
        self.latest: dict[int, int] = {}

    async def lag(self, kafka: Kafka) -> dict[int, int]:
        """The records that the group has still to commit, by partition.

        The ends are asked for at each call: Kafka writes a transaction's marker after its producer has been told of the
        end, or after its timeout, so the end grows by one when nobody sends any more. And the group may have committed
        that marker since the ends were told: then it is ahead of them, which is no lag.
        """
        ends = await kafka.end_offsets(self._topic)
        return {at.number: max(0, end - self.latest.get(at.number, 0)) for at, end in ends.items()}

    async def follow_for_ever(self) -> None:
        """Until cancelled. The topic must be there."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
        )
        consumer.assign([TopicPartition(OFFSETS_TOPIC, number) for number in range(OFFSETS_PARTITIONS)])
        async with consumer:
            while True:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        self._take(decode_commit(record.key, record.value, record.timestamp))

    def _take(self, commit: Commit | None) -> None:
        if commit is not None and (commit.group, commit.topic) == (self._group, self._topic):
            self.latest[commit.partition] = commit.offset
            self._run.commit(commit.at, commit.partition, commit.offset)
