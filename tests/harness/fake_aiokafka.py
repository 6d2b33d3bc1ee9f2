"""A stand-in for aiokafka's consumer, as far as the intake room uses it: logs in memory, answers by script."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError


def fetched(topic: str, partition: int, offset: int) -> ConsumerRecord:
    return ConsumerRecord(topic, partition, offset, 1_000 + offset, 0, b"k", b"v%d" % offset, None, 1, 2, ())


class FakeAIOKafka:
    """`logs` hold offsets by partition; `on_poll` may raise or change things before each poll."""

    def __init__(self, *partitions: int, topic: str = "documents") -> None:
        self.topic = topic
        self.logs: dict[TopicPartition, list[int]] = {TopicPartition(topic, n): [] for n in partitions}
        self.ends: dict[TopicPartition, int] = {}
        self.positions: dict[TopicPartition, int] = dict.fromkeys(self.logs, 0)
        self.committed_offsets: dict[TopicPartition, int | None] = dict.fromkeys(self.logs)
        self.asked: list[list[TopicPartition]] = []
        self.seeks: list[tuple[int, int]] = []
        self.on_poll: Callable[[list[TopicPartition]], None] = lambda _: None
        self.listener: Any = None
        self.assigned = True
        self._coordinator: Any = None
        self._fetcher: Any = None

    async def getmany(
        self, *asked: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        await asyncio.sleep(0)
        self.asked.append(list(asked))
        self.on_poll(list(asked))
        found: dict[TopicPartition, list[ConsumerRecord]] = {}
        room = max_records or 10**9
        for at in asked:
            ahead = [offset for offset in self.logs.get(at, []) if offset >= self.positions[at]][:room]
            if ahead:
                found[at] = [self.record_at(at, offset) for offset in ahead]
                self.positions[at] = ahead[-1] + 1
                room -= len(ahead)
            if not room:
                break
        return found

    def record_at(self, at: TopicPartition, offset: int) -> ConsumerRecord:
        return fetched(at.topic, at.partition, offset)

    async def position(self, at: TopicPartition) -> int:
        return self.positions[at]

    def highwater(self, at: TopicPartition) -> int | None:
        return self.ends.get(at)

    def seek(self, at: TopicPartition, offset: int) -> None:
        if not self.assigned:
            raise IllegalStateError(f"No current assignment for partition {at}")
        self.seeks.append((at.partition, offset))
        self.positions[at] = offset

    async def committed(self, at: TopicPartition) -> int | None:
        return self.committed_offsets[at]
