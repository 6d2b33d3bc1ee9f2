"""Opens a collection, and hands out what works with it."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from streamdex.config import Settings
from streamdex.index.bookkeeping import Bookkeeping
from streamdex.index.client.connection import Connection, require_version
from streamdex.index.client.store import CollectionStore
from streamdex.index.collection import Setup
from streamdex.index.guards import Guards
from streamdex.index.in_doubt import InDoubtRequests
from streamdex.index.points import PointWriter
from streamdex.index.reader import Reader
from streamdex.index.schema.manifests import ManifestFormat
from streamdex.index.schema.payload import PackedVector, PointFormat
from streamdex.index.writer import Writer
from streamdex.telemetry import Metrics


def wall_clock_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Index:
    """One collection and its manifests: `writer`, `reader` and `bookkeeping` do the work.

    All their methods raise ServiceFault and AccountFault; do the same again then.
    """

    def __init__(
        self,
        connection: Connection,
        store: CollectionStore,
        settings: Settings,
        dimension: int,
        clock_ms: Callable[[], int],
    ) -> None:
        qdrant, worker = settings.qdrant, settings.worker
        guards = Guards(worker.order)
        manifests = ManifestFormat(guards, int(worker.tombstone_ttl_s * 1000))
        vector = PackedVector(dimension)
        points = PointFormat(guards, qdrant.text_key, qdrant.metadata_key, vector)
        in_doubt = InDoubtRequests(worker.request_horizon_s)
        self.bookkeeping = Bookkeeping(store, clock_ms)
        point_writer = PointWriter(store, guards, points, in_doubt, clock_ms)
        self.writer = Writer(store, guards, point_writer, manifests, in_doubt, settings.caps, clock_ms)
        self.reader = Reader(store, guards, manifests, vector, (qdrant.text_key, qdrant.metadata_key))
        self._connection = connection

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
            store = CollectionStore(connection, prepared.names, prepared.replicated)
            index = cls(connection, store, settings, dimension, clock_ms)
            if create:
                await index.bookkeeping.agree(order, fingerprint)
            else:
                await index.bookkeeping.check(order, fingerprint)
        except BaseException:
            await connection.close()
            raise
        return index

    async def ping(self) -> str:
        """The server's version; raises ServiceFault when it does not answer."""
        return await self._connection.server_version()

    async def close(self) -> None:
        """Close the connection. Safe twice."""
        await self._connection.close()
