"""A deployment for tests of the whole: a topic on real Kafka, a collection, and workers as users run them."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.fixtures_qdrant import QdrantAddress
from harness.kafka import Kafka, Message
from harness.processes import WorkerProcess
from oracle.fold import fold, read_collection, without_blanks
from streamdex.standins.jina import JinaServer

KEY = "jina_canary_5f1e"
LIMIT_S = 100.0


@dataclass
class Deployment:
    """A topic, a collection and a stand-in for the embedding service; workers of it share a group."""

    kafka: Kafka
    jina: JinaServer
    qdrant: QdrantAddress
    collection: str
    topic: str
    group: str
    folder: Path
    produced: list[tuple[bytes | None, bytes | None]] = field(default_factory=list)
    number: int = 1  # of the collection that the name leads to
    wrong: list[str] = field(default_factory=list)  # what the last comparison found wrong in the collection itself

    def worker(self, name: str = "worker", **settings: str) -> WorkerProcess:
        """A worker that is yet to be started. `settings` are further variables, over those of the deployment."""
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "JINA_API_KEY": KEY,
            "STREAMDEX_JINA__BASE_URL": self.jina.base_url,
            "STREAMDEX_JINA__LIMITS": "premium",
            "QDRANT_URL": self.qdrant.url,
            "STREAMDEX_QDRANT__GRPC_PORT": str(self.qdrant.grpc_port),
            "STREAMDEX_QDRANT__COLLECTION": self.collection,
            "STREAMDEX_KAFKA__TOPICS": self.topic,
            "STREAMDEX_KAFKA__GROUP_ID": self.group,
        }
        if self.qdrant.api_key:
            environment["QDRANT_API_KEY"] = self.qdrant.api_key
        return WorkerProcess(environment | settings, self.folder / f"{name}.log")

    async def produce(self, messages: list[Message]) -> None:
        """Write to the topic, and keep the records for the fold."""
        await self.kafka.produce(self.topic, messages)
        self.produced.extend((message.key, message.value) for message in messages)

    async def settled(self) -> None:
        """Wait until the group has committed all there is."""
        ends = await self.kafka.end_offsets(self.topic)
        async with asyncio.timeout(LIMIT_S):
            while await self.kafka.committed(self.group) != ends:
                await asyncio.sleep(0.3)

    async def work_it_off(self, name: str = "worker", **settings: str) -> int:
        """Run one worker until all is settled, and stop it. Returns how many texts it embedded."""
        before = self.jina.stats.inputs_embedded
        async with self.worker(name, **settings) as worker:
            await self.settled()
            assert await worker.stop() == 0
        return self.jina.stats.inputs_embedded - before

    async def catch_up(self, name: str, **settings: str) -> WorkerProcess:
        """Run one worker until the collection equals the fold, where the group's commits cannot tell. It has ended."""
        async with self.worker(name, **settings) as worker, asyncio.timeout(LIMIT_S):
            while not worker.events("partitions.assigned") or not await self.equals_the_fold():
                assert worker.running
                await asyncio.sleep(0.3)
            assert await worker.stop() == 0
        return worker

    async def equals_the_fold(self) -> bool:
        """Whether the collection holds what was produced, and nothing is wrong in itself."""
        found = await read_collection(self.qdrant, self.collection, self.number)
        self.wrong = found.wrong
        return found.wrong == [] and without_blanks(found.texts) == without_blanks(fold(self.produced))


def stream(documents: int, rng: random.Random) -> list[Message]:
    """New documents, of which a fifth is updated and a twentieth deleted, all in one order."""
    events: list[tuple[str, str | None]] = [(f"doc-{number}", sentence(rng)) for number in range(documents)]
    updated = rng.sample(range(documents), documents // 5)
    deleted = rng.sample(range(documents), documents // 20)
    events += [(f"doc-{number}", sentence(rng) * 3) for number in updated]
    events += [(f"doc-{number}", None) for number in deleted]
    return [message(document, text) for document, text in events]


def message(document: str, text: str | None) -> Message:
    value = (
        None if text is None else json.dumps({"id": document, "text": text, "metadata": {"size": len(text)}}).encode()
    )
    return Message(document.encode(), value)


WORDS = ("kafka", "vector", "index", "stream", "offset", "commit", "search", "replica", "document", "chunk")


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(5, 60))) + ". "


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.1)
