"""What aiokafka and the group's protocol have in store for a consumer, one trap each, on real Kafka."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack

import pytest
import structlog

from harness.bounds import Bound, set_bound
from harness.intake_worker import Worker, numbered, until
from harness.kafka import Kafka, Message
from streamdex.errors import ServiceFault
from streamdex.intake.consumer.watch import ConsumerRestart
from streamdex.model import Outcome, Partition


def restarts(worker: Worker, cause: ConsumerRestart) -> float:
    return worker.metrics.registry.get_sample_value("streamdex_kafka_restarts_total", {"cause": cause.value}) or 0.0


async def test_a_drain_longer_than_the_rebalance_may_last_commits_nothing(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group goes on without it, and what it has settled meanwhile is not its to commit."""
    set_bound(monkeypatch, Bound.REBALANCE_TIMEOUT_S, 2.0)
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(20))
    at, short = Partition(topic, 0), {"session_timeout_s": 2.0}
    slow = Worker(kafka, topic, group, settle_at_once=False, settings=short)
    drain, begun, release = slow.revoked, asyncio.Event(), asyncio.Event()
    late_commits: list[bool] = []

    async def slow_drain(partitions: Collection[Partition]) -> None:
        begun.set()
        await release.wait()
        slow.settle_all()
        late_commits.append(await slow.committer.commit_now())
        await drain(partitions)

    async with slow.running():
        await until(lambda: len(slow.read) == 20, "the first one's records")
        slow.revoked = slow_drain  # type: ignore[method-assign]  # a drain that takes too long
        quick = Worker(kafka, topic, group, settle_at_once=False, settings=short)
        async with quick.running():
            await until(begun.is_set, "the rebalance")
            await until(lambda: len(quick.read) == 20, "the second one's records, while the first one drains")
            quick.tickets.pop(0).settle(Outcome.INDEXED)
            assert await quick.committer.commit_now()
            release.set()
            slow.revoked = drain  # type: ignore[method-assign]  # from the next one on as it was
            await until(lambda: slow.revocations, "the end of the drain")
            assert late_commits == [False]
            assert await kafka.committed(group) == {at: 1}
            for worker in (quick, slow):  # whoever has the partition by now
                worker.settle_at_once = True
                worker.settle_all()
        await until(lambda: slow.assignments > 1 and slow.ledger.marks()[at].offset == 20, "the first one's return")
    assert await kafka.committed(group) == {at: 20}


