"""Whole workers in this process, for the mutants' scenarios, with a judge who watches.

The workers are the shipped pipeline. Played are the neighbours at the network's edge alone: Kafka in memory, Qdrant's
engine without its network, and the Jina-compatible server on loopback.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import structlog

from harness.bounds import Bound, set_bound
from mutants.judge import MANIFESTS, POINTS, SPACE, Judge, held
from mutants.kafka_group import TOPIC, Group, Member
from mutants.mutant import Violation, Wrong
from mutants.shared_engine import emptied, shared_engine
from streamdex.admin import unready_reasons
from streamdex.config import Settings
from streamdex.model import Partition
from streamdex.run.worker import Worker
from streamdex.standins.jina import JinaServer, Latency, Options
from streamdex.standins.qdrant import DirectClient, Engine, QdrantRefusal, QdrantService

BOUND = 64  # records open per partition
LOOK_EVERY_S = 0.005
STUCK_AFTER = 400  # looks without any progress, with nothing in the way
LIMIT_S = 40.0

# What is slow on purpose becomes quick: the scenarios ask what happens, not when.
SHORT = {
    Bound.BASE_S: 0.005,
    Bound.CAP_S: 0.05,
    Bound.TICK_S: 0.02,
    Bound.SHARE_EVERY_S: 0.01,
    Bound.QUIET_S: 0.1,
    Bound.AFTER_FAILURE_S: 0.01,
    Bound.WELL_AFTER_S: 0.05,
    Bound.ACCOUNT_RETRY_S: 0.02,
}


class Replica:
    """One worker, with its own way to the store."""

    def __init__(self, group: Group, engine: Engine, settings: Settings, name: str) -> None:
        self.service = QdrantService(engine)
        self._group = group
        self._name = name
        self.worker = Worker(settings, name)
        self.running: asyncio.Task[int] | None = None

    @property
    def member(self) -> Member:
        """Its place in the group."""
        return self._group.members[self._name]

    @property
    def has_joined(self) -> bool:
        """Whether it is ready for its partitions."""
        return self._name in self._group.members and self.member.listener is not None

    @property
    def share(self) -> float:
        """The part of the key's limits that it uses."""
        if not self.has_joined or self.member.dead:
            return 0.0
        return self.worker.metrics.registry.get_sample_value("streamdex_limit_share") or 0.0

    @property
    def requests_to_come(self) -> int:
        """What is under way to the embedding service, or will be sent again."""
        status: Any = self.worker.status()
        if "embedding" not in status:
            return 0
        return int(status["embedding"]["waiting_requests"] + status["limits"]["concurrency"]["used"])

    @property
    def unready_reasons(self) -> dict[str, str]:
        """What readiness says."""
        return unready_reasons(self.worker.health_snapshot())

    async def kill(self) -> None:
        """As by kill -9: nothing more of it comes through."""

        async def refuse(*_: object) -> None:
            raise QdrantRefusal(grpc.StatusCode.UNAVAILABLE, "gone")

        self.member.dead = True
        self.service.before = refuse
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
        await self.service.close()


