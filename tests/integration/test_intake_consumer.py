"""The consumer on real Kafka: assignments, back-pressure, commits, transactions, stop."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

import pytest

from harness.intake_worker import Worker, numbered, until
from harness.kafka import Kafka, Message
from streamdex.errors import ConfigurationError, ServiceFault
from streamdex.model import Outcome, Partition, Record


async def test_records_come_as_they_are_and_are_committed(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()
    await kafka.produce(topic, numbered(100))
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: len(worker.read) == 100, "all records")
        assert worker.consumer.cluster_id
    by_key = {record.key: record for record in worker.read}
    assert by_key[b"k7"].value == b"v7"
    assert by_key[b"k7"].headers == (("h", b"7"),)
    for partition in (0, 1):
        offsets = [offset for number, offset in worker.places if number == partition]
        assert offsets == list(range(len(offsets)))
    assert await kafka.committed(group) == await kafka.end_offsets(topic)


async def test_nothing_above_an_open_record_is_committed_and_the_next_worker_reads_from_there(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(50))
    async with Worker(kafka, topic, group, settle_at_once=False).running() as worker:
        await until(lambda: len(worker.read) == 50, "all records")
        for ticket in worker.tickets:
            if ticket.offset != 20:
                ticket.settle(Outcome.INDEXED)
        assert await worker.committer.commit_now()
        assert await kafka.committed(group) == {Partition(topic, 0): 20}
    assert await kafka.committed(group) == {Partition(topic, 0): 20}
    async with Worker(kafka, topic, group).running() as following:
        await until(lambda: len(following.read) == 30, "the rest")
    assert following.places[0] == (0, 20)


async def test_a_rebalance_loses_nothing_and_reads_nothing_below_a_commit_again(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(partitions=4), kafka.unique_group()
    await kafka.produce(topic, numbered(400))
    async with Worker(kafka, topic, group).running() as first:
        await until(lambda: len(first.read) == 400, "the first part")
        async with Worker(kafka, topic, group).running() as second:
            await until(lambda: first.assignments >= 2 and second.assignments, "the rebalance")
            await kafka.produce(topic, numbered(400))
            await until(lambda: len(first.read) + len(second.read) >= 800, "the second part")
            assert second.read
        await kafka.produce(topic, numbered(100))
        await until(lambda: len(first.read) + len(second.read) >= 900, "the third part")
    places = first.places + second.places
    assert len(set(places)) == 900
    assert len(places) == 900  # every record was settled at once, so none is read twice
    assert await kafka.committed(group) == await kafka.end_offsets(topic)


async def test_nothing_is_delivered_before_the_start_is_known(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(50))
    worker = Worker(kafka, topic, group)
    worker.hold_assignment.clear()
    async with worker.running():
        await until(worker.kafka.assignment, "Kafka's assignment")
        await asyncio.sleep(0.5)  # time in which records would come
        assert worker.deliveries == 0
        with pytest.raises(ServiceFault, match="not ours"):
            await worker.consumer.commit({Partition(topic, 0): 0})
        worker.hold_assignment.set()
        await until(lambda: len(worker.read) == 50, "all records")
    assert worker.places == [(0, offset) for offset in range(50)]


async def test_a_rebalance_while_the_start_is_not_known_yet(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()
    await kafka.produce(topic, numbered(60))
    first = Worker(kafka, topic, group)
    first.hold_assignment.clear()
    async with first.running():
        await until(first.kafka.assignment, "Kafka's assignment")
        async with Worker(kafka, topic, group).running() as second:
            await until(lambda: second.assignments, "the second member")
            first.hold_assignment.set()
            await until(lambda: len(first.read) + len(second.read) >= 60, "all records")
    assert sorted(set(first.places + second.places)) == sorted(first.places + second.places)


async def test_a_full_gate_pauses_reading_while_polling_goes_on(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()
    await kafka.produce(topic, [message for part in (0, 1) for message in numbered(300, part)])
    worker = Worker(kafka, topic, group, settle_at_once=False, bound=64)
    async with worker.running():
        for _ in range(2):
            before = len(worker.read)
            await until(
                lambda: (
                    worker.back_pressure.paused(Partition(topic, 0))
                    and worker.back_pressure.paused(Partition(topic, 1))
                )
            )
            await until(lambda begun_s=worker.polled_s: worker.polled_s > begun_s + 0.3, "polls")  # type: ignore[misc]  # its default
            taken = [number for number, _ in worker.places[before:]]
            assert 0 < taken.count(0) <= 64
            assert 0 < taken.count(1) <= 64
            worker.settle_all()
        worker.settle_at_once = True
        await until(lambda: len(worker.read) == 600, "all records")
    assert len(set(worker.places)) == 600
    assert await kafka.committed(group) == await kafka.end_offsets(topic)


async def test_partitions_are_served_in_turns(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()
    await kafka.produce(topic, [message for part in (0, 1) for message in numbered(2000, part)])
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: len(worker.read) == 4000, "all records")
    third = [number for number, _ in worker.places[:2000]]
    assert 500 <= third.count(0) <= 1500


async def test_transaction_markers_leave_no_lag_and_aborted_records_do_not_come(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce_transaction(topic, numbered(5), commit=True)
    await kafka.produce_transaction(topic, [Message(b"x", b"aborted")], commit=False)
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: worker.ledger.marks() and worker.ledger.marks()[Partition(topic, 0)].offset == 8, "markers")
    assert len(worker.read) == 5
    assert await kafka.committed(group) == await kafka.end_offsets(topic) == {Partition(topic, 0): 8}


async def test_an_offset_that_is_gone_is_taken_up_again(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(10))
    worker = Worker(kafka, topic, group)

    async def beyond_the_end(committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        worker.assignments += 1
        start = 5000 if worker.assignments == 1 else 0
        for partition in committed:
            worker.ledger.assign(partition, start)
        return dict.fromkeys(committed, start)

    worker.assigned = beyond_the_end  # type: ignore[method-assign]  # the group is far ahead of a log made anew
    async with worker.running():
        await until(lambda: len(worker.read) == 10, "all records")
    assert worker.assignments == 2
    assert worker.revocations[0] == {Partition(topic, 0)}


async def test_a_partition_left_out_of_the_answer_is_not_read(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()
    await kafka.produce(topic, [message for part in (0, 1) for message in numbered(10, part)])
    worker = Worker(kafka, topic, group)

    async def only_the_second(_: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        worker.ledger.assign(Partition(topic, 1), 0)
        return {Partition(topic, 1): 0}

    worker.assigned = only_the_second  # type: ignore[method-assign,assignment]  # as when the first must be mended by a person
    async with worker.running():
        await until(lambda: len(worker.read) == 10, "the second partition")
        with pytest.raises(ServiceFault):
            await worker.consumer.commit({Partition(topic, 0): 10})
    assert {number for number, _ in worker.places} == {1}


async def test_a_crash_while_taking_up_comes_out_of_run(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    worker = Worker(kafka, topic, kafka.unique_group())

    async def broken(_: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        raise ConfigurationError("a model mixed with another", "jina.model", "Reindex.")

    worker.assigned = broken  # type: ignore[method-assign,assignment]  # as when the collection belongs to another model
    await worker.consumer.start()
    with pytest.raises(ConfigurationError, match="mixed"):
        await worker.consumer.run(worker.accept, worker)
    await worker.consumer.close()


async def test_a_crash_of_the_flow_comes_out_of_run(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    await kafka.produce(topic, numbered(1))
    worker = Worker(kafka, topic, kafka.unique_group())

    def broken(_partition: Partition, records: Sequence[Record], _position: int) -> None:
        if records:
            raise KeyError("bug")

    await worker.consumer.start()
    with pytest.raises(KeyError):
        await worker.consumer.run(broken, worker)
    await worker.consumer.close()


async def test_a_missing_topic_is_named_with_its_mend_and_not_created(kafka: Kafka) -> None:
    topic = kafka.unique_topic("missing")
    worker = Worker(kafka, topic, kafka.unique_group())
    with pytest.raises(ConfigurationError, match=topic) as caught:
        await worker.consumer.start()
    assert "kafka-topics --create" in caught.value.fix
    await worker.consumer.close()
    await kafka.create_topic(topic)  # raises if the question had created it


async def test_no_broker_is_a_service_fault_and_start_may_be_tried_again(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    worker = Worker(Kafka("127.0.0.1:1"), topic, kafka.unique_group())
    for _ in range(2):
        with pytest.raises(ServiceFault, match=r"no broker at 127\.0\.0\.1:1"):
            await worker.consumer.start()
    await worker.consumer.close()


async def test_close_and_stop_are_safe_at_any_time(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    worker = Worker(kafka, topic, kafka.unique_group())
    worker.consumer.stop_fetching()
    worker.consumer.stop_fetching()
    await worker.consumer.close()
    again = Worker(kafka, topic, kafka.unique_group())
    await again.consumer.start()
    await again.consumer.close()
    await again.consumer.close()
    with pytest.raises(ServiceFault, match="not connected"):
        await again.consumer.commit({Partition(topic, 0): 0})


async def test_stopping_while_another_member_drains_is_limited_in_time(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()
    slow, release = Worker(kafka, topic, group), asyncio.Event()
    drain = slow.revoked

    async def slow_drain(partitions: Collection[Partition]) -> None:
        await release.wait()
        await drain(partitions)

    slow.revoked = slow_drain  # type: ignore[method-assign]  # a drain that takes its time
    async with slow.running():
        await until(lambda: slow.assignments, "the first member")
        joining = Worker(kafka, topic, group)
        await joining.consumer.start()
        reading = asyncio.create_task(joining.consumer.run(joining.accept, joining))
        await until(lambda: slow.kafka._subscription.reassignment_in_progress, "the rebalance")
        joining.consumer.stop_fetching()
        await reading
        async with asyncio.timeout(10):
            await joining.consumer.close()
        release.set()


async def test_a_commit_after_the_close_of_a_session_is_refused(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    async with Worker(kafka, topic, group).running() as worker:
        await until(lambda: worker.assignments, "the assignment")
        session = worker.consumer._session
        assert session is not None
    with pytest.raises(ServiceFault, match="not ours"):
        await session.commit({Partition(topic, 0): 1})


async def test_the_end_of_the_log_is_told(kafka: Kafka) -> None:
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(100))
    worker = Worker(kafka, topic, group, settle_at_once=False, bound=8)
    async with worker.running():
        await until(lambda: worker.back_pressure.statistics().span == 8, "as many as may be open")
        assert worker.consumer.ends() == {Partition(topic, 0): 100}


async def test_of_two_with_one_instance_id_the_newer_works_and_the_older_waits(kafka: Kafka) -> None:
    """Else both would take the id from each other at every heartbeat, and both read everything."""
    topic, group = await kafka.create_topic(partitions=2), kafka.unique_group()
    static = {"group_instance_id": "pod-0", "session_timeout_s": 6.0}
    older, newer = Worker(kafka, topic, group, settings=static), Worker(kafka, topic, group, settings=static)
    async with older.running():
        await until(lambda: older.assignments, "the older one's assignment")
        async with newer.running():
            await until(lambda: "group instance" in older.health.reasons, "the older one's notice")
            await until(lambda: newer.assignments, "the newer one's assignment")
            assert not older.ledger.partitions
            await kafka.produce(topic, numbered(20))
            await until(lambda: len(newer.read) == 20, "the newer one's records")
            assert newer.health.reasons == {}
            assert (newer.assignments, older.read) == (1, [])
        # A static member does not say that it leaves: it is gone after its session's end.
        await until(lambda: older.assignments == 2 and older.ledger.partitions, "the older one's turn")
        assert older.health.reasons == {}
        await kafka.produce(topic, numbered(10))
        await until(lambda: len(older.read) == 10, "the older one's records")
