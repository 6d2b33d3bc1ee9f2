"""One aiokafka consumer from start to end: opened, subscribed, polled, watched, closed."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streamdex.config import KafkaSettings
from streamdex.errors import AccountFault, Service, ServiceFault
from streamdex.intake.back_pressure import BackPressure
from streamdex.intake.consumer.client import has_dead_task, is_member, make_consumer, member_id, stop_consumer
from streamdex.intake.consumer.instance import Instance
from streamdex.intake.consumer.membership import Assignments, Membership
from streamdex.intake.consumer.poller import Deliver, Poller
from streamdex.intake.consumer.watch import ConsumerRestart, Watch
from streamdex.kafka.client import as_fault, start_client
from streamdex.model import Partition
from streamdex.telemetry import ACCOUNT_REFUSED, KAFKA_UNREACHABLE, PARTITION_HELD, Health, Metrics

OPEN_LIMIT_S = 30.0
COMMIT_LIMIT_S = 5.0
RANGES_LIMIT_S = 10.0
POLL_END_LIMIT_S = 1.0
WATCH_EVERY_S = 1.0
TOPIC_GONE = "the topic is gone; create it again and raise kafka.epoch, or take it out of kafka.topics"
HEALTH_NAME = "kafka commits"


class _Member(NamedTuple):
    """What a session has once it has joined its group."""

    membership: Membership
    poller: Poller
    polling: asyncio.Task[None]


class Session:
    """Made by `open_session`, started by `work`, ended by `close`."""

    def __init__(
        self,
        kafka: AIOKafkaConsumer,
        settings: KafkaSettings,
        back_pressure: BackPressure,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._back_pressure = back_pressure
        self._health = health
        self._metrics = metrics
        self._watch = Watch(time.monotonic())
        self._member: _Member | None = None  # from the join on

    async def work(self, assignments: Assignments, deliver: Deliver, stopping: asyncio.Event) -> ConsumerRestart | None:
        """Join the group and deliver records until `stopping` (None) or until the client is beyond help (why).

        Raises what `deliver` or `assignments` raise, but for faults that are waited out.
        """
        instance = Instance(self._settings, self._health, lambda: member_id(self._kafka), self._stand_aside)
        membership = Membership(self._kafka, assignments, instance, self._health, self._metrics)
        poller = Poller(self._kafka, membership, self._back_pressure, self._watch, self._health, deliver)
        self._kafka.subscribe(list(self._settings.topics), listener=membership)
        polling = asyncio.create_task(poller.poll_forever())
        self._member = _Member(membership, poller, polling)
        stop = asyncio.create_task(stopping.wait())
        endings: set[asyncio.Future[Any]] = {polling, membership.crashed, stop}
        try:
            while not stop.done():
                await asyncio.wait(endings, timeout=WATCH_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                for ended in (polling, membership.crashed):
                    if ended.done():
                        ended.result()  # neither ends before a stop but by raising
                if is_member(self._kafka):
                    self._watch.was_member(time.monotonic())
                cause = self._watch.cause(time.monotonic(), task_died=has_dead_task(self._kafka))
                if cause is not None:
                    return cause
                self._note_topics()
        finally:
            poller.stop()
            stop.cancel()
        return None

    @property
    def all_partitions(self) -> int:
        """Partitions of all topics, by what the client knows of the cluster at the moment."""
        known = (self._kafka.partitions_for_topic(topic) for topic in self._settings.topics)
        return sum(len(partitions or ()) for partitions in known)

    @property
    def polled_s(self) -> float:
        """When Kafka was last polled, or this session made, by the monotonic clock."""
        return self._watch.polled_s

    def ends(self) -> dict[Partition, int | None]:
        """Where the log of each partition that is read ended at the last fetch; None before the first."""
        return self._member.poller.ends() if self._member is not None else {}

    def _stand_aside(self) -> None:
        """A poll hangs while the join waits, and that is on purpose: the client is not stuck."""
        self._watch.polled(time.monotonic())
        self._watch.was_member(time.monotonic())

    def _note_topics(self) -> None:
        """A deleted topic gives no error: the assignment empties, and polls return nothing for ever."""
        for topic in self._settings.topics:
            if self._kafka.partitions_for_topic(topic) is None:
                self._health.hold(f"topic {topic}", TOPIC_GONE, PARTITION_HELD)
            else:
                self._health.release(f"topic {topic}")

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit these offsets and no others. Raises ServiceFault or AccountFault."""
        if self._member is None or not self._member.membership.may_commit(offsets):
            raise ServiceFault(Service.KAFKA, "a partition is not ours (any more)")
        if not is_member(self._kafka):
            raise ServiceFault(Service.KAFKA, "not in the group at the moment")
        try:
            async with asyncio.timeout(COMMIT_LIMIT_S):  # it never ends when the broker is gone
                await self._kafka.commit({TopicPartition(*partition): offset for partition, offset in offsets.items()})
        except TimeoutError:
            silence = ServiceFault(Service.KAFKA, "the group's coordinator does not answer a commit", unanswered=True)
            raise self._not_committed(silence) from None
        except KafkaError as error:
            raise self._not_committed(as_fault(error)) from None
        self._watch.committed()
        self._health.release(HEALTH_NAME)

    def _not_committed(self, fault: ServiceFault | AccountFault) -> ServiceFault | AccountFault:
        """Holds for what lasts; other refusals are a rebalance's, and over with the next commit."""
        self._watch.commit_failed(time.monotonic())
        if isinstance(fault, AccountFault):
            self._health.hold(HEALTH_NAME, str(fault), ACCOUNT_REFUSED)
        elif fault.unanswered:
            self._health.hold(HEALTH_NAME, fault.message, KAFKA_UNREACHABLE)
        return fault

    async def log_ranges(self, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, int]]:
        """(begin, end) offsets of the log now. Raises ServiceFault or AccountFault."""
        asked = [TopicPartition(*partition) for partition in partitions]
        try:
            async with asyncio.timeout(RANGES_LIMIT_S):
                begins, ends = await asyncio.gather(
                    self._kafka.beginning_offsets(asked), self._kafka.end_offsets(asked)
                )
        except TimeoutError:
            raise ServiceFault(Service.KAFKA, "the brokers do not say where the log begins and ends") from None
        except KafkaError as error:
            raise as_fault(error) from None
        return {Partition(*at): (begins[at], ends[at]) for at in asked}

    async def close(self) -> None:
        """Drain and commit all partitions through `Assignments.revoked`, then leave, time-limited.

        aiokafka's own stop calls no listener.
        """
        if self._member is not None:
            membership, poller, polling = self._member
            poller.stop()
            await membership.close()
            # Only now may a poll be cancelled, as the consumer goes with it; one that hangs in a rebalance never ends.
            polling.cancel()
            await asyncio.wait({polling}, timeout=POLL_END_LIMIT_S)
        await stop_consumer(self._kafka)


async def open_session(
    settings: KafkaSettings, partitions: int, back_pressure: BackPressure, health: Health, metrics: Metrics
) -> Session:
    """A session that is connected and has not joined its group. Raises ConfigurationError or ServiceFault."""
    kafka = make_consumer(settings, back_pressure.byte_bound, partitions)
    await start_client(kafka, lambda: stop_consumer(kafka), settings, OPEN_LIMIT_S)
    return Session(kafka, settings, back_pressure, health, metrics)
