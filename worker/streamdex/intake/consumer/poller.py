"""The poll loop of one consumer: rounds in which each partition that may be read is served once.

What is paused is simply not asked for. Rejected: aiokafka's own pause, which throws away what was fetched and
does not survive a rebalance. Partitions that are not asked for keep at most one fetch each, and fetch no more.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    UnsupportedCodecError,
)

from streamdex.errors import AccountFault
from streamdex.intake.back_pressure import BackPressure
from streamdex.intake.consumer.client import has_dead_task
from streamdex.intake.consumer.membership import Membership
from streamdex.intake.consumer.watch import Watch
from streamdex.kafka.client import as_fault, as_record
from streamdex.model import Partition, Record
from streamdex.telemetry import (
    ACCOUNT_REFUSED,
    INTAKE_PAUSED,
    INTAKE_RESUMED,
    KAFKA_UNREACHABLE,
    OFFSET_OUT_OF_RANGE,
    PARTITION_HELD,
    Health,
    emit,
)

POLL_MS = 100
AFTER_FAILURE_S = 0.5
WELL_AFTER_S = 3.0  # some errors are raised by every other poll
SURVEY_EVERY_S = 1.0
UNREADABLE_FOR_S = 30.0  # before a partition is tried again whose log cannot be read
NOWHERE = TopicPartition("", -1)  # asked for when nothing may be read: polling must go on, or the group expels us
HEALTH_NAME = "kafka polls"

Deliver = Callable[[Partition, Sequence[Record], int], None]

_OF_ONE_PARTITION = (CorruptRecordException, RecordTooLargeError, UnsupportedCodecError)


class _UnreadableError(Exception):
    """A batch in one of these partitions can be fetched, but not read: not Kafka's bytes, or a codec we lack."""

    def __init__(self, asked: Sequence[TopicPartition], error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.asked = asked
        self.error = error


class Poller:
    """Delivers the records of the partitions that are ready and not paused.

    Never cancels or limits a poll while the consumer is to live on: aiokafka loses count of its polls then, and never
    again notices that it does not poll.
    """

    def __init__(
        self,
        kafka: AIOKafkaConsumer,
        membership: Membership,
        back_pressure: BackPressure,
        watch: Watch,
        health: Health,
        deliver: Deliver,
    ) -> None:
        self._kafka = kafka
        self._membership = membership
        self._back_pressure = back_pressure
        self._watch = watch
        self._health = health
        self._deliver = deliver
        self._positions: dict[Partition, int] = {}  # where each partition is read next, as delivered
        self._paused: set[Partition] = set()
        self._unreadable: dict[Partition, float] = {}  # until when they are left alone
        self._one_by_one = False
        self._surveyed_s = 0.0
        self._failed_s = 0.0
        self._stopping = False

    def stop(self) -> None:
        """Deliver nothing from now on; the loop ends after the poll that is under way."""
        self._stopping = True
        for partition in tuple(self._unreadable):
            self._try_again(partition)

    async def poll_forever(self) -> None:
        """Until `stop`. Faults of Kafka do not come out of here: the watch counts them."""
        while not self._stopping:
            try:
                await self._round()
            except NoOffsetForPartitionError:
                pass  # of a partition that was just assigned; its seek comes
            except OffsetOutOfRangeError as error:
                self._out_of_range(error)
            except _UnreadableError as error:
                await self._isolate(error)
            except KafkaError as error:
                await self._failed(error)

    async def _round(self) -> None:
        self._deliver_starts()
        waiting = self._open_partitions()
        if not waiting:
            await self._fetch([NOWHERE], POLL_MS)
        elif self._one_by_one:
            for at in waiting:
                await self._serve([at])
            self._one_by_one = False  # each one could be read
        else:
            await self._serve(waiting)

    async def _serve(self, waiting: list[TopicPartition]) -> None:
        """Take a chunk from each of these partitions that has records; wait a little when none has."""
        timeout_ms = POLL_MS
        while waiting and not self._stopping:
            fetched = await self._fetch(waiting, timeout_ms)
            for at, records in fetched.items():
                await self._take(at, records)
            if not fetched:
                await self._survey(waiting)
                return
            waiting = [at for at in waiting if at not in fetched and self._may_read(Partition(*at))]
            timeout_ms = 0
            await asyncio.sleep(0)  # a poll that finds records never yields, and others have work to do

    async def _fetch(
        self, asked: Sequence[TopicPartition], timeout_ms: int
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        try:
            fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]] = await self._kafka.getmany(
                *asked, timeout_ms=timeout_ms, max_records=self._back_pressure.chunk_records
            )
        except KafkaError as error:
            if isinstance(error, _OF_ONE_PARTITION):
                raise _UnreadableError(asked, error) from None
            raise
        except Exception as error:  # noqa: BLE001  # what decompressors raise, or header names that are no text
            raise _UnreadableError(asked, error) from None
        now_s = time.monotonic()
        self._watch.polled(now_s)
        self._deliver_starts()  # of partitions that became ready during the poll, before any record of theirs
        if now_s - self._failed_s > WELL_AFTER_S:
            self._health.release(HEALTH_NAME)
        return fetched

    def _open_partitions(self) -> list[TopicPartition]:
        ready = self._membership.ready
        paused = {partition for partition in ready if self._back_pressure.paused(partition)}
        for partition in paused - self._paused:
            emit(INTAKE_PAUSED, topic=partition.topic, partition=partition.number)
        for partition in (self._paused - paused) & ready:
            emit(INTAKE_RESUMED, topic=partition.topic, partition=partition.number)
        self._paused = paused
        return [TopicPartition(*partition) for partition in ready - paused - self._left_alone()]

    def _left_alone(self) -> frozenset[Partition]:
        """What cannot be read just now, without what it is time to try again, or not ours any more."""
        now_s, ready = time.monotonic(), self._membership.ready
        for partition in [one for one, until_s in self._unreadable.items() if until_s <= now_s or one not in ready]:
            self._try_again(partition)
        return frozenset(self._unreadable)

    def _try_again(self, partition: Partition) -> None:
        del self._unreadable[partition]
        self._health.release(_name(partition))

    def _may_read(self, partition: Partition) -> bool:
        return self._membership.is_ready(partition) and not self._back_pressure.paused(partition)

    async def _take(self, at: TopicPartition, fetched: Sequence[ConsumerRecord]) -> None:
        partition = Partition(*at)
        if self._stopping or not self._membership.is_ready(partition):
            return  # assigned again and not ready yet: its seek reads these again
        # Past transaction markers and holes. It does not wait: a poll has just set the position.
        position = await self._kafka.position(at)
        self._deliver_records(partition, [as_record(one) for one in fetched], position)

    def _deliver_starts(self) -> None:
        """Where newly assigned partitions are read from, without records, so that a start can be committed."""
        for partition, start in self._membership.take_starts().items():
            self._deliver_records(partition, (), start)

    def _deliver_records(self, partition: Partition, records: Sequence[Record], position: int) -> None:
        self._positions[partition] = position
        self._deliver(partition, records, position)

    async def _survey(self, idle: Sequence[TopicPartition]) -> None:
        """Once a second, with nothing to read: deliver positions that transaction markers alone have moved."""
        now_s = time.monotonic()
        if now_s - self._surveyed_s < SURVEY_EVERY_S:
            return
        self._surveyed_s = now_s
        for at in idle:
            partition = Partition(*at)
            if self._stopping or not self._membership.is_ready(partition):
                continue
            position = await self._kafka.position(at)
            if position > self._positions[partition]:
                self._deliver_records(partition, (), position)

    def ends(self) -> dict[Partition, int | None]:
        """Where the log of each partition that is read ended at the last fetch; None before the first."""
        return {partition: self._kafka.highwater(TopicPartition(*partition)) for partition in self._membership.ready}

    def _out_of_range(self, error: OffsetOutOfRangeError) -> None:
        for at, offset in error.args[0].items():
            partition = Partition(*at)
            if self._membership.is_ready(partition):
                emit(OFFSET_OUT_OF_RANGE, topic=partition.topic, partition=partition.number, offset=offset)
                self._membership.restart(partition)

    def _rewind(self) -> None:
        """A poll that raises may have lost records that it had taken out already: read on from what was delivered."""
        self._deliver_starts()  # a partition may have become ready during that poll: its old position is not its start
        for partition in self._membership.ready:
            try:
                self._kafka.seek(TopicPartition(*partition), self._positions[partition])
            except IllegalStateError:
                return  # a rebalance has begun: everything is assigned again

    async def _isolate(self, unreadable: _UnreadableError) -> None:
        """Find the partition by asking one at a time; then leave it alone for a while, and the others go on."""
        at = unreadable.asked[0]
        if len(unreadable.asked) > 1:
            self._one_by_one = True
            self._rewind()
        elif at == NOWHERE or has_dead_task(self._kafka):
            await self._failed(unreadable.error)
        else:
            partition = Partition(*at)
            self._unreadable[partition] = time.monotonic() + UNREADABLE_FOR_S
            reason = f"its log cannot be read here: {type(unreadable.error).__name__}"
            self._health.hold(_name(partition), reason, PARTITION_HELD)
            self._rewind()

    async def _failed(self, error: Exception) -> None:
        self._failed_s = time.monotonic()
        self._watch.poll_failed(self._failed_s)
        fault = as_fault(error)
        signal = ACCOUNT_REFUSED if isinstance(fault, AccountFault) else KAFKA_UNREACHABLE
        self._health.hold(HEALTH_NAME, str(fault), signal)
        self._rewind()
        await asyncio.sleep(AFTER_FAILURE_S)


def _name(partition: Partition) -> str:
    return f"log of {partition.topic}[{partition.number}]"
