"""The partitions of this replica: where each one starts when it comes, and how it leaves."""

import asyncio
import time
from collections.abc import Collection, Mapping

from streamdex.config import Settings
from streamdex.embed import Embedder, Share, ShareStatistics
from streamdex.index import Progress
from streamdex.intake import Consumer
from streamdex.model import Partition
from streamdex.retry import retry_faults
from streamdex.run.flow import Flow
from streamdex.run.rooms import Rooms, Standing
from streamdex.settle import Committer, Mark, start_offset
from streamdex.telemetry import (
    ASSIGNED,
    CATCHING_UP,
    DRAIN_INCOMPLETE,
    OFFSET_OUT_OF_RANGE,
    REVOKED,
    TOPIC_RECREATED,
    emit,
)

SHARE_EVERY_S = 0.25
LAST_COMMIT_LIMIT_S = 4.0  # store and Kafka together, of the time that a stop and a rebalance leave after the drain
RECREATED = (
    "the topic was deleted and made anew; raise kafka.epoch by one, and its events count as newer than all before"
)


class Ownership:
    """Told by the consumer when partitions come and go; tells the flow, the ledger and the gate.

    `left_undone` counts the records that the last partitions to leave have left to their next owner: those that were
    being worked on, and those that were settled but could not be committed.
    """

    def __init__(self, settings: Settings, rooms: Rooms, standing: Standing, share: Share) -> None:
        self._settings = settings
        self._standing = standing
        self._share = share
        self._index = rooms.index
        self._ledger = rooms.ledger
        self._back_pressure = rooms.back_pressure
        self._health = rooms.health
        self._metrics = rooms.metrics
        self.left_undone = 0

    def follow(self, flow: Flow, embedder: Embedder, consumer: Consumer, committer: Committer) -> None:
        """Whom to tell and to ask; the consumer and the committer know this object, too."""
        self._flow = flow
        self._embedder = embedder
        embedder.set_share(0.0)  # until partitions are assigned
        self._consumer = consumer
        self._committer = committer

    async def assigned(self, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        """Where to read each partition from: nothing that the collection lacks may be skipped.

        A partition of a topic that was made anew is left out, and so not read, until `kafka.epoch` is raised.
        """
        cluster, epoch = self._consumer.cluster_id, self._settings.kafka.epoch
        index, health, metrics = self._index, self._health, self._metrics
        ranges = await self._consumer.log_ranges(list(committed))
        ends = {partition: end for partition, (_, end) in ranges.items()}
        self._standing.bases.update(await retry_faults(lambda: index.bases(cluster, epoch, ends), health, metrics))
        progress = await retry_faults(lambda: index.progress(cluster, epoch, list(committed)), health, metrics)
        recreated = await self._recreated(progress, ranges)
        starts = {
            partition: self._start(partition, offset, progress.get(partition), ranges[partition])
            for partition, offset in committed.items()
            if partition not in recreated
        }
        self._share.assigned(len(self._ledger.partitions), self._consumer.all_partitions, time.monotonic())
        metrics.rebalances.inc()
        emit(ASSIGNED, starts={_name(partition): start for partition, start in starts.items()})
        return starts

    def _start(
        self, partition: Partition, committed: int | None, progress: Progress | None, log_range: tuple[int, int]
    ) -> int:
        known = progress.offset if progress is not None else None
        latest = self._settings.kafka.auto_offset_reset == "latest"
        start = start_offset(committed, known, log_range, latest=latest)
        stood = [offset for offset in (committed, known) if offset is not None]
        if any(not log_range[0] <= offset <= log_range[1] for offset in stood):
            place = {"topic": partition.topic, "partition": partition.number}
            emit(OFFSET_OUT_OF_RANGE, **place, offset=min(stood), begin=log_range[0], end=log_range[1], start=start)
        elif committed is not None and start < committed:
            emit(CATCHING_UP, partition=_name(partition), committed=committed, start=start)
        self._ledger.assign(partition, start)
        return start

    async def _recreated(
        self, progress: Mapping[Partition, Progress], ranges: Mapping[Partition, tuple[int, int]]
    ) -> set[Partition]:
        """Partitions whose log is not the one that the collection knows: it ends earlier, or holds other records."""
        beyond = {partition for partition, known in progress.items() if known.offset > ranges[partition][1]}
        last = {
            partition: known.offset - 1
            for partition, known in progress.items()
            if partition not in beyond and known.timestamp_ms is not None and known.offset > ranges[partition][0]
        }
        found = await retry_faults(lambda: self._consumer.timestamps(last), self._health, self._metrics) if last else {}
        other = {partition for partition, at_ms in found.items() if at_ms != progress[partition].timestamp_ms}
        for partition in progress:
            if partition in beyond | other:
                self._health.hold(_name(partition), RECREATED, TOPIC_RECREATED)
            else:
                self._health.release(_name(partition))
        return beyond | other

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """Finish what is paid for, commit, let go; bounded by `worker.drain_timeout_s`."""
        unfinished = await self._flow.drain(partitions, self._settings.worker.drain_timeout_s)
        uncommitted = 0 if await self._commit_in_time() else self._ledger.uncommitted(partitions)
        self.left_undone = unfinished + uncommitted
        if self.left_undone:
            emit(DRAIN_INCOMPLETE, unfinished=unfinished, uncommitted=uncommitted)
        self._ledger.revoke(partitions)
        for partition in partitions:
            self._back_pressure.revoked(partition)
        # Not before the drain: nobody is given these partitions until this callback ends, and what is paid for in part
        # needs the rest.
        self._share.revoked(time.monotonic())
        self._apply_share()
        emit(REVOKED, partitions=[_name(partition) for partition in partitions])

    async def _commit_in_time(self) -> bool:
        try:
            async with asyncio.timeout(LAST_COMMIT_LIMIT_S):
                return await self._committer.commit_now()
        except TimeoutError:
            return False

    async def apply_share_for_ever(self) -> None:
        """Let the embedder use this replica's share of the key's limits; it grows and lapses with time alone."""
        while True:
            self._apply_share()
            await asyncio.sleep(SHARE_EVERY_S)

    def _apply_share(self) -> None:
        if self._committer.last_accepted_s is not None:
            self._share.proven(self._committer.last_accepted_s)
        self._embedder.set_share(self._share.at(time.monotonic()))

    @property
    def share(self) -> ShareStatistics:
        """This replica's share of the key's limits."""
        return self._share.statistics(time.monotonic())

    async def write_progress(self, marks: Mapping[Partition, Mark]) -> None:
        """Let the collection remember how far it has the log. Raises ServiceFault or AccountFault."""
        progress = {partition: Progress(mark.offset, mark.timestamp_ms) for partition, mark in marks.items()}
        await self._index.write_progress(self._consumer.cluster_id, self._settings.kafka.epoch, progress)


def _name(partition: Partition) -> str:
    return f"{partition.topic}-{partition.number}"
