"""One worker of the protocol's schedules: the shipped stages; what lies outside of them is played.

Every request to the store waits in front of it until the world answers: one request is one atomic step.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

from harness.protocol.deployments import (
    BASES,
    DIMENSION,
    DRAIN_S,
    EPOCH,
    METRICS,
    NOW_MS,
    REFUSED,
    chunker_of,
    settings_of,
    vector_of,
)
from streamdex.deadletter import DeadLetters
from streamdex.embed import Embedder, EmbedJob
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.index import Index, WriteQueue
from streamdex.index.client import connection as connection_module
from streamdex.index.client.connection import Connection
from streamdex.index.client.store import CollectionStore, Names
from streamdex.intake import BackPressure, Decoder
from streamdex.model import Order, Partition, Position, Record
from streamdex.plan import Planner, Ranking
from streamdex.run.dead_letters import DeadLetterSender
from streamdex.run.dispatch import Dispatcher
from streamdex.run.document import Document, DocumentPath, OpenRecord
from streamdex.run.suspects import RecordSuspects
from streamdex.settle import Ledger, Tracker, settled_twice_reporter
from streamdex.standins.qdrant import DirectClient, FaultKind, QdrantFault, QdrantService
from streamdex.telemetry import Health

if TYPE_CHECKING:
    from harness.protocol.world import World


@dataclass(eq=False)
class Asked:
    """A request that a worker has sent and the store has not seen."""

    worker: "Worker"
    method: str
    request: Any
    answer: asyncio.Future[None]

    @property
    def step(self) -> str:
        """Which step of the protocol it is."""
        return step_of(self.method, self.request)


def step_of(method: str, request: Any) -> str:
    """The protocol's step that a request is."""
    of_manifests = request.collection_name.endswith("__manifests")
    match method:
        case "Points.UpdateBatch":
            return "points"
        case "Points.Upsert" if of_manifests:
            return "manifests"
        case "Points.Delete":
            return "purge"
        case "Points.Get" if not of_manifests:
            return "kept"
        case "Points.Get" if request.with_payload.WhichOneof("selector_options") == "enable":
            return "plan"
        case "Points.Get":
            return "read back"
    raise AssertionError(f"no step of the protocol: {method}")


