"""Everything that one worker works with once its neighbours answer: the stages, wired in the order the data flows.

intake → plan → embed → index → settle
   └───────┴───────┴──────┴──── deadletter
"""

import asyncio
from collections.abc import Awaitable, Callable

from streamdex.config import JinaSettings, Settings
from streamdex.deadletter import DeadLetters
from streamdex.embed import Embedder, Profile, Share, resolve
from streamdex.errors import ConfigurationError
from streamdex.index import Index, WriteQueue
from streamdex.intake import BackPressure, Consumer, Decoder
from streamdex.model import Order
from streamdex.plan import Chunker, Planner, Ranking
from streamdex.retry import retry_forever
from streamdex.run.dead_letters import DeadLetterSender
from streamdex.run.dispatch import Dispatcher
from streamdex.run.document import DocumentPath
from streamdex.run.partitions import AssignedPartitions, KeyShare, LogPositions
from streamdex.run.suspects import RecordSuspects
from streamdex.settle import Committer, Ledger, settled_twice_reporter
from streamdex.telemetry import Health, Metrics

TOMBSTONES_EVERY_S = 3600.0  # how often manifests of documents deleted long ago are deleted


def examine(settings: Settings) -> tuple[Profile, Chunker]:
    """What the settings come to, before anything is connected. Raises ConfigurationError for what cannot work."""
    profile = resolve(settings.jina)
    if profile.max_input_tokens is not None and settings.chunk.max_tokens > profile.max_input_tokens:
        raise ConfigurationError(
            f"chunks are longer than the {profile.max_input_tokens} tokens that {profile.model} takes",
            "chunk.max_tokens",
            "Lower it, or use a model with a longer context.",
        )
    Decoder(settings)  # refuses a mapping that cannot work
    return profile, Chunker(settings)


class Pipeline:
    """All stages of one worker, whole once the index is open. `run` works until the consumer stops fetching."""

    def __init__(  # noqa: PLR0913, PLR0917  # what was connected, and what it was connected for
        self,
        settings: Settings,
        profile: Profile,
        chunker: Chunker,
        index: Index,
        generation: int,
        dead_letters: DeadLetters,
        health: Health,
        metrics: Metrics,
    ) -> None:
        kafka, worker = settings.kafka, settings.worker
        self._health = health
        self._metrics = metrics
        self._index = index
        ranking = Ranking(worker.order, kafka.epoch, generation)
        self.ledger = Ledger(settled_twice_reporter(metrics))
        self.back_pressure = BackPressure(worker.open_records, worker.intake_bytes)
        self.embedder = Embedder(settings.jina, profile, health, metrics)
        self.dead_letters = DeadLetterSender(dead_letters, index.writer, health, metrics)
        path = DocumentPath(
            Planner(settings, chunker, generation),
            self.embedder,
            WriteQueue(index.writer, health, metrics),
            RecordSuspects(index.writer, health, metrics),
            self.dead_letters,
            together=profile.late_chunking,
            first_cutting=worker.order is Order.OFFSET and generation == 0,
        )
        decoder = Decoder(settings)
        self.dispatcher = Dispatcher(
            decoder, ranking, index.reader, path, self.ledger, self.back_pressure, health, metrics
        )
        self.consumer = Consumer(kafka, self.back_pressure, health, metrics)
        positions = LogPositions(kafka, self.consumer, index.bookkeeping, ranking, health, metrics)
        self.committer = Committer(
            self.ledger, self.consumer.commit, kafka.session_timeout_s, metrics, positions.write_progress
        )
        self.share = KeyShare(Share(kafka.session_timeout_s), self.embedder, self.committer)
        self.partitions = AssignedPartitions(
            self.consumer,
            positions,
            self.ledger,
            self.back_pressure,
            self.dispatcher,
            self.committer,
            self.share,
            metrics,
            worker.drain_timeout_s,
        )

    async def run(self, leave: Callable[[], Awaitable[None]]) -> None:
        """Read and work until `stop_fetching`, then `leave`, which drains and commits."""
        async with asyncio.TaskGroup() as group:
            loops = (
                self.dispatcher.run(),
                self.embedder.run(),
                self.committer.run(),
                self.share.run(),
                self._delete_tombstones_forever(),
            )
            tasks = [group.create_task(loop) for loop in loops]
            try:
                await self.consumer.run(self.dispatcher.accept, self.partitions)
            except BaseException:
                self.dispatcher.abort()  # a crash: what is in flight cannot be finished
                raise
            finally:
                await leave()
                for task in tasks:
                    task.cancel()

    def use_key(self, jina: JinaSettings) -> None:
        """Use other limits of the key, and the key itself, from now on."""
        self.embedder.set_limits(*jina.effective_limits)
        self.embedder.reread_key(jina)

    async def _delete_tombstones_forever(self) -> None:
        while True:
            await retry_forever(self._index.writer.delete_expired_tombstones, self._health, self._metrics)
            await asyncio.sleep(TOMBSTONES_EVERY_S)
