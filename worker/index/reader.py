"""What is read for people and for `verify`: searches, one document, and everything, page by page."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.index.guards import DOCUMENT_KEY, Guards
from worker.index.keys import CANARY_ID, manifest_id
from worker.index.manifests import KIND, ManifestFormat
from worker.index.payload import CHUNK, CHUNKS, INDEXED_AT, PackedVector
from worker.index.store import Store, by_keyword
from worker.index.values import get
from worker.model import JsonObject, Manifest, Rank


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search."""

    document_key: str
    score: float
    place: int
    text: str = field(repr=False)
    metadata: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """One point as it is stored, without its vector."""

    id: str
    document_key: str = field(repr=False)
    rank: Rank
    place: int
    count: int
    text: str = field(repr=False)
    metadata: JsonObject = field(repr=False)
    indexed_at: str


class Reader:
    """Reads a collection."""

    def __init__(
        self,
        store: Store,
        guards: Guards,
        manifests: ManifestFormat,
        vector: PackedVector,
        payload_keys: tuple[str, str],
    ) -> None:
        self._store = store
        self._guards = guards
        self._manifests = manifests
        self._vector = vector
        self._text_key, self._metadata_key = payload_keys

    async def manifests_of(self, document_keys: Sequence[str]) -> dict[str, Manifest]:
        """The manifests of those documents that have one, in one request."""
        ids = [manifest_id(key) for key in document_keys]
        points = await self._store.get(self._store.names.manifests, ids)
        manifests = [self._manifests.read(point.payload) for point in points]
        return {manifest.document_key: manifest for manifest in manifests}

    async def search(self, vector: bytes, limit: int) -> list[Hit]:
        """The nearest points to a vector of packed float32, best first."""
        points = await self._store.query(
            self._store.names.points, limit, lambda query: self._vector.merge_into_dense(query.nearest.dense, vector)
        )
        return [
            Hit(
                document_key=point.payload[DOCUMENT_KEY].string_value,
                score=point.score,
                place=point.payload[CHUNK].integer_value,
                text=point.payload[self._text_key].string_value,
                metadata=get(point.payload[self._metadata_key]) or {},
            )
            for point in points
            if DOCUMENT_KEY in point.payload  # a collection that was there before us may hold others' points
        ]

    async def points_of(self, document_key: str) -> list[StoredPoint]:
        """A document's points by their place."""
        choose = by_keyword(DOCUMENT_KEY, document_key)
        points = [self._stored(point) async for point in self._store.scroll(self._store.names.points, choose)]
        return sorted(points, key=lambda point: (point.place, point.rank))

    async def all_points(self) -> AsyncIterator[StoredPoint]:
        """Every point, in the order of their ids; those of others have an empty document key."""
        async for point in self._store.scroll(self._store.names.points):
            if point.id.uuid != CANARY_ID:
                yield self._stored(point)

    async def all_manifests(self) -> AsyncIterator[Manifest]:
        """Every document's manifest, in the order of their ids."""
        async for point in self._store.scroll(self._store.names.manifests):
            if KIND not in point.payload:
                yield self._manifests.read(point.payload)

    def _stored(self, point: Any) -> StoredPoint:
        payload = point.payload
        return StoredPoint(
            id=point.id.uuid or str(point.id.num),
            document_key=payload[DOCUMENT_KEY].string_value,
            rank=self._guards.get_rank(payload),
            place=payload[CHUNK].integer_value,
            count=payload[CHUNKS].integer_value,
            text=payload[self._text_key].string_value,
            metadata=get(payload[self._metadata_key]) or {},
            indexed_at=payload[INDEXED_AT].string_value,
        )
