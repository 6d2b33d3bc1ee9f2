"""The partitions of this replica: where each one starts when it comes, and how it leaves."""

import asyncio
import time
from collections.abc import Collection, Mapping

from streamdex.config import KafkaSettings
from streamdex.embed import Embedder, Share, ShareStatistics
from streamdex.index import Bookkeeping, Progress
from streamdex.intake import BackPressure, Consumer
from streamdex.model import Partition
from streamdex.plan import Ranking
from streamdex.retry import retry_faults
from streamdex.run.dispatch import Dispatcher
from streamdex.settle import Committer, Ledger, Mark, start_offset
from streamdex.telemetry import (
    ASSIGNED,
    CATCHING_UP,
    DRAIN_INCOMPLETE,
    OFFSET_OUT_OF_RANGE,
    REVOKED,
    TOPIC_RECREATED,
    Health,
    Metrics,
    emit,
)

SHARE_EVERY_S = 0.25
LAST_COMMIT_LIMIT_S = 4.0  # store and Kafka together, of the time that a stop and a rebalance leave after the drain
RECREATED = (
    "the topic was deleted and recreated; raise kafka.epoch by one, and its events count as newer than all before"
)


class KeyShare:
    """This replica's share of the key's limits, applied to the embedder. `run` until cancelled."""

    def __init__(self, share: Share, embedder: Embedder, committer: Committer) -> None:
        self._share = share
        self._embedder = embedder
        self._committer = committer
        embedder.set_share(0.0)  # until partitions are assigned

    async def run(self) -> None:
        """Keep the embedder's share up to date; it grows and lapses with time alone."""
        while True:
            self.apply()
            await asyncio.sleep(SHARE_EVERY_S)

    def apply(self) -> None:
        """Let the embedder use the share as it is now."""
        if self._committer.last_accepted_s is not None:
            self._share.proven(self._committer.last_accepted_s)
        self._embedder.set_share(self._share.at(time.monotonic()))

    def assigned(self, own_partitions: int, all_partitions: int) -> None:
        """So many of the subscription's partitions are ours now."""
        self._share.assigned(own_partitions, all_partitions, time.monotonic())

    def revoked(self) -> None:
        """All partitions have left."""
        self._share.revoked(time.monotonic())
        self.apply()

    @property
    def statistics(self) -> ShareStatistics:
        """A snapshot for the status."""
        return self._share.statistics(time.monotonic())


class LogPositions:
    """Where partitions start, from what the group and the collection know; and what the collection is told of them."""

    def __init__(
        self,
        settings: KafkaSettings,
        consumer: Consumer,
        bookkeeping: Bookkeeping,
        ranking: Ranking,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._bookkeeping = bookkeeping
        self._ranking = ranking
        self._health = health
        self._metrics = metrics

    async def starts(self, committed: Mapping[Partition, int | None]) -> dict[Partition, int]:
        """Where to read each partition from, so that nothing that the collection lacks is skipped.

        A partition of a topic that was recreated is left out. The bases of the partitions are known afterwards.
        """
        cluster, epoch = self._consumer.cluster_id, self._settings.epoch
        bookkeeping, health, metrics = self._bookkeeping, self._health, self._metrics
        ranges = await self._consumer.log_ranges(list(committed))
        ends = {partition: end for partition, (_, end) in ranges.items()}
        bases = await retry_faults(lambda: bookkeeping.bases(cluster, epoch, ends), health, metrics)
        self._ranking.add_bases(bases)
        progress = await retry_faults(lambda: bookkeeping.progress(cluster, epoch, list(committed)), health, metrics)
        recreated = await self._recreated(progress, ranges)
        return {
            partition: self._start(partition, offset, progress.get(partition), ranges[partition])
            for partition, offset in committed.items()
            if partition not in recreated
        }

    def _start(
        self, partition: Partition, committed: int | None, progress: Progress | None, log_range: tuple[int, int]
    ) -> int:
        known = progress.offset if progress is not None else None
        start = start_offset(committed, known, log_range, latest=self._settings.auto_offset_reset == "latest")
        stood = [offset for offset in (committed, known) if offset is not None]
        if any(not log_range[0] <= offset <= log_range[1] for offset in stood):
            place = {"topic": partition.topic, "partition": partition.number}
            emit(OFFSET_OUT_OF_RANGE, **place, offset=min(stood), begin=log_range[0], end=log_range[1], start=start)
        elif committed is not None and start < committed:
            emit(CATCHING_UP, partition=_name(partition), committed=committed, start=start)
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

    async def write_progress(self, marks: Mapping[Partition, Mark]) -> None:
        """Let the collection remember how far it has the log. Raises ServiceFault or AccountFault."""
        progress = {partition: Progress(mark.offset, mark.timestamp_ms) for partition, mark in marks.items()}
        await self._bookkeeping.write_progress(self._consumer.cluster_id, self._settings.epoch, progress)


class AssignedPartitions:
    """What is done when partitions come to this replica and leave it.

    `left_undone` counts the records that the last partitions to leave have left to their next owner: those that were
    being worked on, and those that were settled but could not be committed.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # whoever must know that partitions come and go
        self,
        consumer: Consumer,
        positions: LogPositions,
        ledger: Ledger,
        back_pressure: BackPressure,
        dispatcher: Dispatcher,
        committer: Committer,
        share: KeyShare,
        metrics: Metrics,
        drain_timeout_s: float,
    ) -> None:
        self._consumer = consumer
        self._positions = positions
        self._ledger = ledger
        self._back_pressure = back_pressure
        self._dispatcher = dispatcher
        self._committer = committer
        self._share = share
        self._metrics = metrics
        self._drain_timeout_s = drain_timeout_s
        self.left_undone = 0

    async def assigned(self, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        """Where to read each partition from; `committed` is what the group knows.

        A partition of a topic that was recreated is left out, and so not read, until `kafka.epoch` is raised.
        """
        starts = await self._positions.starts(committed)
        for partition, start in starts.items():
            self._ledger.assign(partition, start)
        self._share.assigned(len(self._ledger.partitions), self._consumer.all_partitions)
        self._metrics.counts.rebalances += 1
        emit(ASSIGNED, starts={_name(partition): start for partition, start in starts.items()})
        return starts

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """Finish what is paid for, commit, and end the assignment; the drain is bounded by `worker.drain_timeout_s`."""
        unfinished = await self._dispatcher.drain(partitions, self._drain_timeout_s)
        uncommitted = 0 if await self._commit_in_time() else self._ledger.uncommitted(partitions)
        self.left_undone = unfinished + uncommitted
        if self.left_undone:
            emit(DRAIN_INCOMPLETE, unfinished=unfinished, uncommitted=uncommitted)
        self._ledger.revoke(partitions)
        for partition in partitions:
            self._back_pressure.revoked(partition)
        # Not before the drain: nobody is given these partitions until this callback ends, and a document of which some
        # texts are paid for needs the rest.
        self._share.revoked()
        emit(REVOKED, partitions=[_name(partition) for partition in partitions])

    async def _commit_in_time(self) -> bool:
        try:
            async with asyncio.timeout(LAST_COMMIT_LIMIT_S):
                return await self._committer.commit_now()
        except TimeoutError:
            return False


def _name(partition: Partition) -> str:
    return f"{partition.topic}-{partition.number}"
