"""A replica with the rest of the flow left out, for tests of the intake room on real Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from harness.kafka import Kafka, Message
from streamdex.config import KafkaSettings
from streamdex.intake import BackPressure, Consumer
from streamdex.model import Outcome, Partition, Record
from streamdex.settle import Committer, Ledger, Ticket, start_offset
from streamdex.telemetry import Health, Metrics

DEADLINE_S = 40.0


async def until(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        await asyncio.sleep(0.02)


class Worker:
    """A replica with the rest of the flow left out: it takes records in, and settles them when told to."""

    def __init__(
        self,
        kafka: Kafka,
        topic: str,
        group: str,
        *,
        settle_at_once: bool = True,
        bound: int = 4096,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.settings = KafkaSettings.model_validate(
            {"bootstrap_servers": kafka.bootstrap_servers, "topics": (topic,), "group_id": group, **(settings or {})}
        )
        self.metrics, self.health = Metrics(), Health()
        self.ledger, self.back_pressure = Ledger(), BackPressure(bound, 64 * 1024 * 1024)
        self.consumer = Consumer(self.settings, self.back_pressure, self.health, self.metrics)
        self.committer = Committer(self.ledger, self.consumer.commit, 10.0, self.metrics)
        self.settle_at_once = settle_at_once
        self.read: list[Record] = []
        self.tickets: list[Ticket] = []
        self.deliveries = 0
        self.assignments = 0
        self.revocations: list[frozenset[Partition]] = []
        self.hold_assignment = asyncio.Event()
        self.hold_assignment.set()

    async def assigned(self, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        await self.hold_assignment.wait()
        ranges = await self.consumer.log_ranges(committed)
        starts = {p: start_offset(committed[p], committed[p], ranges[p], latest=False) for p in committed}
        for partition, start in starts.items():
            self.ledger.assign(partition, start)
        self.assignments += 1
        return starts

    async def revoked(self, partitions: Collection[Partition]) -> None:
        await self.committer.commit_now()
        self.ledger.revoke(partitions)
        for partition in partitions:
            self.back_pressure.revoked(partition)
        self.revocations.append(frozenset(partitions))

    def accept(self, partition: Partition, records: Sequence[Record], position: int) -> None:
        self.deliveries += 1
        tracker = self.ledger.tracker(partition)
        if tracker is None:
            return
        for record in records:
            self.back_pressure.accepted(partition, 1, record.size_bytes)
            ticket = tracker.open(record.offset, record.size_bytes, record.timestamp_ms)
            self.tickets.append(ticket)
            self.read.append(record)
        tracker.advance(position)
        if self.settle_at_once:
            self.settle_all()

    def settle_all(self) -> None:
        tickets, self.tickets = self.tickets, []
        for ticket in tickets:
            if ticket.settle(Outcome.INDEXED):
                self.back_pressure.settled(ticket.partition, ticket.size_bytes, ticket.span)

    @property
    def kafka(self) -> Any:
        """aiokafka's own consumer, to see what Kafka thinks."""
        assert self.consumer._session is not None
        return self.consumer._session._kafka

    @property
    def polled_s(self) -> float:
        """When a poll last returned, or a connection was begun."""
        return self.consumer.moved_s

    @property
    def places(self) -> list[tuple[int, int]]:
        return [(record.partition, record.offset) for record in self.read]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Worker"]:
        await self.consumer.start()
        reading = asyncio.create_task(self.consumer.run(self.accept, self))
        committing = asyncio.create_task(self.committer.run())
        try:
            yield self
        finally:
            self.consumer.stop_fetching()
            await reading
            await self.consumer.close()
            committing.cancel()
            await asyncio.wait({committing})


def numbered(count: int, partition: int | None = None) -> list[Message]:
    return [Message(b"k%d" % n, b"v%d" % n, (("h", b"%d" % n),), partition) for n in range(count)]
