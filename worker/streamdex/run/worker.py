"""The worker: wires the rooms and owns the one task group.

    intake → plan → embed → index → settle
       └───────┴───────┴──────┴──── deadletter

`flow.py` moves the events through the rooms, `verdicts.py` says what becomes of those that cannot be handled, and
`ownership.py` follows the partitions as they come and go.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TypeVar

from streamdex.admin import Phase
from streamdex.config import JinaSettings, Settings
from streamdex.deadletter import DeadLetters
from streamdex.embed import Embedder, Profile, Share, resolve
from streamdex.errors import ConfigurationError
from streamdex.index import Index
from streamdex.intake import BackPressure, Consumer, Decoder
from streamdex.plan import Chunker, Planner, cutting_digest
from streamdex.retry import retry_faults, retry_forever
from streamdex.run.flow import Flow
from streamdex.run.partitions import Ownership
from streamdex.run.rooms import Rooms, Standing
from streamdex.run.status import Parts, Status
from streamdex.run.suspects import Verdicts
from streamdex.settle import Committer, Ledger, settled_twice_reporter
from streamdex.telemetry import RELOADED, STARTED, STOPPED, STOPPING, Health, Metrics, emit

T = TypeVar("T")

LEAVE_S = 6.0  # after the longest drain: for the last commit, the group and the connections
CLOSE_LIMIT_S = 5.0  # for each connection, when there is no hurry
LEAST_CLOSE_S = 0.2  # and when there is no time left at all
FORGET_EVERY_S = 3600.0  # how often manifests of documents deleted long ago are removed


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


class Worker:
    """One worker. `run` works until `stop` is called; a second `stop` does not wait for what is in flight."""

    def __init__(self, settings: Settings, worker_name: str) -> None:
        """Raises ConfigurationError for settings that cannot work, before anything is connected."""
        self.metrics = Metrics()
        self.health = Health()
        self.status = Status(settings, worker_name, self.health, self.metrics)
        self._settings = settings
        self._worker_name = worker_name
        self._profile, self._chunker = examine(settings)
        self._decoder = Decoder(settings.mapping, settings.caps)
        self._running: Parts | None = None
        self._reloaded: JinaSettings | None = None
        self._stopping = asyncio.Event()
        self._end_s: float | None = None  # by the monotonic clock, once a stop was asked for

    def stop(self) -> None:
        """Stop fetching, finish what is paid for, commit, leave. Called again: do not wait for the finish."""
        if not self._stopping.is_set():
            emit(STOPPING)
            self.status.phase = Phase.STOPPING
            self._stopping.set()
            self._end_s = time.monotonic() + self._settings.worker.drain_timeout_s + LEAVE_S
            if self._running is not None:
                self._running.ownership.left_undone = 0  # of rebalances before, which others have seen to
                self._running.consumer.stop_fetching()
        elif self._running is not None:
            self._running.flow.abort()

    def reload(self, settings: Settings) -> None:
        """Take up other limits of the key, and the key itself. Other settings need a restart.

        Raises ConfigurationError for a key that cannot be used; everything stays as it was then.
        """
        settings.jina.read_api_key()
        self._reloaded = settings.jina
        if self._running is not None:
            self._take_up(settings.jina, self._running.embedder)
        emit(RELOADED)

    @staticmethod
    def _take_up(jina: JinaSettings, embedder: Embedder) -> None:
        embedder.set_limits(*jina.effective_limits)
        embedder.reread_key(jina)

    async def run(self) -> int:
        """Work until stopped. Returns how many records were taken in but left for the next owner to do again."""
        async with AsyncExitStack() as opened:
            self._running = await self._unless_stopped(self._start(opened))
            if self._running is not None:
                await self._work(self._running)
        left_undone = self._running.ownership.left_undone if self._running is not None else 0
        emit(STOPPED, left_undone=left_undone)
        return left_undone

    async def _start(self, opened: AsyncExitStack) -> Parts:
        """Connect everything; what is down is waited for. `opened` closes it again, the last one first."""
        settings, profile, health, metrics = self._settings, self._profile, self.health, self.metrics
        fingerprint, dimension = profile.fingerprint, profile.dimension
        index = await retry_faults(lambda: Index.open(settings, fingerprint, dimension, metrics), health, metrics)
        opened.push_async_callback(self._close, index.close)
        generation = await retry_faults(lambda: index.generation(cutting_digest(settings)), health, metrics)
        standing = Standing(settings.worker.order, settings.kafka.epoch, generation)
        ledger = Ledger(settled_twice_reporter(metrics))
        back_pressure = BackPressure(settings.worker.open_records, settings.worker.intake_bytes)
        dead_letters = DeadLetters(settings.kafka, self._worker_name, health, metrics)
        opened.push_async_callback(self._close, dead_letters.close)

        planner = Planner(settings, self._chunker, generation)
        rooms = Rooms(self._decoder, planner, index, ledger, back_pressure, health, metrics)
        flow = Flow(rooms, standing, together=profile.late_chunking)
        embedder = Embedder(settings.jina, profile, flow.embedded, health, metrics)
        opened.push_async_callback(self._close, embedder.close)
        flow.connect(embedder, Verdicts(dead_letters, index, standing.epoch, health, metrics, flow))

        ownership = Ownership(settings, rooms, standing, Share(settings.kafka.session_timeout_s))
        consumer = Consumer(settings.kafka, ownership, back_pressure, health, metrics)
        opened.push_async_callback(self._leave, consumer)
        session_timeout_s = settings.kafka.session_timeout_s
        committer = Committer(ledger, consumer.commit, session_timeout_s, metrics, ownership.write_progress)
        ownership.follow(flow, embedder, consumer, committer)

        await retry_faults(dead_letters.start, health, metrics)
        await retry_faults(consumer.start, health, metrics)
        parts = Parts(rooms, consumer, flow, embedder, committer, ownership)
        self.status.follow(parts)
        return parts

    async def _work(self, running: Parts) -> None:
        if self._reloaded is not None:  # it came while neighbours were waited for
            self._take_up(self._reloaded, running.embedder)
        emit(STARTED, topics=self._settings.kafka.topics, group=self._settings.kafka.group_id)
        if self._stopping.is_set():
            running.consumer.stop_fetching()
        else:
            self.status.phase = Phase.RUNNING
        async with asyncio.TaskGroup() as group:
            loops = (
                *running.flow.tasks(),
                running.committer.run(),
                running.ownership.apply_share_for_ever(),
                self._forget_tombstones(running.rooms.index),
            )
            stages = [group.create_task(loop) for loop in loops]
            try:
                await running.consumer.run(running.flow.accept)
            except BaseException:
                running.flow.abort()  # a crash: what is in flight cannot be finished
                raise
            finally:
                await self._leave(running.consumer)
                for stage in stages:
                    stage.cancel()

    async def _leave(self, consumer: Consumer) -> None:
        """Drain and commit, through the ownership, and leave the group; by the end of the time that a stop has."""
        left_s = None if self._end_s is None else max(LEAST_CLOSE_S, self._end_s - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await consumer.close()

    async def _close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close a connection, whoever does not answer: all there is to lose is a good-bye."""
        left_s = CLOSE_LIMIT_S if self._end_s is None else self._end_s - time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(CLOSE_LIMIT_S, max(LEAST_CLOSE_S, left_s))):
                await close()

    async def _forget_tombstones(self, index: Index) -> None:
        while True:
            await retry_forever(index.forget_tombstones, self.health, self.metrics)
            await asyncio.sleep(FORGET_EVERY_S)

    async def _unless_stopped(self, action: Coroutine[object, object, T]) -> T | None:
        """The action's result, or None when a stop was asked for before it came."""
        acting = asyncio.ensure_future(action)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((acting, stopping), return_when=asyncio.FIRST_COMPLETED)
            return acting.result() if acting.done() else None
        finally:
            for task in (acting, stopping):
                task.cancel()
            await asyncio.gather(acting, stopping, return_exceptions=True)
