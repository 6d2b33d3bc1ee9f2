"""The partitions of this replica: where each one starts when it comes, and how it leaves."""

from collections.abc import Collection, Mapping

from worker.config import Settings
from worker.flow import Flow, Standing
from worker.index import Index, Progress
from worker.intake import Consumer, Gate
from worker.model import Partition
from worker.retry import patiently
from worker.settle import Committer, Ledger, Mark, start_offset
from worker.telemetry import ASSIGNED, DRAIN_INCOMPLETE, REVOKED, Health, Metrics, emit


class Ownership:
    """Told by the consumer when partitions come and go; tells the flow, the ledger and the gate.

    `left_undone` counts the records that were taken in and left to the next owner when the worker stopped.
    """

    def __init__(
        self,
        settings: Settings,
        standing: Standing,
        index: Index,
        ledger: Ledger,
        gate: Gate,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._standing = standing
        self._index = index
        self._ledger = ledger
        self._gate = gate
        self._health = health
        self._metrics = metrics
        self.left_undone = 0

    def follow(self, flow: Flow, consumer: Consumer, committer: Committer) -> None:
        """Whom to tell and to ask; the consumer and the committer know this object, too."""
        self._flow = flow
        self._consumer = consumer
        self._committer = committer

    async def assigned(self, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        """Where to read each partition from: nothing that the collection lacks may be skipped."""
        cluster, epoch = self._consumer.cluster_id, self._settings.kafka.epoch
        ranges = await self._consumer.log_ranges(list(committed))
        ends = {partition: end for partition, (_, end) in ranges.items()}
        self._standing.bases.update(await patiently(lambda: self._index.bases(cluster, epoch, ends), self._health))
        progress = await patiently(lambda: self._index.progress(cluster, epoch, list(committed)), self._health)
        latest = self._settings.kafka.auto_offset_reset == "latest"
        starts = {}
        for partition in committed:
            known = progress[partition].offset if partition in progress else None
            starts[partition] = start_offset(committed[partition], known, ranges[partition], latest=latest)
            self._ledger.assign(partition, starts[partition])
        self._metrics.rebalances.inc()
        emit(ASSIGNED, starts={f"{topic}-{number}": start for (topic, number), start in starts.items()})
        return starts

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """Finish what is paid for, commit, let go; bounded by `worker.drain_timeout_s`."""
        self.left_undone = await self._flow.let_go(partitions, self._settings.worker.drain_timeout_s)
        if self.left_undone:
            emit(DRAIN_INCOMPLETE, records=self.left_undone)
        await self._committer.commit_now()
        self._ledger.revoke(partitions)
        for partition in partitions:
            self._gate.revoked(partition)
        emit(REVOKED, partitions=[f"{topic}-{number}" for topic, number in partitions])

    async def write_progress(self, marks: Mapping[Partition, Mark]) -> None:
        """Let the collection remember how far it has the log. Raises ServiceFault or AccountFault."""
        progress = {partition: Progress(mark.offset, mark.timestamp_ms) for partition, mark in marks.items()}
        await self._index.write_progress(self._consumer.cluster_id, self._settings.kafka.epoch, progress)
