"""I4 while it happens: at every advance of the commits the store is asked for what the commit has just passed.

A commit says "this is done". If it is not in the store at that moment, a crash a moment later loses it, though the end
of the campaign may look well. So the store is read at once, directly, and only what it answers counts: it is never
younger than the commit, so whatever is missing was missing when the commit was made.

Each look that sees an advance leaves a line in `watch.jsonl`: {at, read_at, offsets: {partition: offset}, checked,
passed_over, unsettled: [[partition, offset]]}. `at`: when the commits were seen; `read_at`: when the store had
answered. While Kafka or Qdrant does not answer, it is tried again, so that a line may be late but none is left out; a
late look can miss a violation, and never invents one. What kept it from looking stands there too: {at, trouble}.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException

from chaos.checker.broker import Tail, offsets_of, opened_admin, opened_tail
from chaos.checker.dead_letters import places_of, read_letters
from chaos.checker.events import LogRecord, Place, Ranking, decodable
from chaos.checker.store import bases_of, opened_store, read_manifests, read_reserved
from chaos.run_directory import append_line

Run = Mapping[str, Any]

EVERY_S = 0.1
AT_MOST = 512  # records of one advance; of more, so many at random
QDRANT_LIMIT_S = 5
KAFKA_LIMIT_S = 5.0
LOOK_LIMIT_S = 20.0  # for all of a look, and for opening the clients: each of their calls may hang
TROUBLES = (KafkaError, grpc.RpcError, ApiException, QdrantException, OSError)  # a TimeoutError is an OSError


async def watch_commits(run_dir: Path) -> None:
    """Watch until cancelled. `run.json` must stand in the directory."""
    run = json.loads((run_dir / "run.json").read_text())
    watch = CommitWatch(run, run_dir / "watch.jsonl")
    while True:
        try:
            async with asyncio.timeout(LOOK_LIMIT_S) as limit, _opened(run, watch.seen) as clients:
                while True:
                    limit.reschedule(asyncio.get_running_loop().time() + LOOK_LIMIT_S)
                    await watch.look(clients)
                    await asyncio.sleep(EVERY_S)
        except TROUBLES as trouble:
            append_line(run_dir / "watch.jsonl", {"at": time.time(), "trouble": type(trouble).__name__})
            await asyncio.sleep(EVERY_S)  # with new clients, and from where it was


class Clients(NamedTuple):
    """What is asked."""

    admin: AIOKafkaAdminClient
    topic: Tail
    qdrant: AsyncQdrantClient


@asynccontextmanager
async def _opened(run: Run, seen: Mapping[int, int]) -> AsyncIterator[Clients]:
    kafka = run["kafka"]
    async with (
        opened_admin(kafka) as admin,
        opened_tail(kafka, run["topic"], seen) as topic,
        opened_store(run["qdrant"]["grpc_port"], QDRANT_LIMIT_S) as qdrant,
    ):
        yield Clients(admin, topic, qdrant)


class CommitWatch:
    """Knows how far it has looked (`seen`). A look that fails changes nothing: the next one does it again."""

    def __init__(self, run: Run, path: Path) -> None:
        self._run = run
        self._path = path
        self._ranking = Ranking(run.get("order", "offset"), {})
        self._rng = random.Random(run["seed"])
        self._lettered: set[Place] = set()
        self._letters_read: dict[int, int] = {}
        self.seen: dict[int, int] = {}

    async def look(self, clients: Clients) -> None:
        """Once."""
        found = await offsets_of(clients.admin, self._run["group"], self._run["topic"], KAFKA_LIMIT_S)
        at = time.time()
        ahead = {number: offset for number, offset in found.items() if offset > self.seen.get(number, 0)}
        if not ahead:
            return
        await clients.topic.read_to(ahead, KAFKA_LIMIT_S)
        passed = [record for record in clients.topic.buffer if record.offset < ahead.get(record.partition, 0)]
        some = passed if len(passed) <= AT_MOST else self._rng.sample(passed, AT_MOST)
        unsettled = await self._unsettled(clients, some)
        line = {"at": at, "read_at": time.time(), "offsets": ahead, "checked": len(some)}
        line |= {"passed_over": len(passed) - len(some), "unsettled": [record.place for record in unsettled]}
        append_line(self._path, line)
        self.seen |= ahead
        clients.topic.buffer = [
            record for record in clients.topic.buffer if record.offset >= self.seen.get(record.partition, 0)
        ]

    async def _unsettled(self, clients: Clients, records: Sequence[LogRecord]) -> list[LogRecord]:
        """Those that neither a manifest nor a dead letter speaks of."""
        if not {record.partition for record in records} <= self._ranking.bases.keys():
            # A base stands fast once its partition has been seen, which is before its first commit.
            bookkeeping = await read_reserved(clients.qdrant, self._run["qdrant"]["collection"], "base")
            self._ranking = Ranking(self._ranking.order, bases_of(bookkeeping, self._run["topic"]))
        collection = self._run["qdrant"]["collection"]
        missing = await _not_in_manifests(clients.qdrant, collection, records, self._ranking)
        if not all(record.place in self._lettered for record in missing):
            await self._read_letters()
        return [record for record in missing if record.place not in self._lettered]

    async def _read_letters(self) -> None:
        """The new ones. Opened each time: poison is rare, and the topic may not be there before the first worker."""
        async with opened_tail(self._run["kafka"], self._run["dead_letter_topic"], self._letters_read) as tail:
            ends = await tail.ends()
            await tail.read_to(ends, KAFKA_LIMIT_S)
            self._lettered |= places_of(read_letters(tail.take(), self._run["topic"]))
            self._letters_read = ends


async def _not_in_manifests(
    client: AsyncQdrantClient, collection: str, records: Iterable[LogRecord], ranking: Ranking
) -> list[LogRecord]:
    ranked = {each.record.place: each for each in decodable(records, ranking)}
    keys = {each.event.document_id for each in ranked.values()}
    manifests = await read_manifests(client, collection, keys) if keys else {}
    missing = []
    for record in records:
        each = ranked.get(record.place)
        manifest = manifests.get(each.event.document_id) if each is not None else None
        if each is None or manifest is None or ranking.stored(manifest)[0] < each.rank:
            missing.append(record)
    return missing