class Stage:
    """The neighbours, the log, the workers and the judge."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.group = Group()
        self.judge = Judge(engine, self.group)
        self.jina_open = asyncio.Event()
        self.jina_open.set()
        self.jina = JinaServer(Options(latency=Latency(base_ms=1)), sleep=self._hold_answer)
        self.workers: dict[str, Replica] = {}
        self.lines: list[MutableMapping[str, Any]] = []  # what the workers have logged

    async def _hold_answer(self, _: float) -> None:
        await self.jina_open.wait()

    def client(self, settings: Any, *_: object) -> DirectClient:
        """A client of the store for the worker whose name stands in the address."""
        return DirectClient(self.workers[settings.url.removeprefix("http://")].service)

    def _settings(self, name: str, worker: dict[str, Any], others: dict[str, dict[str, Any]]) -> Settings:
        """A worker's settings; its name stands in the addresses, so that the neighbours know who is speaking."""
        limits = {"dimensions": SPACE.dimension, "limits": "premium"}
        sections: dict[str, dict[str, Any]] = {
            "kafka": {"bootstrap_servers": f"{name}:9092", "topics": TOPIC},
            "jina": {"base_url": self.jina.base_url, "api_key": "key", **limits},
            "qdrant": {"url": f"http://{name}"},
            "worker": {"request_horizon_s": 0.1, "drain_timeout_s": 5.0, "open_records": BOUND, **worker},
        }
        return Settings.model_validate({**sections, **others, "jina": sections["jina"] | others.get("jina", {})})

    async def start(
        self, name: str, *partitions: Partition, others: dict[str, dict[str, Any]] | None = None, **worker: Any
    ) -> Replica:
        """A worker that has joined; with partitions, it gets these, and is alone.

        `worker` are settings of that section, `others` of other sections.
        """
        settings = self._settings(name, worker, others or {})
        started = self.workers[name] = Replica(self.group, self.engine, settings, name)
        started.running = asyncio.create_task(started.worker.run())
        await self.until(lambda: started.has_joined)
        if partitions:
            await self.group.deal({name: partitions})
        return started

    # --- the log

    def produce(self, partition: Partition, document: str, text: str) -> None:
        """Append an event of a document, which comes to one chunk."""
        value = json.dumps({"id": document, "text": text}).encode()
        self.group.produce(partition, document.encode(), value)

    def produce_poison(self, partition: Partition, value: bytes, headers: Any = ()) -> None:
        """Append a record that must become a dead letter."""
        self.judge.poison.add((partition, len(self.group.log[partition])))
        self.group.produce(partition, b"key", value, headers)

    # --- waiting, with the judge looking on

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait, unless something wrong is found first."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await self.look()

    async def look(self) -> None:
        """Let a moment pass. Raises the first thing that was found wrong, and what a worker has crashed of."""
        for worker in self.workers.values():
            if worker.running is not None and worker.running.done() and not worker.running.cancelled():
                worker.running.result()
        if sum(worker.share for worker in self.workers.values()) > 1:
            self.judge.find(Wrong.SHARES)
        if self.judge.found:
            raise self.judge.found[0]
        await asyncio.sleep(LOOK_EVERY_S)

    async def until_settled(self) -> None:
        """Wait until all is committed, with nothing in the way any more, and have it judged."""
        looks, progress = 0, self._progress()
        while not self.group.settled:
            await self.look()
            looks, before, progress = looks + 1, progress, self._progress()
            if progress != before:
                looks = 0
            if looks > STUCK_AFTER:
                raise Violation(Wrong.STUCK)
        self.judge.judge_all()

    def _progress(self) -> object:
        """What has come of the log so far."""
        versions = {key: manifest["version"] for key, manifest in held(self.engine).manifests.items()}
        return versions, len(self.group.dead_letters), dict(self.group.committed), self.jina.stats.inputs_embedded


@asynccontextmanager
async def _set_up(engine: Engine) -> AsyncIterator[Stage]:
    emptied(engine, POINTS, MANIFESTS)
    stage = Stage(engine)
    edges = {
        "streamdex.index.client.connection.make_client": stage.client,
        "streamdex.intake.consumer.consumer.survey_all": stage.group.survey,
        "streamdex.intake.consumer.consumer.timestamps_at": stage.group.timestamps,
        "streamdex.intake.consumer.session.make_consumer": stage.group.make_consumer,
        "streamdex.deadletter.producer.prepare_topics": stage.group.no_topics,
        "streamdex.deadletter.client.AIOKafkaProducer": stage.group.make_producer,
    }
    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as stage.lines:
        for bound, value in SHORT.items():
            set_bound(patch, bound, value)
        for place, edge in edges.items():
            patch.setattr(place, edge)
        async with stage.jina:
            try:
                yield stage
            finally:
                stage.jina_open.set()
                for worker in stage.workers.values():
                    await worker.kill()


def played(scenario: Callable[[Stage], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The scenario on a stage of its own, in an event loop of its own."""

    async def play(engine: Engine) -> None:
        async with _set_up(engine) as stage:
            await scenario(stage)

    return lambda: asyncio.run(play(shared_engine()))
