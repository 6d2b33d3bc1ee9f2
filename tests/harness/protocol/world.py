"""A small world for the write protocol: workers, a log, a store and time, in which nothing moves unless it is told to.

The workers are the shipped stages, the store is the real engine; Kafka, the embedding service, the
dead-letter topic and time are played. A request to the store is let through, loses its answer, or lands later. Free of
pytest.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import orjson
import structlog

from harness.protocol.deployments import HORIZON_S, PARTITIONS
from harness.protocol.time import HandLoop
from harness.protocol.worker import Asked, HandLetters, Worker
from streamdex.model import Order, Partition, Record
from streamdex.settle import Tracker
from streamdex.standins.qdrant import Engine, QdrantRefusal


@dataclass(eq=False)
class Late:
    """A request whose sender has given it up; it may land until `until_s`."""

    worker: "Worker"
    method: str
    request: Any
    until_s: float
    trackers: tuple[Tracker, ...]  # the assignments of its sender when it gave up


class World:
    """Log, group, store and time, and the workers in it.

    `bound`: records open per partition. `renamed`: generation 1 stores text and metadata under other keys.
    """

    def __init__(
        self,
        engine: Engine,
        order: Order,
        *,
        bound: int = 2,
        late_chunking: bool = False,
        renamed: bool = False,
        embed_at_once: bool = True,
    ) -> None:
        self.engine = engine
        self.order = order
        self.bound = bound
        self.late_chunking = late_chunking
        self.renamed = renamed
        self.embed_at_once = embed_at_once
        self.collection = f"{order.value}__1"
        self.loop = HandLoop()
        self.dead_letters = HandLetters()
        self.log: dict[Partition, list[Record]] = {partition: [] for partition in PARTITIONS}
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.owner: dict[Partition, Tracker | None] = dict.fromkeys(PARTITIONS)
        self.workers: list[Worker] = []
        self.late: list[Late] = []
        self.tasks: list[asyncio.Task[Any]] = []
        engine.clear(self.collection)
        engine.clear(f"{self.collection}__manifests")

    # --- the log

    def produce(self, partition: Partition, event: dict[str, Any]) -> None:
        """Append an event to the log."""
        log = self.log[partition]
        log.append(Record(*partition, len(log), 1_790_000_000_000 + len(log), None, orjson.dumps(event)))

    # --- the group

    def start(self, name: str, generation: int = 0) -> Worker:
        """A process starts; it owns nothing yet."""
        worker = Worker(self, name, generation)
        self.workers.append(worker)
        self.loop.settle_down()
        return worker

    def assign(self, worker: Worker, partition: Partition) -> None:
        """The partition is the worker's from now on, and is read from its last commit."""
        start = self.committed[partition]
        tracker = worker.ledger.assign(partition, start)
        worker.trackers[partition] = self.owner[partition] = tracker
        worker.at[partition] = start

    def lose_silently(self, partition: Partition) -> None:
        """The group gives up on the owner, which does not know and goes on: a zombie."""
        self.owner[partition] = None

    def revoke(self, worker: Worker, partition: Partition) -> None:
        """The worker hears that the partition leaves it; it may still own it, and then commits."""
        self.loop.do(lambda: worker.hear_of_loss(partition))

    def commit(self, worker: Worker) -> None:
        """A commit: the group takes it for partitions that the worker owns."""
        marks = {partition: mark for partition, mark in worker.ledger.moved().items() if worker.owns(partition)}
        self.committed.update({partition: mark.offset for partition, mark in marks.items()})
        worker.ledger.noted(marks.values())

    def kill(self, worker: Worker, lands: Callable[[], bool] = lambda: True) -> None:
        """The process ends between two instructions. What it has sent lands now or never."""
        worker.dead = True
        self.workers.remove(worker)
        for partition in PARTITIONS:
            if worker.owns(partition):
                self.owner[partition] = None
        for task in worker.tasks:
            task.cancel()
        self.loop.settle_down()
        for late in [late for late in self.late if late.worker is worker]:
            self.late.remove(late)
            if lands():
                self._apply(late)

    # --- the store and time

    def answer(self, asked: Asked) -> None:
        """The request takes effect and is answered."""
        asked.answer.set_result(None)
        self.loop.settle_down()

    def lose(self, asked: Asked, *, may_land: bool = True) -> None:
        """The sender learns that the connection broke. The request may still take effect, or never will."""
        if may_land:
            self.given_up(asked)
        asked.answer.set_exception(QdrantRefusal(grpc.StatusCode.UNAVAILABLE, "Socket closed"))
        self.loop.settle_down()

    def given_up(self, asked: Asked) -> None:
        """A request without an answer may land until the horizon; one that only reads is forgotten."""
        if asked.method != "Points.Get":
            trackers = tuple(asked.worker.trackers.values())
            self.late.append(Late(asked.worker, asked.method, asked.request, self.loop.now_s + HORIZON_S, trackers))

    def land(self, late: Late) -> None:
        """A request that was given up takes effect after all."""
        self.late.remove(late)
        self._apply(late)

    def _apply(self, late: Late) -> None:
        with contextlib.suppress(QdrantRefusal):  # nobody is left to be told
            self.engine.handle(late.method, late.request)

    def pass_time(self) -> None:
        """Until the next timer; what was given up lands before its horizon is over."""
        until_s = self.loop.next_timer_s
        assert until_s is not None, "no timer is set"
        for late in [late for late in self.late if late.until_s <= until_s]:
            self.land(late)
        self.loop.now_s = until_s
        self.loop.settle_down()

    def close(self) -> None:
        """End all workers; a stage that has died of a bug fails the world."""
        self.loop.end()
        died = [task.exception() for task in self.tasks if task.done() and not task.cancelled()]
        assert [bug for bug in died if bug] == []
        assert self.loop.bugs == []


@contextlib.contextmanager
def world(engine: Engine, order: Order, **options: Any) -> Iterator[World]:
    """A world that is closed afterwards; the workers' own bugs, which they only log, fail it."""
    made = World(engine, order, **options)
    try:
        with structlog.testing.capture_logs() as lines:
            random.seed(0)  # the jitter of retries
            yield made
    finally:
        made.close()
    wrong = [line for line in lines if line["event"] in ("internal.fault", "settle.twice")]
    assert wrong == []
