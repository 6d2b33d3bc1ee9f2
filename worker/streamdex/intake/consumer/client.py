"""aiokafka's consumer: how it is made, and the few places where its private parts must be touched.

Everything that depends on aiokafka's inside stands here, so that a new version needs one file read again.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError, KafkaError, NotCoordinatorForGroupError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.structs import OffsetAndMetadata

from streamdex.config import MIB, KafkaSettings
from streamdex.kafka.client import client_options, finished_in_time

# The broker waits so long for this member to drain and rejoin: above the longest drain (25 s) and its commit.
REBALANCE_TIMEOUT_S = 35.0
# A join is answered only when every member has joined, so a request may take longer than that.
REQUEST_TIMEOUT_S = 45.0
# We poll while paused and watch our own progress, so this is only a last resort; past it a member is lost for good.
MAX_POLL_INTERVAL_S = 600.0
METADATA_MAX_AGE_S = 60.0  # how late a new partition is noticed
FETCH_WAIT_S = 0.2
STOP_LIMIT_S = 2.0
LEAVE_LIMIT_S = 1.0
ASK_AGAIN_S = 0.1
SMALLEST_FETCH = 64 * 1024
LARGEST_FETCH = MIB


class FencedConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka publishes no types
    """aiokafka's consumer, with two things right that its group's coordinator is asked.

    A commit goes out in the generation in which it was asked for, or not at all. aiokafka's own tries again when it has
    lost the coordinator, with whatever generation it has by then: a later one, whose partitions may be others, or none,
    which a broker accepts for a group that is empty.

    A coordinator that still loads its groups, as after a crash, does not say what is committed, and is asked again.
    aiokafka's own overlooks an answer that is refused as a whole, and takes it for a group that has committed nothing.
    """

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit these offsets of our partitions. Raises KafkaError; never ends while there is no coordinator."""
        coordinator = self._coordinator
        generation = coordinator.generation
        wanted = {at: OffsetAndMetadata(offset, "") for at, offset in offsets.items()}
        while True:
            await coordinator.ensure_coordinator_known()
            if generation <= 0 or coordinator.generation != generation:
                raise CommitFailedError("the group has moved on")
            try:
                await coordinator._do_commit_offsets(None, wanted)  # made into a request before it first waits
            except KafkaError as error:
                if not error.retriable:
                    raise
            else:
                return
            await asyncio.sleep(ASK_AGAIN_S)

    async def committed(self, partition: TopicPartition) -> int | None:
        """What the group has committed of a partition. Raises KafkaError; never ends while there is no coordinator."""
        coordinator = self._coordinator
        request = OffsetFetchRequest(coordinator.group_id, [(partition.topic, [partition.partition])])
        while True:
            await coordinator.ensure_coordinator_known()
            try:
                return _committed_in(await coordinator._send_req(request))
            except KafkaError as error:
                if not error.retriable:
                    raise
                if isinstance(error, NotCoordinatorForGroupError):
                    coordinator.coordinator_dead()
            await asyncio.sleep(ASK_AGAIN_S)


def _committed_in(response: Any) -> int | None:
    """The offset in an answer about one partition. Raises KafkaError."""
    if response.error_code:
        raise for_code(response.error_code)()
    ((_, ((_, offset, _, code),)),) = response.topics
    if code:
        raise for_code(code)()
    return int(offset) if offset >= 0 else None


def make_consumer(settings: KafkaSettings, intake_bytes: int, partitions: int) -> AIOKafkaConsumer:
    """A consumer that is neither started nor subscribed. Raises ConfigurationError.

    aiokafka keeps up to one fetch of each partition in memory, so its size depends on how many there are: together
    they stay within a quarter of `intake_bytes`. A record larger than a fetch is still delivered, alone.
    """
    fetch_bytes = intake_bytes // 4 // max(1, partitions)
    return FencedConsumer(
        **client_options(settings),
        group_id=settings.group_id,
        group_instance_id=settings.group_instance_id,
        enable_auto_commit=False,
        auto_offset_reset="none",  # we decide where to start, and log it
        isolation_level=settings.isolation_level,
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),  # each further one costs a join; sticky is broken
        session_timeout_ms=_ms(settings.session_timeout_s),
        heartbeat_interval_ms=_ms(min(3.0, settings.session_timeout_s / 3)),
        rebalance_timeout_ms=_ms(max(REBALANCE_TIMEOUT_S, settings.session_timeout_s)),
        request_timeout_ms=_ms(max(REQUEST_TIMEOUT_S, settings.session_timeout_s + 10)),
        max_poll_interval_ms=_ms(MAX_POLL_INTERVAL_S),
        metadata_max_age_ms=_ms(METADATA_MAX_AGE_S),
        fetch_max_wait_ms=_ms(FETCH_WAIT_S),
        fetch_max_bytes=max(LARGEST_FETCH, intake_bytes // 4),
        max_partition_fetch_bytes=min(LARGEST_FETCH, max(SMALLEST_FETCH, fetch_bytes)),
    )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def is_member(kafka: AIOKafkaConsumer) -> bool:
    """Whether the consumer stands in its group. When not, its commits go out without a generation.

    A broker accepts such a commit once the group is empty, and it proves nothing.
    """
    coordinator = kafka._coordinator
    return coordinator is not None and coordinator.generation > 0


def member_id(kafka: AIOKafkaConsumer) -> str:
    """The member id that the consumer has in its group; empty when it has none, or the group does not know it."""
    coordinator = kafka._coordinator
    return coordinator.member_id if coordinator is not None else ""


def has_dead_task(kafka: AIOKafkaConsumer) -> bool:
    """Whether one of the consumer's own tasks has died of an error. None is ever revived.

    What it died of is then raised by every other poll, which says nothing about what was polled.
    """
    coordinator, fetcher = kafka._coordinator, kafka._fetcher
    tasks = [fetcher._fetch_task] if fetcher is not None else []
    if coordinator is not None:
        tasks += [coordinator._coordination_task, coordinator._heartbeat_task, coordinator._commit_refresh_task]
    return any(task and task.done() and not task.cancelled() and task.exception() for task in tasks)


async def stop_consumer(kafka: AIOKafkaConsumer) -> None:
    """Leave the group and close, within a few seconds. Never raises.

    aiokafka's own stop waits for other members' drains, and raises a bare CancelledError when the broker is down.
    """
    if await finished_in_time(kafka.stop(), STOP_LIMIT_S):
        return
    coordinator, fetcher = kafka._coordinator, kafka._fetcher
    if coordinator is not None:
        # The stop was cancelled while it waited for this task, and the task with it.
        await asyncio.gather(
            finished_in_time(coordinator._stop_heartbeat_task(), LEAVE_LIMIT_S),
            finished_in_time(coordinator._stop_commit_offsets_refresh_task(), LEAVE_LIMIT_S),
        )
        await finished_in_time(coordinator._maybe_leave_group(), LEAVE_LIMIT_S)
    if fetcher is not None:
        await finished_in_time(fetcher.close(), LEAVE_LIMIT_S)
    await finished_in_time(kafka._client.close(), LEAVE_LIMIT_S)
