"""How partitions come and go: nothing is read before its start is known, nothing is forgotten on the way out."""

import asyncio
from collections.abc import Collection, Mapping

import pytest
from aiokafka import TopicPartition

from harness.bounds import Bound, set_bound
from harness.fake_aiokafka import FakeAIOKafka
from streamdex.config import KafkaSettings
from streamdex.errors import ConfigurationError, Service, ServiceFault
from streamdex.intake.consumer.instance import Instance
from streamdex.intake.consumer.membership import Membership
from streamdex.model import Partition
from streamdex.telemetry import Health, Metrics

A, B = Partition("documents", 0), Partition("documents", 1)
BOTH = [TopicPartition(*A), TopicPartition(*B)]


class Fixture:
    """The pipeline's side; `back_pressure` holds `assigned` back while it is closed, `drained` holds `revoked`."""

    def __init__(self) -> None:
        self.kafka = FakeAIOKafka(0, 1)
        self.calls: list[tuple[str, set[Partition]]] = []
        self.starts: dict[Partition, int] = {A: 10, B: 20}
        self.fault: Exception | None = None
        self.back_pressure, self.drained = asyncio.Event(), asyncio.Event()
        self.back_pressure.set()
        self.drained.set()
        instance = Instance(KafkaSettings(), Health(), str, lambda: None)
        self.membership = Membership(self.kafka, self, instance, Health(), Metrics())

    async def assigned(self, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        self.calls.append(("assigned", set(committed)))
        await self.back_pressure.wait()
        if self.fault:
            raise self.fault
        return {partition: self.starts[partition] for partition in committed if partition in self.starts}

    async def revoked(self, partitions: Collection[Partition]) -> None:
        self.calls.append(("revoked", set(partitions)))
        await self.drained.wait()
        if self.fault:
            raise self.fault

    async def until_ready(self, *partitions: Partition) -> None:
        async with asyncio.timeout(10):
            while self.membership.ready != set(partitions):  # it has no signal of its own
                await asyncio.sleep(0)

    async def until_called(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.calls) < count:  # as above
                await asyncio.sleep(0)


async def test_partitions_are_ready_after_a_seek_to_their_start() -> None:
    f = Fixture()
    f.membership.on_partitions_assigned(BOTH)
    assert f.membership.ready == set()
    assert not f.membership.may_commit([A])
    await f.until_ready(A, B)
    assert sorted(f.kafka.seeks) == [(0, 10), (1, 20)]
    assert f.membership.take_starts() == {A: 10, B: 20}
    assert f.membership.may_commit([A, B])


async def test_the_callback_does_not_wait_for_the_store() -> None:
    """aiokafka sends no heartbeats while it runs."""
    f = Fixture()
    f.back_pressure.clear()
    f.membership.on_partitions_assigned(BOTH)  # returns at once
    await f.until_called(1)
    assert f.membership.ready == set()
    assert f.kafka.seeks == []
    f.back_pressure.set()
    await f.until_ready(A, B)


async def test_no_partitions_are_no_work() -> None:
    f = Fixture()
    f.membership.on_partitions_assigned([])
    await f.membership.on_partitions_revoked([])
    assert f.calls == []


async def test_a_revocation_drains_while_commits_are_still_ours() -> None:
    f = Fixture()
    f.membership.on_partitions_assigned(BOTH)
    await f.until_ready(A, B)
    f.drained.clear()
    leaving = asyncio.create_task(f.membership.on_partitions_revoked(BOTH))
    await f.until_called(2)
    assert f.membership.ready == set()
    assert f.membership.may_commit([A, B])
    f.drained.set()
    await leaving
    assert not f.membership.may_commit([A])
    assert f.calls == [("assigned", {A, B}), ("revoked", {A, B})]


async def test_a_revocation_while_taking_up_ends_that_first() -> None:
    f = Fixture()
    f.back_pressure.clear()
    f.membership.on_partitions_assigned(BOTH)
    await f.until_called(1)
    await f.membership.on_partitions_revoked(BOTH)
    assert f.calls == [("assigned", {A, B}), ("revoked", {A, B})]  # it may have come half the way
    f.back_pressure.set()
    await asyncio.sleep(0)
    assert f.membership.ready == set()
    assert f.kafka.seeks == []


async def test_a_fault_of_a_service_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.BASE_S, 0.0)
    f = Fixture()
    f.fault = ServiceFault(Service.QDRANT, "unavailable")
    f.membership.on_partitions_assigned(BOTH)
    await f.until_called(3)
    assert f.membership.ready == set()
    f.fault = None
    await f.until_ready(A, B)


async def test_what_patience_does_not_mend_is_told() -> None:
    f = Fixture()
    f.fault = ConfigurationError("mixed", "jina.model", "Reindex.")
    f.membership.on_partitions_assigned(BOTH)
    with pytest.raises(ConfigurationError):
        await f.membership.crashed
    assert f.membership.ready == set()


async def test_partitions_left_out_of_the_answer_are_neither_read_nor_committed_but_revoked() -> None:
    f = Fixture()
    del f.starts[B]
    f.membership.on_partitions_assigned(BOTH)
    await f.until_ready(A)
    assert f.membership.may_commit([A])
    assert not f.membership.may_commit([A, B])
    await f.membership.on_partitions_revoked(BOTH)
    assert f.calls[-1] == ("revoked", {A, B})


async def test_starting_anew_lets_go_first_and_only_of_that_partition() -> None:
    f = Fixture()
    f.membership.on_partitions_assigned(BOTH)
    await f.until_ready(A, B)
    f.starts[A] = 0
    f.membership.restart(A)
    assert not f.membership.is_ready(A)
    assert f.membership.is_ready(B)
    await f.until_ready(A, B)
    assert f.calls[1:] == [("revoked", {A}), ("assigned", {A})]
    assert f.kafka.seeks[-1] == (0, 0)


async def test_a_revocation_while_a_partition_starts_anew_takes_it_along() -> None:
    f = Fixture()
    f.membership.on_partitions_assigned(BOTH)
    await f.until_ready(A, B)
    f.drained.clear()
    f.membership.restart(A)
    await f.until_called(2)
    leaving = asyncio.create_task(f.membership.on_partitions_revoked(BOTH))
    await f.until_called(3)
    f.drained.set()
    await leaving
    assert f.calls[1:] == [("revoked", {A}), ("revoked", {A, B})]
    assert f.membership.ready == set()


async def test_a_bug_in_the_drain_lets_go_all_the_same() -> None:
    f = Fixture()
    f.membership.on_partitions_assigned(BOTH)
    await f.until_ready(A, B)
    f.fault = KeyError("bug")
    await f.membership.on_partitions_revoked(BOTH)
    assert not f.membership.may_commit([A])


async def test_closing_twice_and_during_a_revocation_drains_once() -> None:
    f = Fixture()
    f.membership.on_partitions_assigned(BOTH)
    await f.until_ready(A, B)
    f.drained.clear()
    tasks = [asyncio.create_task(f.membership.on_partitions_revoked(BOTH)), asyncio.create_task(f.membership.close())]
    await f.until_called(2)
    f.drained.set()
    await asyncio.gather(*tasks)
    await f.membership.close()
    assert f.calls[1:] == [("revoked", {A, B})]


async def test_what_is_assigned_after_the_close_is_not_taken_up() -> None:
    f = Fixture()
    await f.membership.close()
    f.membership.on_partitions_assigned(BOTH)
    await asyncio.sleep(0)
    assert f.calls == []
