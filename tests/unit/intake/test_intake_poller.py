"""The poll loop: turns, bounds, drops, and what it does about each kind of failure."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    GroupAuthorizationFailedError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from harness.bounds import Bound, set_bound
from harness.fake_aiokafka import FakeAIOKafka
from streamdex.intake.back_pressure import BackPressure
from streamdex.intake.consumer.membership import Membership
from streamdex.intake.consumer.poller import NOWHERE, Poller
from streamdex.intake.consumer.watch import ConsumerRestart, Watch
from streamdex.model import Partition, Record
from streamdex.telemetry import Health

A, B = Partition("documents", 0), Partition("documents", 1)
AT_A, AT_B = TopicPartition(*A), TopicPartition(*B)


class FakeMembership:
    def __init__(self, *ready: Partition) -> None:
        self.ready = frozenset(ready)
        self.restarted: list[Partition] = []
        self.starts = dict.fromkeys(ready, 0)

    def take_starts(self) -> dict[Partition, int]:
        starts, self.starts = self.starts, {}
        return starts

    def is_ready(self, partition: Partition) -> bool:
        return partition in self.ready

    def restart(self, partition: Partition) -> None:
        self.restarted.append(partition)
        self.ready -= {partition}


class Fixture:
    def __init__(self, *ready: Partition, bound: int = 4096) -> None:
        self.kafka = FakeAIOKafka(0, 1)
        self.back_pressure, self.health = BackPressure(bound, 10**9), Health()
        self.watch = Watch(0.0)
        self.delivered: list[tuple[Partition, list[int], int]] = []
        self.membership = FakeMembership(*ready)
        member = cast("Membership", self.membership)
        self.poller = Poller(self.kafka, member, self.back_pressure, self.watch, self.health, self.deliver)

    def deliver(self, partition: Partition, records: Sequence[Record], position: int) -> None:
        if not records and position == 0:
            return  # a start
        self.delivered.append((partition, [record.offset for record in records], position))
        for _ in records:
            self.back_pressure.accepted(partition, 1, 1)

    def offsets(self, partition: Partition) -> list[int]:
        return [offset for one, offsets, _ in self.delivered if one == partition for offset in offsets]

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.poller.poll_forever())
        try:
            yield
        finally:
            self.poller.stop()
            await task

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # the fake has no signal for each state
                await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.AFTER_FAILURE_S, 0.0)
    set_bound(monkeypatch, Bound.SURVEY_EVERY_S, 0.0)
    set_bound(monkeypatch, Bound.WELL_AFTER_S, 0.0)


async def test_a_start_is_told_without_records() -> None:
    f = Fixture()
    f.membership.starts = {A: 5}
    async with f.polling():
        await f.until(lambda: f.delivered)
    assert f.delivered == [(A, [], 5)]


async def test_records_come_in_chunks_and_in_turns() -> None:
    f = Fixture(A, B, bound=64)
    f.kafka.logs = {AT_A: list(range(20)), AT_B: list(range(20))}
    async with f.polling():
        await f.until(lambda: len(f.offsets(A)) == len(f.offsets(B)) == 20)
    assert [(partition.number, len(offsets)) for partition, offsets, _ in f.delivered[:4]] in (
        [(0, 8), (1, 8), (0, 8), (1, 8)],
        [(1, 8), (0, 8), (1, 8), (0, 8)],
    )
    assert f.offsets(A) == f.offsets(B) == list(range(20))


async def test_a_paused_partition_is_not_asked_for_and_polling_goes_on() -> None:
    f = Fixture(A, B, bound=8)
    f.kafka.logs = {AT_A: list(range(100)), AT_B: []}
    async with f.polling():
        await f.until(lambda: f.back_pressure.paused(A))
        f.kafka.asked.clear()
        await f.until(lambda: len(f.kafka.asked) > 5)
        assert all(asked == [AT_B] for asked in f.kafka.asked)
        f.membership.ready = frozenset({A})
        f.kafka.asked.clear()
        await f.until(lambda: len(f.kafka.asked) > 5)
        assert f.kafka.asked[-1] == [NOWHERE]
        assert len(f.offsets(A)) == 8
        f.back_pressure.settled(A, 8, span=0)
        await f.until(lambda: len(f.offsets(A)) == 16)
    assert f.offsets(A) == list(range(16))


async def test_records_of_a_partition_that_is_not_ready_any_more_are_dropped() -> None:
    f = Fixture(A)
    f.kafka.logs[AT_A] = [0, 1]
    f.kafka.on_poll = lambda _: setattr(f.membership, "ready", frozenset())  # a rebalance ends during the poll
    async with f.polling():
        await f.until(lambda: len(f.kafka.asked) > 3)
    assert f.delivered == []


async def test_nothing_is_delivered_after_a_stop() -> None:
    f = Fixture(A)
    f.kafka.logs[AT_A] = [0, 1]
    f.kafka.on_poll = lambda _: f.poller.stop()
    async with f.polling():
        await f.until(lambda: f.kafka.asked)
    assert f.delivered == []


async def test_a_position_that_markers_alone_moved_is_told() -> None:
    f = Fixture(A)
    async with f.polling():
        f.kafka.positions[AT_A] = 3
        await f.until(lambda: f.delivered)
        await f.until(lambda: len(f.kafka.asked) > 5)
    assert f.delivered == [(A, [], 3)]


async def test_after_a_failed_poll_reading_goes_on_from_what_was_delivered() -> None:
    f = Fixture(A)
    f.kafka.logs[AT_A] = [0, 1, 2, 3]
    f.kafka.on_poll = lambda _: fail_after_losing(2)

    def fail_after_losing(offset: int) -> None:
        f.kafka.positions[AT_A] = offset  # taken out of the buffer, and lost with the exception
        f.kafka.on_poll = lambda _: None
        raise KafkaError("unexpected")

    async with f.polling():
        await f.until(lambda: len(f.offsets(A)) == 4)
    assert f.offsets(A) == [0, 1, 2, 3]
    assert f.kafka.seeks == [(0, 0)]


@pytest.mark.parametrize("error", [KafkaError("heartbeat"), GroupAuthorizationFailedError("g")])
async def test_failing_polls_are_counted_and_told_and_forgotten(error: KafkaError) -> None:
    f = Fixture(A)

    def fail(_: object) -> None:
        raise error

    f.kafka.on_poll = fail
    async with f.polling():
        await f.until(lambda: len(f.kafka.asked) > 3)
        assert "kafka polls" in f.health.reasons
        assert f.watch.cause(10**9) is not None
        f.kafka.on_poll = lambda _: None
        await f.until(lambda: not f.health.reasons)


async def test_a_rewind_during_a_rebalance_is_harmless() -> None:
    f = Fixture(A)
    f.kafka.assigned = False
    failures = iter([KafkaError("gone")])

    def fail_once(_: object) -> None:
        for failure in failures:
            raise failure

    f.kafka.on_poll = fail_once
    async with f.polling():
        await f.until(lambda: len(f.kafka.asked) > 2)
    assert f.kafka.seeks == []


async def test_no_offset_yet_is_not_a_failure() -> None:
    f = Fixture(A)
    failures = iter([NoOffsetForPartitionError(AT_A)])

    def fail_once(_: object) -> None:
        for failure in failures:
            raise failure

    f.kafka.on_poll = fail_once
    async with f.polling():
        await f.until(lambda: len(f.kafka.asked) > 2)
    assert f.health.reasons == {}
    assert f.kafka.seeks == []


async def test_an_offset_out_of_range_is_taken_up_anew() -> None:
    f = Fixture(A, B)

    def fail(asked: list[TopicPartition]) -> None:
        if AT_A in asked:
            raise OffsetOutOfRangeError({AT_A: 7})

    f.kafka.logs[AT_B] = [0]
    f.kafka.on_poll = fail
    async with f.polling():
        await f.until(lambda: f.offsets(B))
    assert f.membership.restarted == [A]


@pytest.mark.parametrize("error", [CorruptRecordException("crc"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")])
async def test_a_batch_that_cannot_be_read_holds_its_partition_alone(error: Exception) -> None:
    f = Fixture(A, B)
    f.kafka.logs = {AT_A: list(range(10)), AT_B: list(range(10))}

    def fail(asked: list[TopicPartition]) -> None:
        if AT_A in asked:
            raise error

    f.kafka.on_poll = fail
    async with f.polling():
        await f.until(lambda: len(f.offsets(B)) == 10 and f.health.reasons)
        assert list(f.health.reasons) == ["log of documents[0]"]
        assert type(error).__name__ in f.health.reasons["log of documents[0]"]
        f.kafka.asked.clear()
        await f.until(lambda: len(f.kafka.asked) > 3)
        assert all(AT_A not in asked for asked in f.kafka.asked)
    assert f.offsets(A) == []


async def test_a_batch_that_can_be_read_later_is_read_from_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.UNREADABLE_FOR_S, 0.05)
    f = Fixture(A, B)
    f.kafka.logs = {AT_A: list(range(10)), AT_B: []}
    broken = True

    def fail(asked: list[TopicPartition]) -> None:
        if AT_A in asked and broken:
            f.kafka.positions[AT_A] = 5
            raise CorruptRecordException("crc")

    f.kafka.on_poll = fail
    async with f.polling():
        await f.until(lambda: "log of documents[0]" in f.health.reasons)
        broken = False
        await f.until(lambda: len(f.offsets(A)) == 10)
    assert f.offsets(A) == list(range(10))
    assert f.health.reasons == {}


async def test_what_ended_aiokafkas_own_tasks_is_nobodys_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its heartbeat died of is raised at every other poll, so it says nothing about a partition."""
    f = Fixture(A)
    monkeypatch.setattr("streamdex.intake.consumer.poller.has_dead_task", lambda _: True)

    def fail(_: object) -> None:
        if len(f.kafka.asked) % 2:
            raise ValueError("not what aiokafka expects")

    set_bound(monkeypatch, Bound.WELL_AFTER_S, 1000.0)
    f.kafka.on_poll = fail
    async with f.polling():
        await f.until(lambda: len(f.kafka.asked) > 5)
        assert f.health.reasons == {"kafka polls": "Kafka: ValueError"}


