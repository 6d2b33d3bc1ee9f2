"""A small collection made by a real worker in this process, and ways to damage it behind the worker's back."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import confluent_kafka.admin
from qdrant_client import AsyncQdrantClient, models

from harness.fixtures_qdrant import QdrantSpace
from harness.kafka import Kafka, Message
from streamdex.config import Settings
from streamdex.deadletter import replay_headers
from streamdex.embed import resolve
from streamdex.index import Index
from streamdex.index.schema.keys import manifest_id
from streamdex.model import Outcome
from streamdex.operations.verify import RepairResult, Report, repair_collection, verify_collection
from streamdex.run.worker import Worker
from streamdex.standins.jina import JinaServer
from streamdex.telemetry import Metrics

LIMIT_S = 90.0
KEY = "jina_canary_77ab"


def upsert(document: str, text: str, metadata: dict[str, Any] | None = None, version: int | None = None) -> Message:
    """A record that writes a document."""
    body = {"id": document, "text": text, "metadata": metadata or {}}
    return Message(document.encode(), json.dumps(body | ({} if version is None else {"version": version})).encode())


def delete(document: str) -> Message:
    """A record that deletes a document."""
    return Message(document.encode(), None)


def long_text(document: str, paragraphs: int = 4) -> str:
    """A text of as many chunks, when chunks take 8 tokens."""
    return "\n\n".join(f"{document} has paragraph {number}." for number in range(paragraphs))


class World:
    """A topic, a collection and what is needed to fill, damage, verify and repair it."""

    def __init__(
        self,
        kafka: Kafka,
        jina: JinaServer,
        space: QdrantSpace,
        topic: str,
        folder: Path,
        sections: dict[str, dict[str, Any]],
    ) -> None:
        self.kafka, self.jina, self.space, self.topic, self.folder = kafka, jina, space, topic, folder
        self.client: AsyncQdrantClient = space.address.client()
        ours: dict[str, dict[str, Any]] = {
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers, "topics": topic, "group_id": kafka.unique_group()},
            "jina": {"base_url": jina.base_url, "api_key": KEY, "limits": "premium", "dimensions": 32},
            "qdrant": {
                "url": space.address.url,
                "grpc_port": space.grpc_port,
                "api_key": space.api_key,
                "collection": space.collection,
            },
            "chunk": {"max_tokens": 8},
        }
        names = ours.keys() | sections.keys()
        self.settings = Settings.model_validate({name: ours.get(name, {}) | sections.get(name, {}) for name in names})

    @property
    def points(self) -> str:
        """The physical collection."""
        return f"{self.space.collection}__1"

    @property
    def manifests(self) -> str:
        """The collection of its manifests."""
        return f"{self.points}__manifests"

    async def produce(self, *messages: Message) -> None:
        """Write records to the topic, which has one partition."""
        await self.kafka.produce(self.topic, messages)

    @asynccontextmanager
    async def working(self, settings: Settings | None = None) -> AsyncIterator[Worker]:
        """A worker at work; afterwards it is stopped, with all that it accepted done."""
        worker = Worker(settings or self.settings, "test")
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(running, LIMIT_S)

    async def work(self, settings: Settings | None = None) -> dict[Outcome, int]:
        """Run a worker until it has settled the whole topic. Returns how its records ended."""
        settings = settings or self.settings
        async with self.working(settings) as worker, asyncio.timeout(LIMIT_S):
            ends = {one: end for one, end in (await self.kafka.end_offsets(self.topic)).items() if end}
            while await self.kafka.committed(settings.kafka.group_id) != ends:
                await asyncio.sleep(0.1)
        return {outcome: count for outcome, count in worker.metrics.counts.outcomes.items() if count}

    async def verify(self, settings: Settings | None = None, *, to_end: bool = False) -> Report:
        """Verify, in a folder of its own."""
        with TemporaryDirectory(dir=self.folder) as folder:
            return await verify_collection(settings or self.settings, Path(folder), to_end=to_end)

    async def repair(self, settings: Settings | None = None, *, to_end: bool = False) -> RepairResult:
        """Repair, in a folder of its own."""
        with TemporaryDirectory(dir=self.folder) as folder:
            return await repair_collection(settings or self.settings, Path(folder), to_end=to_end)

    async def replay(self) -> int:
        """Send every dead letter back to its topic. Returns how many; `dlq replay` would send one of each record."""
        dead_letters = await self.kafka.read_all(f"{self.topic}.dlq")
        messages = [Message(one.key, one.value, replay_headers(one)) for one in dead_letters]  # type: ignore[arg-type]  # ours are never null
        await self.produce(*messages)
        return len(messages)

    async def delete_log(self, below: int) -> None:
        """Let the log begin later, as retention does."""
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        partition = confluent_kafka.TopicPartition(self.topic, 0, below)
        await asyncio.to_thread(admin.delete_records([partition])[partition].result, LIMIT_S)

    @asynccontextmanager
    async def index(self) -> AsyncIterator[Index]:
        """The collection, opened as the worker opens it."""
        profile = resolve(self.settings.jina)
        index = await Index.open(self.settings, profile.fingerprint, profile.dimension, Metrics())
        try:
            yield index
        finally:
            await index.close()

    async def points_of(self, document: str) -> list[models.Record]:
        """A document's points by their place, with their vectors."""
        key = models.FieldCondition(key="document_id", match=models.MatchValue(value=f"{document}"))
        found, _ = await self.client.scroll(
            self.points, scroll_filter=models.Filter(must=[key]), limit=1_000, with_vectors=True
        )
        return sorted(found, key=lambda point: (point.payload or {}).get("chunk", 0))

    async def manifest_of(self, document: str) -> dict[str, Any] | None:
        """A document's manifest as it is stored."""
        found = await self.client.retrieve(self.manifests, [manifest_id(f"{document}")])
        return found[0].payload if found else None

    async def everything(self) -> dict[str, Any]:
        """Points, with vectors, and documents' manifests by id; without the time at which a point was written."""
        points, _ = await self.client.scroll(self.points, limit=10_000, with_vectors=True)
        manifests, _ = await self.client.scroll(self.manifests, limit=10_000)
        whole: dict[str, Any] = {str(one.id): (_timeless(one.payload), one.vector) for one in points}
        return whole | {str(one.id): one.payload for one in manifests if "document_id" in (one.payload or {})}

    # --- damage -------------------------------------------------------------------------------------------------

    async def change(self, document: str, place: int, **payload: Any) -> None:
        """Set fields of a point's payload."""
        point = (await self.points_of(document))[place]
        await self.client.set_payload(self.points, payload, [point.id], wait=True)

    async def change_manifest(self, document: str, **payload: Any) -> None:
        """Set fields of a manifest."""
        await self.client.set_payload(self.manifests, payload, [manifest_id(f"{document}")], wait=True)

    async def drop(self, document: str, place: int) -> None:
        """Delete a point."""
        point = (await self.points_of(document))[place]
        await self.client.delete(self.points, [point.id], wait=True)

    async def drop_manifests(self, documents: Iterable[str]) -> None:
        """Delete manifests."""
        await self.client.delete(self.manifests, [manifest_id(f"{one}") for one in documents], wait=True)

    async def copy(self, document: str, place: int, point_id: str, **payload: Any) -> None:
        """Put a point there that is like another one, under another id."""
        point = (await self.points_of(document))[place]
        copied = models.PointStruct(id=point_id, vector=point.vector, payload=(point.payload or {}) | payload)
        await self.client.upsert(self.points, [copied], wait=True)

    async def plant(self, document: str, stranger: str) -> None:
        """Put a document there, manifest and points, that is like another one but that no event has asked for."""
        ids = []
        for place in range(len(await self.points_of(document))):
            ids.append(str(uuid.uuid4()))
            await self.copy(document, place, ids[-1], document_id=f"{stranger}")
        manifest = (await self.manifest_of(document) or {}) | {"document_id": f"{stranger}", "chunks": ids}
        planted = models.PointStruct(id=manifest_id(f"{stranger}"), vector={}, payload=manifest)
        await self.client.upsert(self.manifests, [planted], wait=True)

    async def strip(self, document: str, place: int) -> None:
        """Take a point's vector away."""
        point = (await self.points_of(document))[place]
        await self.client.delete(self.points, [point.id], wait=True)
        await self.client.upsert(self.points, [models.PointStruct(id=point.id, vector={}, payload=point.payload)])


def _timeless(payload: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (payload or {}).items() if name != "indexed_at"}
