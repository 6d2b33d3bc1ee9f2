"""Membership and poller together: where a partition starts, when it becomes ready in the middle of a poll."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from harness.bounds import Bound, set_bound
from harness.fake_aiokafka import FakeAIOKafka
from streamdex.config import KafkaSettings
from streamdex.intake.back_pressure import BackPressure
from streamdex.intake.consumer.instance import Instance
from streamdex.intake.consumer.membership import Membership
from streamdex.intake.consumer.poller import Poller
from streamdex.intake.consumer.watch import Watch
from streamdex.model import Partition, Record
from streamdex.telemetry import Health, Metrics

A = Partition("documents", 0)
AT_A = TopicPartition(*A)


class SlowKafka(FakeAIOKafka):
    """The next poll waits until `go` is set, and then raises if it `fails`."""

    def __init__(self) -> None:
        super().__init__(0)
        self.go: asyncio.Event | None = None
        self.waits = asyncio.Event()
        self.fails = False

    async def getmany(self, *asked: TopicPartition, **settings: Any) -> Any:
        if self.go is not None:
            go, self.go, fails = self.go, None, self.fails
            self.waits.set()
            await go.wait()
            if fails:
                raise KafkaError("the broker is gone")
        return await super().getmany(*asked, **settings)


class Fixture:
    """`start` is where the partition starts when it is assigned the next time."""

    def __init__(self) -> None:
        self.kafka, self.start = SlowKafka(), 0
        self.delivered: list[tuple[list[int], int]] = []
        instance = Instance(KafkaSettings(), Health(), str, lambda: None)
        self.membership = Membership(self.kafka, self, instance, Health(), Metrics())
        back_pressure = BackPressure(4096, 10**9)
        self.poller = Poller(self.kafka, self.membership, back_pressure, Watch(0.0), Health(), self.deliver)

    async def assigned(self, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        return dict.fromkeys(committed, self.start)

    async def revoked(self, partitions: Collection[Partition]) -> None:
        pass

    def deliver(self, _: Partition, records: Sequence[Record], position: int) -> None:
        self.delivered.append(([record.offset for record in records], position))

    def offsets(self) -> list[int]:
        return [offset for offsets, _ in self.delivered for offset in offsets]

    async def until_ready(self) -> None:
        self.membership.on_partitions_assigned([AT_A])
        async with asyncio.timeout(10):
            while not self.membership.ready:  # it has no signal of its own
                await asyncio.sleep(0)

    async def until_read(self, *offsets: int) -> None:
        async with asyncio.timeout(10):
            while self.offsets() != list(offsets):  # as above
                await asyncio.sleep(0)

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.poller.poll_forever())
        try:
            yield
        finally:
            self.poller.stop()
            await task

    @asynccontextmanager
    async def during_a_poll(self, *, fails: bool) -> AsyncIterator[None]:
        self.kafka.go, self.kafka.fails = asyncio.Event(), fails
        self.kafka.waits.clear()
        go = self.kafka.go
        await asyncio.wait_for(self.kafka.waits.wait(), 10)
        yield
        go.set()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.AFTER_FAILURE_S, 0.0)


async def test_a_partition_that_becomes_ready_during_a_failing_poll_is_read_from_its_start() -> None:
    f = Fixture()
    f.start, f.kafka.logs[AT_A] = 2, list(range(5))
    async with f.polling():
        async with f.during_a_poll(fails=True):
            await f.until_ready()
        await f.until_read(2, 3, 4)
    assert f.delivered[0] == ([], 2)


async def test_a_partition_that_returns_during_a_failing_poll_is_read_from_its_new_start() -> None:
    """Not from where its former assignment was read: what that one left without an outcome would be lost."""
    f = Fixture()
    f.kafka.logs[AT_A] = list(range(10))
    async with f.polling():
        await f.until_ready()
        await f.until_read(*range(10))
        await f.membership.drain()
        f.start = 4
        f.delivered.clear()
        async with f.during_a_poll(fails=True):
            await f.until_ready()
        await f.until_read(*range(4, 10))


async def test_the_start_of_a_partition_that_was_drained_meanwhile_is_not_delivered() -> None:
    f = Fixture()
    f.start = 7
    async with f.polling():
        async with f.during_a_poll(fails=False):
            await f.until_ready()
            await f.membership.drain()
        async with f.during_a_poll(fails=False):  # the one before has ended
            pass
    assert f.delivered == []
