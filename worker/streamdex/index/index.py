"""The room's door: one object that the pipeline and the commands work with."""

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

from streamdex.config import Settings
from streamdex.errors import SuspectFault
from streamdex.index.bookkeeping import BaseKey, Bookkeeping, Progress
from streamdex.index.client.connection import Connection, require_version
from streamdex.index.client.store import Store
from streamdex.index.collection import Setup
from streamdex.index.encoding.requests import as_point, upsert
from streamdex.index.encoding.values import entry
from streamdex.index.guards import Guards
from streamdex.index.in_doubt import InDoubtRequests
from streamdex.index.jobs import WriteJob, Written
from streamdex.index.points import PointWriter
from streamdex.index.reader import Hit, Reader, StoredPoint
from streamdex.index.schema.keys import CANARY_ID
from streamdex.index.schema.manifests import TOMBSTONE_UNTIL, ManifestFormat
from streamdex.index.schema.payload import PackedVector, PointFormat, check_payload
from streamdex.index.writer import Writer
from streamdex.model import DocumentWrite, Manifest, Partition, Rank
from streamdex.telemetry import Metrics


def wall_clock_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Index:
    """One collection and its manifests. All methods raise ServiceFault and AccountFault; do the same again then."""

    def __init__(
        self, connection: Connection, store: Store, settings: Settings, dimension: int, clock_ms: Callable[[], int]
    ) -> None:
        qdrant, worker = settings.qdrant, settings.worker
        guards = Guards(worker.order)
        manifests = ManifestFormat(guards, int(worker.tombstone_ttl_s * 1000))
        vector = PackedVector(dimension)
        points = PointFormat(guards, qdrant.text_key, qdrant.metadata_key, vector)
        in_doubt = InDoubtRequests(worker.request_horizon_s)
        self.bookkeeping = Bookkeeping(store, clock_ms)
        self.writer = Writer(
            store, guards, PointWriter(store, guards, points, in_doubt, clock_ms), manifests, in_doubt, clock_ms
        )
        self.reader = Reader(store, guards, manifests, vector, (qdrant.text_key, qdrant.metadata_key))
        self._connection = connection
        self._store = store
        self._vector = vector
        self._caps = settings.caps
        self._clock_ms = clock_ms

    @classmethod
    async def open(
        cls,
        settings: Settings,
        fingerprint: Mapping[str, Any],
        dimension: int,
        metrics: Metrics,
        *,
        clock_ms: Callable[[], int] = wall_clock_ms,
        create: bool = True,
    ) -> "Index":
        """Connect, and make what is missing (with `create`) or check what is there.

        `fingerprint` is what decides a vector. Raises ConfigurationError when the server is too old or the collection
        was made in another way, CollectionMissing when it is not there and not to be made, ServiceFault and
        AccountFault when the server does not work.
        """
        order = settings.worker.order
        connection = Connection(settings.qdrant, metrics)
        try:
            await require_version(connection)
            prepared = await Setup(connection, settings.qdrant, dimension, Guards(order)).prepare(create)
            store = Store(connection, prepared.names, prepared.replicated)
            index = cls(connection, store, settings, dimension, clock_ms)
            if create:
                await index.bookkeeping.agree(order, fingerprint)
            else:
                await index.bookkeeping.check(order, fingerprint)
        except BaseException:
            await connection.close()
            raise
        return index

    # --- documents ----------------------------------------------------------------------------------------------

    async def read_manifests(self, document_keys: Sequence[str]) -> dict[str, Manifest]:
        """The manifests of those documents that have one, in one request."""
        return await self.reader.manifests_of(document_keys)

    def check(self, write: DocumentWrite) -> bytes:
        """See to it that Qdrant can take the document, before its texts are embedded. Raises RecordFault.

        Answers its metadata as they will be stored, for the `WriteJob`.
        """
        return check_payload(write, self._caps)

    async def write(self, batch: Sequence[WriteJob]) -> list[Written]:
        """Write a batch of documents; the answers come in its order.

        After a fault do the whole batch again.
        """
        return await self.writer.write(batch)

    async def sweep(self, below: Mapping[str, Rank]) -> None:
        """Delete the documents' points below the ranks given: what a crash may have left of older events.

        Also the sweep that `Written.settle_after_s` asks for, with the ranks that were found.
        """
        await self.writer.sweep(below)

    async def sweep_abandoned(self, document_key: str) -> float | None:
        """Delete a document's points below its manifest, after an attempt at an event of it was given up half-way.

        Answers in how many seconds to do so again, if a request of that attempt may land later.
        """
        return await self.writer.sweep_abandoned(document_key)

    async def clean(self, write: DocumentWrite) -> None:
        """Before a document's event becomes a dead letter: remove what attempts at it have left.

        Takes up to `worker.request_horizon_s` where a request was given up.
        """
        await self.writer.clean(write)

    async def remove(self, points: Mapping[str, Rank]) -> None:
        """Delete points by their ids, each unless it has become newer than the rank given."""
        await self.writer.remove(points)

    async def forget(self, manifests: Mapping[str, Rank]) -> None:
        """Delete documents' manifests by their keys, each unless it has become newer than the rank given."""
        await self.writer.forget(manifests)

    async def canary(self) -> bool:
        """Whether an ordinary point passes now: written under a reserved id, and removed at once."""
        ones = b"\x00\x00\x80\x3f" * (self._vector.bytes // 4)
        canary = as_point(CANARY_ID, [entry("canary", json=True)], self._vector.of_point(ones))
        try:
            await self._store.update(self._store.names.points, [upsert([canary])])
        except SuspectFault:
            return False
        await self._store.delete_ids(self._store.names.points, (CANARY_ID,))
        return True

    async def forget_tombstones(self) -> None:
        """Delete the manifests of deleted documents whose time is over."""
        now_ms = self._clock_ms()

        def expired(which: Any) -> None:
            until = which.must.add().field
            until.key = TOMBSTONE_UNTIL
            until.range.lt = now_ms

        await self._store.delete(self._store.names.manifests, expired)

    # --- what the collection remembers --------------------------------------------------------------------------

    async def generation(self, cutting: str) -> int:
        """The number of the cutting with this digest, 0 to 63. Raises ConfigurationError when all are taken."""
        return await self.bookkeeping.generation(cutting)

    async def known_generation(self, cutting: str) -> int | None:
        """The number of the cutting with this digest, None where the collection has never seen it. Writes nothing."""
        return await self.bookkeeping.known_generation(cutting)

    async def bases(
        self, cluster_id: str, epoch: int, ends: Mapping[Partition, int], *, keep: bool = True
    ) -> dict[BaseKey, int]:
        """By (topic, partition, epoch), the bases of a cluster's logs; made for the partitions of `ends`.

        `ends` are the partitions' end offsets now. Without `keep` nothing is written: for comparing.
        """
        return await self.bookkeeping.bases(cluster_id, epoch, ends, keep=keep)

    async def progress(
        self, cluster_id: str, epoch: int, partitions: Collection[Partition]
    ) -> dict[Partition, Progress]:
        """How far the collection has each partition; those it knows nothing of are left out."""
        return await self.bookkeeping.progress(cluster_id, epoch, partitions)

    async def write_progress(self, cluster_id: str, epoch: int, progress: Mapping[Partition, Progress]) -> None:
        """Remember how far partitions are settled. It never goes backwards."""
        await self.bookkeeping.write_progress(cluster_id, epoch, progress)

    # --- reading ------------------------------------------------------------------------------------------------

    async def search(self, vector: bytes, limit: int) -> list[Hit]:
        """The nearest points to a vector of packed float32, best first."""
        return await self.reader.search(vector, limit)

    async def document(self, document_key: str) -> tuple[Manifest | None, list[StoredPoint]]:
        """A document's manifest and its points by their place."""
        manifests = await self.reader.manifests_of((document_key,))
        return manifests.get(document_key), await self.reader.points_of(document_key)

    async def documents(self, document_keys: Sequence[str]) -> dict[str, tuple[Manifest | None, list[StoredPoint]]]:
        """Documents with their manifests and their points by place, each document as of one moment."""
        return await self.reader.documents(document_keys)

    def without_vector(self, document_keys: Sequence[str] = ()) -> AsyncIterator[str]:
        """The ids of points that have no vector, of these documents or of all."""
        return self.reader.without_vector(document_keys)

    async def counts(self) -> tuple[int, int]:
        """About how many points and documents' manifests there are."""
        return await self.reader.counts()

    def all_points(self) -> AsyncIterator[StoredPoint]:
        """Every point, page by page."""
        return self.reader.all_points()

    def all_manifests(self) -> AsyncIterator[Manifest]:
        """Every document's manifest, page by page."""
        return self.reader.all_manifests()

    async def ping(self) -> str:
        """The server's version; raises ServiceFault when it does not answer."""
        return await self._connection.server_version()

    async def close(self) -> None:
        """Close the connection. Safe twice."""
        await self._connection.close()
