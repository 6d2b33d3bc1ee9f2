"""The neighbours of what is measured: a real Kafka, and stubs of the embedding service and of Qdrant, all apart."""

import http.client
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from bench.documents import Message

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))  # where the broker that the tests run on is started

from harness.kafka_backends import Say, any_kafka  # noqa: E402  # after the path above

FLUSH_S = 60.0
STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Stub:
    """A stub server's process, and where it listens."""

    process: psutil.Process
    port: int
    grpc_port: int = 0

    def stats(self) -> dict[str, Any]:
        """What it was asked so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/stats")
            found: dict[str, Any] = orjson.loads(connection.getresponse().read())
        finally:
            connection.close()
        return found


class Kafka:
    """Topics of one broker, of names that no other run has: made, filled, moved back, and removed at the end."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._run = f"bench-{uuid.uuid4().hex[:8]}"
        self._topics: list[str] = []
        # The end of the broker is no news.
        self._common: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap_servers, "log_level": 2}
        self._admin = AdminClient(self._common)
        self._producer = Producer(self._common | {"linger.ms": 5, "batch.num.messages": 1_000})

    def create(self, stem: str, partitions: int) -> str:
        """Make a topic; returns its name."""
        topic = f"{self._run}-{stem}"
        self._admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(FLUSH_S)
        self._topics.append(topic)
        return topic

    def remove_topics(self) -> None:
        """Remove what was made: the broker may be somebody's own."""
        if self._topics:
            for removed in self._admin.delete_topics(self._topics).values():
                removed.result(FLUSH_S)

    def feed(self, topic: str, messages: Iterable[Message]) -> None:
        """Write records, by key over the partitions, and wait for their acknowledgement."""
        for key, value in messages:
            while True:
                try:
                    self._producer.produce(topic, value, key)
                    break
                except BufferError:  # the queue to the broker is full
                    self._producer.poll(0.1)
        if self._producer.flush(FLUSH_S):
            raise TimeoutError("Kafka did not take the documents in time")

    def rewind(self, topic: str, group: str, partitions: int) -> None:
        """Let a group without members begin at the beginning."""
        consumer = Consumer(self._common | {"group.id": group})
        try:
            offsets = [TopicPartition(topic, number, 0) for number in range(partitions)]
            consumer.commit(offsets=offsets, asynchronous=False)
        finally:
            consumer.close()


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All of them."""

    kafka: Kafka
    jina: Stub
    qdrant: Stub


@contextmanager
def neighbours(directory: Path, say: Say, *jina_options: str) -> Iterator[Neighbours]:
    """Start all of them, for as long as the context lasts. Raises kafka_backends.NoKafkaError."""
    with any_kafka(directory, say) as backend, stubs_beside(backend.bootstrap_servers, *jina_options) as place:
        yield place


@contextmanager
def stubs_beside(
    bootstrap_servers: str, *jina_options: str, qdrant_options: Sequence[str] = ()
) -> Iterator[Neighbours]:
    """The stubs alone, beside a Kafka that is there."""
    kafka = Kafka(bootstrap_servers)
    with (
        _stub("bench.stubs.embeddings", *jina_options) as jina,
        _stub("bench.stubs.qdrant", *qdrant_options) as qdrant,
    ):
        try:
            yield Neighbours(kafka, jina, qdrant)
        finally:
            kafka.remove_topics()


@contextmanager
def _stub(module: str, *arguments: str) -> Iterator[Stub]:
    with running(["-m", module, *arguments], {}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ports = orjson.loads(process.stdout.readline())
        yield Stub(psutil.Process(process.pid), **ports)


@contextmanager
def running(
    arguments: list[str], variables: Mapping[str, str], stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process, ended in order with the context. It sees no settings of the caller's own neighbours."""
    ours = ("STREAMDEX_", "KAFKA_", "JINA_", "QDRANT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env={**environment, **variables}, stdout=stdout)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
