"""Which partitions are ours, from the moment one may be read and committed until it is drained.

    assigned by Kafka → committed offsets, where to start, seek → ready (read and committed) → draining → revoked

aiokafka sends no heartbeats while its assigned callback runs, so that work is done in a task of its own. It does send
them while the revoked callback runs, so the drain is done inside that.
"""

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from streamdex.errors import Service, ServiceFault
from streamdex.intake.consumer.instance import Instance
from streamdex.kafka.client import as_fault
from streamdex.model import Partition
from streamdex.retry import retry_faults
from streamdex.telemetry import INTERNAL, Health, Metrics, emit

COMMITTED_LIMIT_S = 10.0


class Assignments(Protocol):
    """What is done when partitions come and go."""

    async def assigned(self, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        """Partitions came, with the group's committed offsets. Returns where to start each one.

        A partition left out of the answer is not read, nor committed, until it is assigned again.
        """

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """Partitions leave: drain and commit them, in bounded time. Some may be leaving before they were ready."""


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """One consumer's partitions. Calls to `Assignments.revoked` never overlap."""

    def __init__(
        self, kafka: AIOKafkaConsumer, assignments: Assignments, instance: Instance, health: Health, metrics: Metrics
    ) -> None:
        self._kafka = kafka
        self._assignments = assignments
        self._instance = instance
        self._health = health
        self._metrics = metrics
        self._ready: set[Partition] = set()
        self._starts: dict[Partition, int] = {}  # of partitions that became ready, until the poller takes them
        self._assigned: set[Partition] = set()  # `assigned` was called for these, and may not have come to its end
        self._committable: set[Partition] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Lock()
        self._revoking = asyncio.Lock()
        self._closed = False
        self.crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when an assignment met something that waiting does not fix."""

    @property
    def ready(self) -> frozenset[Partition]:
        """Partitions that may be read."""
        return frozenset(self._ready)

    def take_starts(self) -> dict[Partition, int]:
        """Where partitions start that became ready since the last call."""
        starts, self._starts = self._starts, {}
        return starts

    def is_ready(self, partition: Partition) -> bool:
        """Whether the partition may be read now."""
        return partition in self._ready

    def may_commit(self, partitions: Iterable[Partition]) -> bool:
        """Whether all of these are ours; those that are leaving still count."""
        return self._committable.issuperset(partitions)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """aiokafka: a rebalance begins. All partitions leave, as its protocol is eager."""
        await self.drain()
        await self._instance.wait_until_free()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """aiokafka: a rebalance has ended. This only begins the work: see the module's docstring."""
        self._instance.joined()
        partitions = [Partition(*one) for one in assigned]
        if partitions and not self._closed:
            self._begin(self._assign(partitions))

    def restart(self, partition: Partition) -> None:
        """The log no longer holds where the partition is read: revoke it and assign it again."""
        self._ready.discard(partition)
        self._begin(self._reassign(partition))

    async def close(self) -> None:
        """Drain everything, for good. Safe twice."""
        self._closed = True
        await self.drain()

    async def drain(self) -> None:
        """Stop reading all partitions, and have them drained and committed."""
        self._ready.clear()
        async with self._draining:
            await self._stop_tasks()
            leaving = tuple(self._assigned)
            if leaving:
                await self._revoke(leaving)

    async def _stop_tasks(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._ready.clear()

    async def _revoke(self, partitions: Collection[Partition]) -> None:
        self._ready.difference_update(partitions)
        for partition in partitions:
            self._starts.pop(partition, None)
        async with self._revoking:
            try:
                await self._assignments.revoked(partitions)
            except Exception as error:  # noqa: BLE001  # aiokafka would hide it; the partitions have left all the same
                self._metrics.counts.internal_faults += 1
                emit(INTERNAL, stage="intake", kind=type(error).__name__)
        # Not in a `finally`: when this is cancelled, whoever cancelled it revokes the same partitions.
        self._assigned.difference_update(partitions)
        self._committable.difference_update(partitions)

    async def _reassign(self, partition: Partition) -> None:
        await self._revoke((partition,))
        await self._assign((partition,))

    async def _assign(self, partitions: Collection[Partition]) -> None:
        committed = await retry_faults(lambda: self._committed(partitions), self._health, self._metrics)
        self._assigned.update(partitions)
        starts = await retry_faults(lambda: self._assignments.assigned(committed), self._health, self._metrics)
        for partition, start in starts.items():
            # Always, also where aiokafka would start there by itself: what arrived before is dropped and read again.
            self._kafka.seek(TopicPartition(*partition), start)
        self._committable.update(starts)
        self._starts.update(starts)
        self._ready.update(starts)

    async def _committed(self, partitions: Collection[Partition]) -> dict[Partition, int | None]:
        try:
            async with asyncio.timeout(COMMITTED_LIMIT_S):  # it asks for ever when there is no coordinator
                offsets = await asyncio.gather(*(self._kafka.committed(TopicPartition(*one)) for one in partitions))
        except TimeoutError:
            raise ServiceFault(Service.KAFKA, "the group's coordinator does not say what is committed") from None
        except KafkaError as error:
            raise as_fault(error) from None
        return dict(zip(partitions, offsets, strict=True))

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.crashed.done():
            self.crashed.set_exception(error)