async def test_a_member_that_left_for_want_of_polls_commits_nothing_and_is_made_anew(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_bound(monkeypatch, Bound.MAX_POLL_INTERVAL_S, 1.0)
    set_bound(monkeypatch, Bound.POLL_STUCK_S, 5.0)
    topic, group = await kafka.create_topic(), kafka.unique_group()
    at = Partition(topic, 0)
    async with Worker(kafka, topic, group, settings={"session_timeout_s": 2.0}).running() as worker:
        await until(lambda: worker.assignments, "the assignment")

        async def hang(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(worker.kafka, "getmany", hang)
        await until(lambda: worker.kafka._coordinator.generation < 0, "its leave")
        with pytest.raises(ServiceFault, match=r"not ours|not in the group"):
            await worker.consumer.commit({at: 0})
        await kafka.produce(topic, numbered(10))
        await until(lambda: restarts(worker, ConsumerRestart.POLL_STUCK) == 1, "the restart")
        await until(lambda: len(worker.read) == 10, "its records")
    assert await kafka.committed(group) == {at: 10}


async def test_a_member_that_polls_and_never_joins_again_is_made_anew(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polls return nothing for ever, and look well."""
    set_bound(monkeypatch, Bound.NO_MEMBER_S, 3.0)
    topic, group = await kafka.create_topic(), kafka.unique_group()
    async with Worker(kafka, topic, group, settings={"session_timeout_s": 2.0}).running() as worker:
        await until(lambda: worker.assignments, "the assignment")
        coordinator, tried = worker.kafka._coordinator, asyncio.Event()

        async def fail(_: object) -> bool:
            tried.set()
            await asyncio.sleep(0.1)
            return False

        monkeypatch.setattr(coordinator, "_do_rejoin_group", fail)
        coordinator.reset_generation()
        await until(tried.is_set, "the fault")
        await until(lambda: restarts(worker, ConsumerRestart.NO_MEMBER) == 1, "the restart")
        await kafka.produce(topic, numbered(10))
        await until(lambda: len(worker.read) == 10, "its records")


async def test_what_is_paused_stays_bounded_through_rebalances(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()
    await kafka.produce(topic, [message for part in (0, 1) for message in numbered(300, part)])
    first = Worker(kafka, topic, group, settle_at_once=False, bound=64)
    second = Worker(kafka, topic, group, settle_at_once=False, bound=64)

    def full(worker: Worker, partitions: int) -> bool:
        owned = worker.ledger.partitions
        return len(owned) == partitions and all(worker.back_pressure.paused(partition) for partition in owned)

    def spans(worker: Worker) -> list[int]:
        return [standing.tracker.span for standing in worker.ledger.statuses().values()]

    async with first.running():
        await until(lambda: full(first, 2), "full gates")
        async with second.running():
            await until(lambda: full(first, 1) and full(second, 1), "gates full again")
            await until(lambda since_s=first.polled_s: first.polled_s > since_s + 0.3, "polls")  # type: ignore[misc]  # its default
            assert max(spans(first) + spans(second)) <= 64
        await until(lambda: full(first, 2), "full gates again")
        assert max(spans(first)) <= 64
        first.settle_at_once = True
        first.settle_all()
        await until(lambda: len(set(first.places)) == 600, "the rest")


async def test_a_member_without_partitions_takes_over(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    workers = (Worker(kafka, topic, group), Worker(kafka, topic, group))
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        stacks = dict(zip(workers, (first, second), strict=True))
        for worker, stack in stacks.items():
            await stack.enter_async_context(worker.running())
        await until(lambda: all(worker.kafka._coordinator.generation > 0 for worker in workers), "both members")
        await until(lambda: sum(len(worker.ledger.partitions) for worker in workers) == 1, "who has the partition")
        busy, idle = sorted(workers, key=lambda worker: -len(worker.ledger.partitions))
        since_s = idle.polled_s
        await until(lambda: idle.polled_s > since_s + 0.3, "its polls")
        await stacks[busy].aclose()
        await until(lambda: idle.ledger.partitions, "the take-over")
        await kafka.produce(topic, numbered(10))
        await until(lambda: len(idle.read) == 10, "its records")


async def test_a_static_member_comes_back_without_a_rebalance_and_is_replaced_when_it_does_not(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()

    def replica(name: str) -> Worker:
        return Worker(kafka, topic, group, settings={"group_instance_id": name, "session_timeout_s": 12.0})

    async with replica("pod-0").running() as staying:
        await until(lambda: len(staying.ledger.partitions) == 2, "the first member")
        async with replica("pod-1").running() as before:
            await until(lambda: before.ledger.partitions and len(staying.ledger.partitions) == 1, "the second member")
            assignments, owned = staying.assignments, before.ledger.partitions
        async with replica("pod-1").running() as after:
            await until(lambda: after.ledger.partitions, "its return")
            assert after.ledger.partitions == owned
            await kafka.produce(topic, [Message(b"k", b"v", partition=number) for number in (0, 1)])
            await until(lambda: staying.read and after.read, "records for both")
            assert staying.assignments == assignments
        await until(lambda: len(staying.ledger.partitions) == 2, "the end of its session")
        await kafka.produce(topic, [Message(b"k", b"v", partition=number) for number in (0, 1)])
        await until(lambda: len(staying.read) == 3, "the records of both")


async def test_retention_that_overtakes_a_running_consumer_is_told_and_passed(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    at, large = Partition(topic, 0), bytes(8_000)
    await kafka.produce(topic, [Message(b"%d" % number, large) for number in range(1_000)])
    with structlog.testing.capture_logs() as logs:
        async with Worker(kafka, topic, group, settle_at_once=False, bound=8).running() as worker:
            await until(lambda: worker.back_pressure.paused(at), "a full gate")
            await kafka.delete_records(at, 900)
            worker.settle_at_once = True
            worker.settle_all()
            await until(lambda: worker.places and worker.places[-1] == (0, 999), "the end")
    (told,) = [line for line in logs if line["event"] == "kafka.offset_out_of_range"]
    assert told["log_level"] == "error"
    gap = [number for number in range(1_000) if number not in {offset for _, offset in worker.places}]
    assert gap == list(range(told["offset"], 900))
    assert await kafka.committed(group) == {at: 1_000}


async def test_a_topic_that_vanishes_and_comes_back_is_taken_up_from_its_beginning(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here nothing is remembered of the old one; the collection's progress is what tells the two apart."""
    set_bound(monkeypatch, Bound.METADATA_MAX_AGE_S, 0.5)
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(5))
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: len(worker.read) == 5, "the first topic's records")
        await kafka.delete_topic(topic)
        await until(lambda: f"topic {topic}" in worker.health.reasons, "the reason")
        await kafka.create_topic(topic)
        await kafka.produce(topic, numbered(3))
        await until(lambda: len(worker.read) == 8, "the second topic's records")
    assert worker.places == [(0, offset) for offset in (0, 1, 2, 3, 4, 0, 1, 2)]


async def test_a_committed_offset_beyond_the_log_is_started_anew(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(10))
    await kafka.move_group(group, {Partition(topic, 0): 500})
    worker = Worker(kafka, topic, group)

    async def as_committed(committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        worker.assignments += 1
        starts = {at: (offset or 0) if worker.assignments == 1 else 0 for at, offset in committed.items()}
        for partition, start in starts.items():
            worker.ledger.assign(partition, start)
        return starts

    worker.assigned = as_committed  # type: ignore[method-assign]  # the pipeline's own would not even ask for it
    async with worker.running():
        await until(lambda: len(worker.read) == 10, "all records")
    assert worker.assignments == 2
