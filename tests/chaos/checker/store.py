"""What the collection and its manifests hold, read with Qdrant's client, by the stored formats alone."""

import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from qdrant_client import AsyncQdrantClient, models

MANIFESTS = uuid.UUID("2927de21-4da2-4362-b43c-8e94d441226f")  # the namespace of the manifests' ids
PAGE = 512

Payload = Mapping[str, Any]


class Point(NamedTuple):
    """A stored point, without its vector."""

    id: str
    payload: Payload


@dataclass(slots=True)
class Held:
    """The collection: points and manifests by document, and what the manifests' collection keeps beside them."""

    points: dict[str, list[Point]] = field(default_factory=dict)
    manifests: dict[str, list[Point]] = field(default_factory=dict)
    bookkeeping: list[Payload] = field(default_factory=list)

    @property
    def point_count(self) -> int:
        """All points."""
        return sum(map(len, self.points.values()))

    def bases(self, topic: str) -> dict[int, int]:
        """What offsets are added to, by partition, in the topic's newest epoch."""
        return bases_of(self.bookkeeping, topic)

    @property
    def generations(self) -> set[int]:
        """The numbers of the cuttings that the collection has seen."""
        return {item["number"] for item in self.bookkeeping if item["kind"] == "generation"}


def bases_of(bookkeeping: Iterable[Payload], topic: str) -> dict[int, int]:
    """What offsets are added to, by partition, in the topic's newest epoch."""
    ours = [item for item in bookkeeping if item["kind"] == "base" and item["topic"] == topic]
    return {item["partition"]: item["base"] for item in sorted(ours, key=lambda item: int(item["epoch"]))}


def manifest_id(document_id: str) -> str:
    """Where a document's manifest is kept."""
    return str(uuid.uuid5(MANIFESTS, document_id))


@asynccontextmanager
async def opened_store(port: int, timeout_s: int = 60) -> AsyncIterator[AsyncQdrantClient]:
    """A client of the server on this machine."""
    client = AsyncQdrantClient(
        host="127.0.0.1", grpc_port=port, prefer_grpc=True, https=False, check_compatibility=False, timeout=timeout_s
    )
    try:
        yield client
    finally:
        await client.close()


async def read_store(client: AsyncQdrantClient, collection: str) -> Held:
    """Read everything. The points by the name that searches use, the manifests where writers have them."""
    held = Held()
    async for point in _scroll(client, collection):
        held.points.setdefault(str(point.payload.get("document_id")), []).append(point)
    async for point in _scroll(client, manifests_of(collection)):
        if "document_id" in point.payload:
            held.manifests.setdefault(point.payload["document_id"], []).append(point)
        else:
            held.bookkeeping.append(point.payload)
    return held


def manifests_of(collection: str) -> str:
    """The collection with a collection's manifests."""
    return f"{collection}__1__manifests"


async def read_manifests(client: AsyncQdrantClient, collection: str, keys: Collection[str]) -> dict[str, Payload]:
    """The manifests of these documents, of those that have one."""
    ids = [manifest_id(key) for key in keys]
    found = await client.retrieve(manifests_of(collection), ids, with_payload=True)
    return {(point.payload or {})["document_id"]: point.payload or {} for point in found}


async def read_reserved(client: AsyncQdrantClient, collection: str, kind: str) -> list[Payload]:
    """What the manifests' collection keeps beside them, of one kind."""
    of_kind = models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value=kind))])
    return [point.payload async for point in _scroll(client, manifests_of(collection), of_kind)]


async def _scroll(
    client: AsyncQdrantClient, collection: str, which: models.Filter | None = None
) -> AsyncIterator[Point]:
    offset = None
    while True:
        found, offset = await client.scroll(collection, which, limit=PAGE, offset=offset, with_payload=True)
        for point in found:
            yield Point(str(point.id), point.payload or {})
        if offset is None:
            return
