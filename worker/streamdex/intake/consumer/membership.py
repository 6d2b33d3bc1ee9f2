"""Which partitions are ours, from the moment one may be read and committed until it has been let go.

    told by Kafka → taking up: committed offsets, where to start, seek → ready (read and committed) → leaving → gone

aiokafka sends no heartbeats while its assigned callback runs, so taking up happens in a task of its own; it does send
them while the revoked callback runs, so the drain happens inside that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
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
    """Who is told when partitions come and go."""

    async def assigned(self, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        """Partitions came, with the group's committed offsets. Returns where to start each one.

        A partition left out of the answer is not read, nor committed, until it is assigned again.
        """

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """Partitions leave: drain and commit, within a time of your own. Some may not have come all the way."""


Taken = Callable[[Mapping[Partition, int]], None]


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """One consumer's partitions. Calls to `Assignments.revoked` never overlap."""

    def __init__(
        self,
        kafka: AIOKafkaConsumer,
        assignments: Assignments,
        instance: Instance,
        health: Health,
        metrics: Metrics,
        on_taken: Taken,
    ) -> None:
        """`on_taken` hears where partitions start, just before they are ready."""
        self._kafka = kafka
        self._assignments = assignments
        self._instance = instance
        self._health = health
        self._metrics = metrics
        self._on_taken = on_taken
        self._ready: set[Partition] = set()
        self._told: set[Partition] = set()  # `assigned` was called for these, perhaps without coming to its end
        self._committable: set[Partition] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._letting_go = asyncio.Lock()
        self._telling = asyncio.Lock()
        self._closed = False
        self.crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when taking partitions up met something that patience does not mend."""

    @property
    def ready(self) -> frozenset[Partition]:
        """Partitions that may be read."""
        return frozenset(self._ready)

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
        """aiokafka: a rebalance has ended. Only begins the work: see the module's text."""
        self._instance.joined()
        partitions = [Partition(*one) for one in assigned]
        if partitions and not self._closed:
            self._begin(self._take_up(partitions))

    def restart(self, partition: Partition) -> None:
        """The log no longer holds where the partition is read: let it go and take it up again."""
        self._ready.discard(partition)
        self._begin(self._take_up_again(partition))

    async def close(self) -> None:
        """Let everything go, for good. Safe twice."""
        self._closed = True
        await self.drain()

    async def drain(self) -> None:
        """Stop reading all partitions, have them drained and committed, and forget them."""
        self._ready.clear()
        async with self._letting_go:
            await self._stop_tasks()
            leaving = tuple(self._told)
            if leaving:
                await self._tell_revoked(leaving)

    async def _stop_tasks(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._ready.clear()

    async def _tell_revoked(self, partitions: Collection[Partition]) -> None:
        self._ready.difference_update(partitions)
        async with self._telling:
            try:
                await self._assignments.revoked(partitions)
            except Exception as error:  # noqa: BLE001  # aiokafka would swallow it; they are gone all the same
                self._metrics.counts.internal_faults += 1
                emit(INTERNAL, stage="intake", kind=type(error).__name__)
        # Not in a `finally`: when this is cancelled, whoever cancelled it lets the same partitions go.
        self._told.difference_update(partitions)
        self._committable.difference_update(partitions)

    async def _take_up_again(self, partition: Partition) -> None:
        await self._tell_revoked((partition,))
        await self._take_up((partition,))

    async def _take_up(self, partitions: Collection[Partition]) -> None:
        committed = await retry_faults(lambda: self._committed(partitions), self._health, self._metrics)
        self._told.update(partitions)
        starts = await retry_faults(lambda: self._assignments.assigned(committed), self._health, self._metrics)
        for partition, start in starts.items():
            # Always, also where aiokafka would start there by itself: what arrived before is dropped and read again.
            self._kafka.seek(TopicPartition(*partition), start)
        self._committable.update(starts)
        self._on_taken(starts)
        self._ready.update(starts)

    async def _committed(self, partitions: Collection[Partition]) -> dict[Partition, int | None]:
        try:
            async with asyncio.timeout(COMMITTED_LIMIT_S):  # it asks for ever when there is no coordinator
                offsets = await asyncio.gather(*(self._kafka.committed(TopicPartition(*one)) for one in partitions))
        except TimeoutError:
            raise ServiceFault(Service.KAFKA, "the group's coordinator does not tell what is committed") from None
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
