"""I4 while it happens: at every advance of the commits the store is asked for what the commit has just passed.

A commit says "this is done". If it is not in the store at that moment, a crash a moment later loses it, though the end
of the campaign may look well. So the store is read at once, directly, and only what it answers counts: it is never
younger than the commit, so whatever is missing was missing when the commit was made.

Each look leaves a line in `watch.jsonl`: {at, read_at, partition, offset, checked, passed_over, unsettled: [offsets]}.
`at`: when the commit was seen; `read_at`: when the store had answered. While Kafka or Qdrant does not answer, it is
tried again, so that a line may be late but none is left out; a late look can miss a violation, and never invents one.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from chaos.checker.broker import as_log_record, offsets_of, opened_consumer
from chaos.checker.events import LogRecord, NoEvent, Place, Ranking, decode
from chaos.checker.letters import places_of, read_letters
from chaos.checker.store import bases_of, opened_store, read_manifests, read_reserved
from chaos.run_directory import append_line
from qdrant_client import AsyncQdrantClient
from qdrant_client.http.exceptions import ApiException

EVERY_S = 0.1
AT_MOST = 512  # records of one advance; of more, so many at random
QDRANT_LIMIT_S = 5
TROUBLES = (KafkaError, grpc.RpcError, ApiException, OSError, TimeoutError)


async def watch_commits(run: dict[str, Any], run_dir: Path) -> None:
    """Watch until cancelled. `run` is what stands in `run.json`."""
    watch = CommitWatch(run, run_dir / "watch.jsonl")
    while True:
        try:
            async with _opened(run) as clients:
                while True:
                    await watch.look(clients)
                    await asyncio.sleep(EVERY_S)
        except TROUBLES:
            await asyncio.sleep(EVERY_S)  # with new clients, and from where it was


class Clients:
    """What is asked."""

    def __init__(
        self, admin: AIOKafkaAdminClient, topic: AIOKafkaConsumer, letters: AIOKafkaConsumer, qdrant: AsyncQdrantClient
    ) -> None:
        self.admin = admin
        self.topic = topic
        self.letters = letters
        self.qdrant = qdrant


@asynccontextmanager
async def _opened(run: dict[str, Any]) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        admin = AIOKafkaAdminClient(bootstrap_servers=run["kafka"])
        stack.push_async_callback(admin.close)
        await admin.start()
        topic = await stack.enter_async_context(opened_consumer(run["kafka"]))
        letters = await stack.enter_async_context(opened_consumer(run["kafka"]))
        qdrant = await stack.enter_async_context(opened_store(run["qdrant"]["grpc_port"], QDRANT_LIMIT_S))
        yield Clients(admin, topic, letters, qdrant)


class CommitWatch:
    """Knows how far it has looked. A look that fails changes nothing: the next one does it again."""

    def __init__(self, run: dict[str, Any], path: Path) -> None:
        self._run = run
        self._path = path
        self._seen: dict[int, int] = {}
        self._ranking = Ranking(run.get("order", "offset"), {})
        self._dice = random.Random(run["seed"])

    async def look(self, clients: Clients) -> None:
        """Once."""
        found = await offsets_of(clients.admin, self._run["group"], self._run["topic"])
        at = time.time()
        for partition, offset in sorted(found.items()):
            if offset > self._seen.get(partition, 0):
                await self._advanced(clients, at, partition, offset)

    async def _advanced(self, clients: Clients, at: float, partition: int, offset: int) -> None:
        begin = self._seen.get(partition, 0)
        records = await read_range(clients.topic, self._run["topic"], partition, (begin, offset))
        some = records if len(records) <= AT_MOST else self._dice.sample(records, AT_MOST)
        unsettled = await self._unsettled(clients, some)
        line: dict[str, Any] = {"at": at, "read_at": time.time(), "partition": partition, "offset": offset}
        line |= {"checked": len(some), "passed_over": len(records) - len(some), "unsettled": unsettled}
        append_line(self._path, line)
        self._seen[partition] = offset

    async def _unsettled(self, clients: Clients, records: Sequence[LogRecord]) -> list[int]:
        """The offsets of those that neither a manifest nor a dead letter speaks of."""
        ranking = await self._known_ranking(clients, records)
        open_ones = await _not_in_manifests(clients.qdrant, self._run["qdrant"]["collection"], records, ranking)
        if open_ones:
            lettered = await self._lettered(clients.letters)
            open_ones = [record for record in open_ones if record.place not in lettered]
        return sorted(record.offset for record in open_ones)

    async def _known_ranking(self, clients: Clients, records: Sequence[LogRecord]) -> Ranking:
        """A base stands fast once its partition has been seen, which is before its first commit."""
        if not {record.partition for record in records} <= self._ranking.bases.keys():
            reserved = await read_reserved(clients.qdrant, self._run["qdrant"]["collection"], "base")
            self._ranking = Ranking(self._ranking.order, bases_of(reserved, self._run["topic"]))
        return self._ranking

    async def _lettered(self, consumer: AIOKafkaConsumer) -> set[Place]:
        """The places of all dead letters there are now. Poison is rare: the topic is read from its start each time."""
        topic = self._run["dead_letter_topic"]
        await consumer.topics()
        found: list[LogRecord] = []
        for number in sorted(consumer.partitions_for_topic(topic) or ()):
            end = await _end(consumer, TopicPartition(topic, number))
            found += await read_range(consumer, topic, number, (0, end))
        return places_of(read_letters(found, self._run["topic"]))


async def _not_in_manifests(
    client: AsyncQdrantClient, collection: str, records: Iterable[LogRecord], ranking: Ranking
) -> list[LogRecord]:
    wanted = []
    missing = []
    for record in records:
        try:
            event = decode(record)
            wanted.append((record, event.document_key, ranking.of(record, event)))
        except NoEvent:
            missing.append(record)
    manifests = await read_manifests(client, collection, {key for _, key, _ in wanted}) if wanted else {}
    for record, key, rank in wanted:
        if key not in manifests or ranking.stored(manifests[key])[0] < rank:
            missing.append(record)
    return missing


async def _end(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    return int((await consumer.end_offsets([partition]))[partition])


async def read_range(consumer: AIOKafkaConsumer, topic: str, partition: int, span: tuple[int, int]) -> list[LogRecord]:
    """The committed records of a partition from one offset to before another; the consumer reads nothing else."""
    begin, end = span
    at = TopicPartition(topic, partition)
    consumer.assign([at])
    consumer.seek(at, begin)
    records: list[LogRecord] = []
    async with asyncio.timeout(30.0):
        while await consumer.position(at) < end:
            fetched = await consumer.getmany(at, timeout_ms=100)
            records.extend(map(as_log_record, fetched.get(at, ())))
    return [record for record in records if record.offset < end]
