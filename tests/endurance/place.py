"""The neighbours of one worker that runs for long: real Kafka, the benchmark's stubs, and links to them that can break.

The stubs cost next to nothing and answer at once, so that the worker is what is put under load.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.documents import Message
from bench.neighbours import Neighbours, stubs_beside
from chaos.proxy import Link
from harness import guardian
from harness.kafka import Kafka
from harness.kafka_broker import KafkaCluster
from harness.processes import WorkerProcess

PARTITIONS = 12  # so many that the bound of bytes is met before the bound of records per partition
# Far above what one core can do: what is measured is work, not waiting for a limit.
REQUESTS_PER_MINUTE = 10_000_000
TOKENS_PER_MINUTE = 1_000_000_000_000

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Place:
    """What surrounds a worker."""

    kafka: Kafka
    topic: str  # also the name of the group and of the collection
    stubs: Neighbours
    jina: Link
    qdrant: Link
    directory: Path

    async def feed(self, messages: Iterable[Message]) -> None:
        """Write to the topic, by key over the partitions, and wait until Kafka has it all."""
        await asyncio.to_thread(self.stubs.kafka.feed, self.topic, messages)

    def worker(self, *, through_links: bool, **settings: str) -> WorkerProcess:
        """A worker that is yet to be started. `settings` are further variables, over those of the place."""
        jina_port = self.jina.port if through_links else self.stubs.jina.port
        grpc_port = self.qdrant.port if through_links else self.stubs.qdrant.grpc_port
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "JINA_API_KEY": "endurance",
            "QDRANT_URL": "http://127.0.0.1",
            "STREAMDEX_KAFKA__TOPICS": self.topic,
            "STREAMDEX_KAFKA__GROUP_ID": self.topic,
            "STREAMDEX_JINA__BASE_URL": f"http://127.0.0.1:{jina_port}/v1",
            "STREAMDEX_JINA__REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
            "STREAMDEX_JINA__TOKENS_PER_MINUTE": str(TOKENS_PER_MINUTE),
            "STREAMDEX_QDRANT__GRPC_PORT": str(grpc_port),
            "STREAMDEX_QDRANT__COLLECTION": self.topic,
        }
        return WorkerProcess(environment | settings, self.directory / "worker.log")


@asynccontextmanager
async def open_place(
    directory: Path,
    say: Say,
    *,
    broker: Mapping[str, str] | None = None,
    topic: Mapping[str, str] | None = None,
    qdrant_options: Sequence[str] = (),
) -> AsyncIterator[Place]:
    """Everything but the worker, started; all of it ended afterwards. `broker` and `topic` are settings of Kafka's."""
    async with AsyncExitStack() as opened:
        say("starting Apache Kafka")
        cluster = KafkaCluster(directory / "kafka", 1, broker)
        opened.push_async_callback(asyncio.to_thread, cluster.stop)
        await asyncio.to_thread(cluster.start)
        yield await beside(opened, Kafka(cluster.bootstrap_servers), directory, topic, qdrant_options)


async def beside(
    opened: AsyncExitStack,
    kafka: Kafka,
    directory: Path,
    topic: Mapping[str, str] | None = None,
    qdrant_options: Sequence[str] = (),
) -> Place:
    """The rest of a place, beside a Kafka that is there, with a topic that no other run has."""
    name = await kafka.create_topic(None, PARTITIONS, topic)
    stubs = opened.enter_context(stubs_beside(kafka.bootstrap_servers, qdrant_options=qdrant_options))
    for stub in (stubs.jina, stubs.qdrant):
        guardian.watch(stub.process.pid)
        opened.callback(guardian.forget, stub.process.pid)
    jina = await opened.enter_async_context(Link("jina", 0, stubs.jina.port))
    qdrant = await opened.enter_async_context(Link("qdrant", 0, stubs.qdrant.grpc_port))
    return Place(kafka, name, stubs, jina, qdrant, directory)
