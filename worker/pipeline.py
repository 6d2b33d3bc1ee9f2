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
from worker.embed import Embedder, Profile, resolve
from worker.errors import ConfigurationError
from worker.flow import Flow, Rooms, Standing
from worker.index import Index, Progress
from worker.intake import Consumer, Decoder, Gate
from worker.model import Partition
from worker.plan import Chunker, Planner, cutting_digest
from worker.retry import patiently
from worker.settle import Committer, Ledger, Mark, settled_twice_reporter, start_offset
from worker.telemetry import ASSIGNED, DRAIN_INCOMPLETE, REVOKED, STARTED, STOPPED, STOPPING, Health, Metrics, emit
from worker.verdicts import Verdicts

T = TypeVar("T")


def examine(settings: Settings) -> tuple[Profile, Chunker]:
    """What the settings come to, before anything is connected. Raises ConfigurationError for what cannot work."""
    profile = resolve(settings.jina)
    if profile.max_input_tokens is not None and settings.chunk.max_tokens > profile.max_input_tokens:
        raise ConfigurationError(
            f"chunks are longer than the {profile.max_input_tokens} tokens that {profile.model} takes",
            "chunk.max_tokens",
            "Lower it, or use a model with a longer context.",
        )
    return profile, Chunker(settings)


class Pipeline:
    """One worker. `run` works until `stop` is called; a second `stop` cuts the drain short."""

    def __init__(self, settings: Settings, worker_name: str) -> None:
        """Raises ConfigurationError for settings that cannot work, before anything is connected."""
        self.metrics = Metrics()
        self.health = Health()
        self._settings = settings
        self._profile, self._chunker = examine(settings)
        self._decoder = Decoder(settings.mapping, settings.caps)
        self._gate = Gate(settings.worker.open_records, settings.worker.intake_bytes)
        self._ledger = Ledger(settled_twice_reporter(self.metrics))
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
            lambda: Index.open(settings, self._profile.fingerprint, self._profile.dimension, self.metrics),
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
            self._ledger, self._consumer.commit, settings.kafka.session_timeout_s, self.metrics, self._write_progress
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
        """Where to read each partition from: nothing that the collection lacks may be skipped."""
        cluster, epoch = self._consumer.cluster_id, self._settings.kafka.epoch
        ranges = await self._consumer.log_ranges(list(committed))
        ends = {partition: end for partition, (_, end) in ranges.items()}
        self._standing.bases.update(await patiently(lambda: self._index.bases(cluster, epoch, ends), self.health))
        progress = await patiently(lambda: self._index.progress(cluster, epoch, list(committed)), self.health)
        latest = self._settings.kafka.auto_offset_reset == "latest"
        starts = {}
        for partition in committed:
            known = progress[partition].offset if partition in progress else None
            starts[partition] = start_offset(committed[partition], known, ranges[partition], latest=latest)
            self._ledger.assign(partition, starts[partition])
        self.metrics.rebalances.inc()
        emit(ASSIGNED, starts={f"{topic}-{number}": start for (topic, number), start in starts.items()})
        return starts

    async def _write_progress(self, marks: Mapping[Partition, Mark]) -> None:
        progress = {partition: Progress(mark.offset, mark.timestamp_ms) for partition, mark in marks.items()}
        await self._index.write_progress(self._consumer.cluster_id, self._settings.kafka.epoch, progress)

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