async def test_a_poll_for_nothing_that_fails_is_nobodys_log() -> None:
    f = Fixture()

    def fail(_: object) -> None:
        raise ValueError("not what aiokafka expects")

    f.kafka.on_poll = fail
    async with f.polling():
        await f.until(lambda: len(f.kafka.asked) > 5)
        assert f.health.reasons == {"kafka polls": "Kafka: ValueError"}
        assert f.watch.cause(time.monotonic() + 60) is ConsumerRestart.POLL_FAILING


async def test_what_is_held_is_forgotten_when_it_leaves() -> None:
    f = Fixture(A, B)

    def fail(asked: list[TopicPartition]) -> None:
        if AT_A in asked:
            raise CorruptRecordException("crc")

    f.kafka.on_poll = fail
    async with f.polling():
        await f.until(lambda: "log of documents[0]" in f.health.reasons)
        f.membership.ready = frozenset({B})
        await f.until(lambda: not f.health.reasons)


async def test_what_the_flow_raises_comes_out() -> None:
    f = Fixture(A)
    f.kafka.logs[AT_A] = [0]

    def broken(*_: Any) -> None:
        raise KeyError("bug")

    poller = Poller(f.kafka, cast("Membership", f.membership), f.back_pressure, f.watch, f.health, broken)
    with pytest.raises(KeyError):
        await poller.poll_forever()


async def test_the_ends_are_those_of_the_partitions_that_are_read() -> None:
    f = Fixture(A, B)
    f.kafka.ends = {AT_A: 100}
    assert f.poller.ends() == {A: 100, B: None}
    f.membership.ready = frozenset({A})
    assert f.poller.ends() == {A: 100}
