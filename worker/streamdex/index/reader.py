"""What is read for people and for `verify`: searches, one document, and everything, page by page."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streamdex.index.client.store import CollectionStore, by_keyword
from streamdex.index.encoding.values import get, get_all
from streamdex.index.guards import DOCUMENT_ID, Guards
from streamdex.index.schema.keys import CANARY_ID, manifest_id
from streamdex.index.schema.manifests import KIND, ManifestFormat
from streamdex.index.schema.payload import CHUNK, CHUNKS, INDEXED_AT, SOURCE, PackedVector
from streamdex.model import JsonObject, Manifest, Rank

READ_ATTEMPTS = 5  # a document that changes at each of them is read as it was at the last


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search."""

    document_id: str = field(repr=False)
    score: float
    place: int
    text: str = field(repr=False)
    metadata: JsonObject = field(repr=False)


class Source(NamedTuple):
    """Which record a point was written from."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """One point as it is stored, without its vector. `source` is None where the payload does not hold one."""

    id: str
    document_id: str = field(repr=False)
    rank: Rank
    place: int
    count: int
    text: str = field(repr=False)
    metadata: JsonObject = field(repr=False)
    indexed_at: str
    source: Source | None = None


class Reader:
    """Reads a collection."""

    def __init__(
        self,
        store: CollectionStore,
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

    async def manifests(self, document_ids: Sequence[str]) -> dict[str, Manifest]:
        """The manifests of those documents that have one, in one request."""
        ids = [manifest_id(key) for key in document_ids]
        found = await self._store.get(self._store.names.manifests, ids)
        manifests = [self._manifests.read(payload) for payload in found.values()]
        return {manifest.document_id: manifest for manifest in manifests}

    async def search(self, vector: bytes, limit: int) -> list[Hit]:
        """The nearest points to a vector of packed float32, best first."""
        points = await self._store.query(
            self._store.names.points, limit, lambda query: self._vector.merge_into_dense(query.nearest.dense, vector)
        )
        return [
            Hit(
                document_id=point.payload[DOCUMENT_ID].string_value,
                score=point.score,
                place=point.payload[CHUNK].integer_value,
                text=point.payload[self._text_key].string_value,
                metadata=get(point.payload[self._metadata_key]) or {},
            )
            for point in points
            if DOCUMENT_ID in point.payload  # a collection that was there before us may hold others' points
        ]

    async def document(self, document_id: str) -> tuple[Manifest | None, list[StoredPoint]]:
        """A document's manifest and its points by their place."""
        manifests = await self.manifests((document_id,))
        return manifests.get(document_id), await self.points_of(document_id)

    async def points_of(self, document_id: str) -> list[StoredPoint]:
        """A document's points by their place."""
        choose = by_keyword(DOCUMENT_ID, document_id)
        points = [self._stored(point) async for point in self._store.scroll(self._store.names.points, choose)]
        return sorted(points, key=lambda point: (point.place, point.rank))

    async def documents(self, document_ids: Sequence[str]) -> dict[str, tuple[Manifest | None, list[StoredPoint]]]:
        """Documents with their points by place, each as of one moment: read again where a writer came in between."""
        found: dict[str, tuple[Manifest | None, list[StoredPoint]]] = {}
        left = list(document_ids)
        for _ in range(READ_ATTEMPTS):
            before = await self.manifests(left)
            points = await self._points_by_document(left)
            after = await self.manifests(left)
            found.update({key: (after.get(key), points.get(key, [])) for key in left})
            left = [key for key in left if before.get(key) != after.get(key)]
            if not left:
                break
        return found

    async def _points_by_document(self, document_ids: Sequence[str]) -> dict[str, list[StoredPoint]]:
        found: dict[str, list[StoredPoint]] = {}
        if document_ids:
            async for point in self._store.scroll(self._store.names.points, by_keyword(DOCUMENT_ID, *document_ids)):
                stored = self._stored(point)
                found.setdefault(stored.document_id, []).append(stored)
        return {key: sorted(points, key=lambda point: (point.place, point.rank)) for key, points in found.items()}

    async def without_vector(self, document_ids: Sequence[str] = ()) -> AsyncIterator[str]:
        """The ids of points that have no vector, of these documents or of all."""

        def choose(which: Any) -> None:
            if document_ids:
                by_keyword(DOCUMENT_ID, *document_ids)(which)
            which.must_not.add().has_vector.has_vector = ""  # the unnamed vector

        async for point in self._store.scroll(self._store.names.points, choose):
            yield _id_of(point)

    async def counts(self) -> tuple[int, int]:
        """About how many points and documents' manifests there are."""

        def of_documents(which: Any) -> None:
            which.must.add().is_empty.key = KIND

        names = self._store.names
        return await self._store.count(names.points), await self._store.count(names.manifests, of_documents)

    async def all_points(self) -> AsyncIterator[StoredPoint]:
        """Every point, in the order of their ids; those of others have an empty document key."""
        async for point in self._store.scroll(self._store.names.points):
            if point.id.uuid != CANARY_ID:
                yield self._stored(point)

    async def all_manifests(self) -> AsyncIterator[Manifest]:
        """Every document's manifest, in the order of their ids."""
        async for manifest in manifests_in(self._store, self._manifests):
            yield manifest

    def _stored(self, point: Any) -> StoredPoint:
        payload = point.payload
        return StoredPoint(
            id=_id_of(point),
            document_id=payload[DOCUMENT_ID].string_value,
            rank=self._guards.get_rank(payload),
            place=payload[CHUNK].integer_value,
            count=payload[CHUNKS].integer_value,
            text=payload[self._text_key].string_value,
            metadata=get(payload[self._metadata_key]) or {},
            indexed_at=payload[INDEXED_AT].string_value,
            source=_source(payload),
        )


async def manifests_in(store: CollectionStore, manifests: ManifestFormat) -> AsyncIterator[Manifest]:
    """Every document's manifest of a store, in the order of their ids."""
    async for point in store.scroll(store.names.manifests):
        if KIND not in point.payload:
            yield manifests.read(point.payload)


def _id_of(point: Any) -> str:
    return str(point.id.uuid or point.id.num)


def _source(payload: Any) -> Source | None:
    source = get_all(payload[SOURCE].struct_value.fields)
    topic, partition, offset = source.get("topic"), source.get("partition"), source.get("offset")
    if type(topic) is str and type(partition) is int and type(offset) is int:
        return Source(topic, partition, offset)
    return None  # not written by us, or changed since