class HandEmbedder:
    """The embedding service: a document's vectors come when the world says so."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self.queued: list[EmbedJob] = []
        self._waiting: dict[EmbedJob, asyncio.Future[list[bytes]]] = {}
        self.embedded_texts = 0

    @property
    def queued_inputs(self) -> int:
        return len(self.queued)

    async def embed(self, job: EmbedJob) -> list[bytes]:
        ended: asyncio.Future[list[bytes]] = self._worker.world.loop.create_future()
        self._waiting[job] = ended
        if self._worker.world.embed_at_once:
            self._worker.world.loop.call_soon(self._answer, job)
        else:
            self.queued.append(job)
        try:
            return await ended
        finally:
            del self._waiting[job]
            if job in self.queued:
                self.queued.remove(job)

    def not_begun(self, jobs: Iterable[EmbedJob]) -> list[EmbedJob]:
        return [job for job in jobs if job in self.queued]

    def answer(self, job: EmbedJob) -> None:
        """All vectors of one document, or its fault."""
        self.queued.remove(job)
        self._worker.world.loop.do(lambda: self._answer(job))

    def _answer(self, job: EmbedJob) -> None:
        ended = self._waiting.get(job)
        if ended is None or ended.done():
            return  # its document was cancelled meanwhile
        self.embedded_texts += len(job.texts)
        if any("UNEMBEDDABLE" in text for text in job.texts):
            ended.set_exception(RecordFault(Stage.EMBED, Reason.REFUSED_BY_EMBEDDER, "refused alone"))
            return
        context = "".join("".join(job.texts).split()) if job.together else ""
        ended.set_result([vector_of(text, context) for text in job.texts])

    async def run(self) -> None:
        await asyncio.Event().wait()


@dataclass
class HandLetters:
    """The dead-letter topic: acknowledges at once and remembers what it was sent."""

    sent: list[Position] = field(default_factory=list)

    async def start(self) -> None:
        """Nothing to connect."""

    async def send(self, record: Record, fault: RecordFault, position: Position, *_: object) -> None:
        self.sent.append(position)


class Worker:
    """One process: the shipped stages, and what it believes to own."""

    def __init__(self, world: "World", name: str, generation: int) -> None:
        self.world = world
        self.name = name
        self.generation = generation
        self.asked: list[Asked] = []
        self.trackers: dict[Partition, Tracker] = {}
        self.at: dict[Partition, int] = {}
        self.leaving: set[Partition] = set()
        self.dead = False
        self.service = QdrantService(world.engine)
        self.service.before = self._before
        self.service.faults.inject(QdrantFault(FaultKind.BAD_POINT, frozenset({"Points.UpdateBatch"}), marker=REFUSED))
        self.health = Health()
        self.ledger = Ledger(settled_twice_reporter(METRICS))
        self.back_pressure = BackPressure(world.bound, 1 << 30)
        self.embedder = HandEmbedder(self)
        self.settings = settings_of(world.order, generation, world.late_chunking, world.renamed)
        self.index = self._index()
        self.writes = WriteQueue(self.index.writer, self.health, METRICS)
        self.dispatcher = self._dispatcher()
        self.tasks = [self._spawn(self.dispatcher.run())]

    def __repr__(self) -> str:
        return self.name

    def _spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
        task = self.world.loop.create_task(work)
        self.world.tasks.append(task)
        return task

    def _index(self) -> Index:
        settings = self.settings
        with patch.object(connection_module, "make_client", lambda *_: DirectClient(self.service)):
            connection = Connection(settings.qdrant, METRICS)
        name = self.world.collection
        store = CollectionStore(connection, Names(name, f"{name}__manifests"), replicated=False)
        index = Index(connection, store, settings, DIMENSION, lambda: NOW_MS)
        index.writer._in_doubt._monotonic_s = self.world.loop.time
        return index

    def _dispatcher(self) -> Dispatcher:
        world, settings, writer = self.world, self.settings, self.index.writer
        ranking = Ranking(world.order, EPOCH, self.generation)
        ranking.add_bases({(*partition, EPOCH): base for partition, base in BASES.items()})
        suspects = RecordSuspects(writer, self.health, METRICS)
        dead_letters = DeadLetterSender(cast("DeadLetters", world.dead_letters), writer, self.health, METRICS)
        embedder = cast("Embedder", self.embedder)
        path = DocumentPath(
            Planner(settings, chunker_of(world.order, self.generation, world.late_chunking), self.generation),
            embedder,
            self.writes,
            suspects,
            dead_letters,
            together=world.late_chunking,
            first_cutting=world.order is Order.OFFSET and self.generation == 0,
        )
        return Dispatcher(
            Decoder(settings),
            ranking,
            self.index.reader,
            path,
            self.ledger,
            self.back_pressure,
            self.health,
            METRICS,
        )

    async def _before(self, method: str, request: Any) -> None:
        """Hold a request in front of the store until the world answers it."""
        if not method.startswith("Points."):
            return
        asked = Asked(self, method, request, self.world.loop.create_future())
        self.asked.append(asked)
        try:
            await asked.answer
        except asyncio.CancelledError:  # the client's time limit, or the end of the process
            self.world.given_up(asked)
            raise
        finally:
            self.asked.remove(asked)

    # --- Kafka's side

    def accept(self, partition: Partition, count: int = 1) -> int:
        """Up to `count` records of a partition, as far as the gate lets them through."""
        before = self.at[partition]
        self.world.loop.do(lambda: self._accept(partition, count))
        return self.at[partition] - before

    def _accept(self, partition: Partition, count: int) -> None:
        log = self.world.log[partition]
        for _ in range(count):
            if not self.may_accept(partition):
                return
            at = self.at[partition]
            self.at[partition] = at + 1
            self.dispatcher.accept(partition, [log[at]], at + 1)

    def may_accept(self, partition: Partition) -> bool:
        """Whether there is a record that the gate lets through."""
        return (
            partition in self.trackers
            and partition not in self.leaving
            and self.at[partition] < len(self.world.log[partition])
            and not self.back_pressure.paused(partition)
        )

    def owns(self, partition: Partition) -> bool:
        """Whether the group agrees that the partition is this worker's."""
        return partition in self.trackers and self.world.owner[partition] is self.trackers[partition]

    @property
    def strays(self) -> bool:
        """Whether it is a zombie: busy with, or waiting to hear about, what is no longer its own."""
        under_way = [one for records in self.dispatcher._open.values() for one in records]
        documents = [one for one in under_way if isinstance(one, Document)]
        waiting = self.dispatcher._lanes.waiting
        records: list[OpenRecord] = [
            *under_way,
            *waiting,
            *(old for one in (*documents, *waiting) for old in one.coalesced),
        ]
        trackers = {one.ticket._tracker for one in records}
        trackers.update(tracker for late in self.world.late if late.worker is self for tracker in late.trackers)
        trackers.update(self.trackers.values())
        foreign = any(tracker is not self.world.owner[tracker.partition] for tracker in trackers)
        mine = {document.document_id for document in documents}
        return foreign or self._deletes_abandoned or not mine.issuperset(self.index.writer._in_doubt._until_s)

    @property
    def _deletes_abandoned(self) -> bool:
        waiting: Any = self.writes._abandoned
        return not waiting.empty() or not waiting._getters

    def hear_of_loss(self, partition: Partition) -> None:
        """A revocation reaches the worker."""
        self.tasks.append(self._spawn(self._leave(partition)))

    async def _leave(self, partition: Partition) -> None:
        """The drain, the commit, the end of the tracker."""
        self.leaving.add(partition)
        await self.dispatcher.drain([partition], DRAIN_S)
        self.world.commit(self)
        if self.owns(partition):
            self.world.owner[partition] = None
        self.ledger.revoke([partition])
        self.back_pressure.revoked(partition)
        self.leaving.discard(partition)
        del self.trackers[partition]

    # --- for scripts: one request at a time

    def step(self, *steps: str) -> "Worker":
        """Let the one request that waits through, and see that it is the step named; then the next."""
        for step in steps:
            self.world.answer(self._only(step))
        return self

    def lose(self, step: str) -> "Worker":
        """The one request that waits gets no answer; it may land later."""
        self.world.lose(self._only(step))
        return self

    def run(self) -> "Worker":
        """Let everything through that this worker sends."""
        while self.asked:
            self.answer_all()
        return self

    def answer_all(self) -> None:
        """Let everything through that waits now."""
        for asked in list(self.asked):
            self.world.answer(asked)

    def _only(self, step: str) -> Asked:
        waiting = [asked.step for asked in self.asked]
        assert waiting == [step], f"{self} has asked for {waiting}, not for {step}"
        return self.asked[0]
