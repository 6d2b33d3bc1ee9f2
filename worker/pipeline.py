"""The worker: wires the rooms, owns the one task group, and follows the partitions as they come and go.

    intake → plan → embed → index → settle
       └───────┴───────┴──────┴──── deadletter

`flow.py` moves the events through the rooms; `verdicts.py` says what becomes of those that cannot be handled.
"""

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from typing import TypeVar

from worker.config import Settings
from worker.deadletter import DeadLetters
from worker.embed import Embedder, resolve
from worker.flow import Flow, Rooms, Standing
from worker.index import Index
from worker.intake import Consumer, Decoder, Gate
from worker.model import Partition
from worker.plan import Chunker, Planner, cutting_digest
from worker.retry import patiently
from worker.settle import Committer, Ledger, start_offset
from worker.telemetry import ASSIGNED, DRAIN_INCOMPLETE, REVOKED, STARTED, STOPPED, STOPPING, Health, Metrics, emit
from worker.verdicts import Verdicts

T = TypeVar("T")


class Pipeline:
    """One worker. `run` works until `stop` is called; a second `stop` cuts the drain short."""

    def __init__(self, settings: Settings, worker_name: str) -> None:
        """Raises ConfigurationError for settings that cannot work, before anything is connected."""
        self.metrics = Metrics()
        self.health = Health()
        self._settings = settings
        self._profile = resolve(settings.jina)
        self._chunker = Chunker(settings)
        self._decoder = Decoder(settings.mapping, settings.caps)
        self._gate = Gate(settings.worker.open_records, settings.worker.intake_bytes)
        self._ledger = Ledger()
        self._consumer = Consumer(settings.kafka, self, self._gate, self.health, self.metrics)
        self._dead_letters = DeadLetters(settings.kafka, worker_name, self.health, self.metrics)
        self._stopping = asyncio.Event()
        self._cut_short = asyncio.Event()
        self._left_undone = 0

    def stop(self) -> None:
        """Stop fetching, finish what is paid for, commit, leave. Called again: do not wait for the finish."""
        if self._stopping.is_set():
            self._cut_short.set()
        else:
            emit(STOPPING)
            self._stopping.set()
            self._consumer.stop_fetching()

    async def run(self) -> int:
        """Work until stopped. Returns how many records were taken in but left for the next owner to do again."""
        try:
            if await self._unless_stopped(self._start()) is not None:
                await self._work()
        finally:
            await self._close()
        emit(STOPPED, left_undone=self._left_undone)
        return self._left_undone

    async def _start(self) -> bool:
        settings, health = self._settings, self.health
        self._index = await patiently(
            lambda: Index.open(
                settings.qdrant, settings.worker, self._profile.fingerprint, self._profile.dimension, health, self.metrics
            ),
            health,
        )
        generation = await patiently(lambda: self._index.generation(cutting_digest(settings)), health)
        self._standing = Standing(settings.worker.order, settings.kafka.epoch, generation)
        planner = Planner(settings, self._chunker, generation)
        rooms = Rooms(self._decoder, planner, self._index, self._ledger, self._gate, health, self.metrics)
        self._flow = Flow(
            rooms,
            self._standing,
            together=self._profile.late_chunking,
            skip_purge_after=settings.worker.open_records,
        )
        self._embedder = Embedder(settings.jina, self._profile, self._flow.embedded, health, self.metrics)
        verdicts = Verdicts(
            self._dead_letters,
            self._index,
            settings.kafka.epoch,
            health,
            self.metrics,
            later=self._flow.later,
            on_sent=self._flow.letter_sent,
        )
        self._flow.connect(self._embedder, verdicts)
        self._committer = Committer(
            self._ledger,
            write_progress=self._index.write_progress,
            commit=self._consumer.commit,
            session_timeout_s=settings.kafka.session_timeout_s,
            metrics=self.metrics,
        )
        await patiently(self._dead_letters.start, health)
        await patiently(self._consumer.start, health)
        return True

    async def _work(self) -> None:
        emit(STARTED, topics=self._settings.kafka.topics, group=self._settings.kafka.group_id)
        async with asyncio.TaskGroup() as group:
            stages = [group.create_task(stage) for stage in (*self._flow.tasks(), self._committer.run())]
            try:
                await self._consumer.run(self._flow.take_in)
            except BaseException:
                self._cut_short.set()  # a crash: what is in flight cannot be finished
                raise
            finally:
                await self._consumer.close()  # drains and commits, through `revoked`
                for stage in stages:
                    stage.cancel()

    async def _close(self) -> None:
        for room in ("_consumer", "_dead_letters", "_embedder", "_index"):
            if hasattr(self, room):
                await getattr(self, room).close()

    async def _unless_stopped(self, action: Coroutine[object, object, T]) -> T | None:
        """The action's result, or None when a stop was asked for first."""
        acting = asyncio.ensure_future(action)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((acting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if acting.done():
                return acting.result()
            return None
        finally:
            for task in (acting, stopping):
                task.cancel()
            await asyncio.gather(acting, stopping, return_exceptions=True)

    # --- the partitions of this replica: the consumer tells when they come and go --------------------------------

    async def assigned(self, committed: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        """Where to start each partition: at min(committed, progress), from the log's reset policy where neither is."""
        cluster, epoch = self._consumer.cluster_id, self._settings.kafka.epoch
        ranges = await self._consumer.log_ranges(list(committed))
        ends = {partition: end for partition, (_, end) in ranges.items()}
        self._standing.bases.update(await patiently(lambda: self._index.bases(cluster, epoch, ends), self.health))
        progress = await patiently(lambda: self._index.progress(cluster, epoch, list(committed)), self.health)
        latest = self._settings.kafka.auto_offset_reset == "latest"
        starts = {
            partition: start_offset(committed[partition], progress.get(partition), ranges[partition], latest=latest)
            for partition in committed
        }
        for partition, start in starts.items():
            self._ledger.assign(partition, start)
        self.metrics.rebalances.inc()
        emit(ASSIGNED, starts={f"{topic}-{number}": start for (topic, number), start in starts.items()})
        return starts

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """Finish what is paid for, commit, let go; bounded by `worker.drain_timeout_s`."""
        if not partitions:
            return
        left = await self._flow.let_go(partitions, self._settings.worker.drain_timeout_s, self._cut_short)
        if left:
            self._left_undone += left if self._stopping.is_set() else 0
            emit(DRAIN_INCOMPLETE, records=left)
        await self._committer.commit_now()
        self._ledger.revoke(partitions)
        for partition in partitions:
            self._gate.revoked(partition)
        emit(REVOKED, partitions=[f"{topic}-{number}" for topic, number in partitions])
