"""The worker: starts, stops and reloads, within the time that a stop has. `pipeline.py` has what it works with."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

from streamdex.admin import HealthSnapshot, Phase
from streamdex.config import JinaSettings, Settings
from streamdex.deadletter import DeadLetters
from streamdex.index import Index
from streamdex.plan import cutting_digest
from streamdex.retry import retry_faults, unless_set
from streamdex.run.pipeline import Pipeline, examine
from streamdex.run.status import Status
from streamdex.telemetry import RELOADED, STARTED, STOPPED, STOPPING, Health, Metrics, emit

LEAVE_S = 6.0  # after the longest drain: for the last commit, the group and the connections
CLOSE_LIMIT_S = 5.0  # for each connection, when there is time
LEAST_CLOSE_S = 0.2  # and when there is no time left at all


class Worker:
    """One worker. `run` works until `stop` is called; a second `stop` does not wait for what is in flight."""

    def __init__(self, settings: Settings, worker_name: str) -> None:
        """Raises ConfigurationError for settings that cannot work, before anything is connected."""
        self.metrics = Metrics()
        self.health = Health()
        self._settings = settings
        self._worker_name = worker_name
        self._profile, self._chunker = examine(settings)
        self._status = Status(settings, worker_name, self.health, self.metrics)
        self._phase = Phase.STARTING
        self._pipeline: Pipeline | None = None  # once the neighbours have answered
        self._reloaded: JinaSettings | None = None
        self._stopping = asyncio.Event()
        self._end_s: float | None = None  # by the monotonic clock, once a stop was asked for
        self.metrics.before_reading(lambda: self._status.set_gauges(self._phase, self._pipeline))

    def health_snapshot(self) -> HealthSnapshot:
        """What its health is judged by."""
        return self._status.health_snapshot(self._phase, self._pipeline)

    def status(self) -> Mapping[str, object]:
        """How it stands, as JSON has it."""
        return self._status.as_json(self._phase, self._pipeline)

    def stop(self) -> None:
        """Stop fetching, finish what is paid for, commit, leave. Called again: do not wait for the finish."""
        if not self._stopping.is_set():
            emit(STOPPING)
            self._phase = Phase.STOPPING
            self._stopping.set()
            self._end_s = time.monotonic() + self._settings.worker.drain_timeout_s + LEAVE_S
            if self._pipeline is not None:
                self._pipeline.partitions.left_undone = 0  # of rebalances before, which others have seen to
                self._pipeline.consumer.stop_fetching()
        elif self._pipeline is not None:
            self._pipeline.dispatcher.abort()

    def reload(self, settings: Settings) -> None:
        """Use other limits of the key, and the key itself. Other settings need a restart.

        Raises ConfigurationError for a key that cannot be used; everything stays as it was then.
        """
        settings.jina.read_api_key()
        self._reloaded = settings.jina
        if self._pipeline is not None:
            self._pipeline.use_key(settings.jina)
        emit(RELOADED)

    async def run(self) -> int:
        """Work until stopped. Returns how many records were accepted but left for the next owner to do again."""
        async with AsyncExitStack() as opened:
            self._pipeline = pipeline = await unless_set(self._stopping, self._connect(opened))
            if pipeline is not None:
                await self._work(pipeline)
        left_undone = pipeline.partitions.left_undone if pipeline is not None else 0
        emit(STOPPED, left_undone=left_undone)
        return left_undone

    async def _connect(self, opened: AsyncExitStack) -> Pipeline:
        """Connect everything; what is down is waited for. `opened` closes it again, the last one first."""
        settings, profile, health, metrics = self._settings, self._profile, self.health, self.metrics
        fingerprint, dimension = profile.fingerprint, profile.dimension
        index = await retry_faults(lambda: Index.open(settings, fingerprint, dimension, metrics), health, metrics)
        opened.push_async_callback(self._close, index.close)
        cutting = cutting_digest(settings)
        generation = await retry_faults(lambda: index.bookkeeping.generation(cutting), health, metrics)
        dead_letters = DeadLetters(settings.kafka, self._worker_name, health, metrics)
        opened.push_async_callback(self._close, dead_letters.close)
        pipeline = Pipeline(settings, profile, self._chunker, index, generation, dead_letters, health, metrics)
        opened.push_async_callback(self._close, pipeline.embedder.close)
        opened.push_async_callback(self._leave, pipeline)
        await pipeline.dead_letters.start()
        await retry_faults(pipeline.consumer.start, health, metrics)
        return pipeline

    async def _work(self, pipeline: Pipeline) -> None:
        if self._reloaded is not None:  # it came while neighbours were waited for
            pipeline.use_key(self._reloaded)
        emit(STARTED, topics=self._settings.kafka.topics, group=self._settings.kafka.group_id)
        if self._stopping.is_set():
            pipeline.consumer.stop_fetching()
        else:
            self._phase = Phase.RUNNING
        await pipeline.run(lambda: self._leave(pipeline))

    async def _leave(self, pipeline: Pipeline) -> None:
        """Drain, commit and leave the group, by the end of the time that a stop has."""
        left_s = None if self._end_s is None else max(LEAST_CLOSE_S, self._end_s - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await pipeline.consumer.close()

    async def _close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close a connection. A neighbour that does not answer is not waited for: nothing can be lost any more."""
        left_s = CLOSE_LIMIT_S if self._end_s is None else self._end_s - time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(CLOSE_LIMIT_S, max(LEAST_CLOSE_S, left_s))):
                await close()
