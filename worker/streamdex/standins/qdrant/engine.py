"""Qdrant's engine behind Qdrant's own requests, without a network: synchronous, one thread, a few µs a call.

Every method takes the gRPC request and returns the gRPC response; what the server would refuse is raised as a
`QdrantRefusal`. The engine's binding keeps the interpreter's lock during a call, so handing calls to another thread
would cost a switch and win nothing: 64 points of 1024 dimensions take 2.5 ms wherever they run.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdrant_client import grpc as pb
from qdrant_edge import Filter, UpdateOperation

from streamdex.standins.qdrant import collections, reads, updates
from streamdex.standins.qdrant.refusals import refusing
from streamdex.standins.qdrant.store import Collection, Store

VERSION = "1.18.3"  # the server whose behaviour is followed


@dataclass(slots=True)
class EngineStats:
    """What was asked of the server since it started.

    `requests` and `refused` count by method, `points_upserted` the points sent (skipped ones included),
    `operations` the updates that the engine carried out.
    """

    requests: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    points_upserted: int = 0
    operations: int = 0


class Engine:
    """Collections, aliases and points. `directory` keeps them across starts; without one they end with `close`."""

    def __init__(self, directory: Path | None = None) -> None:
        self._store = Store(directory)
        self.stats = EngineStats()

    def handle(self, method: str, request: Any) -> Any:
        """Answers a request by its gRPC name, such as `Points.Upsert`."""
        return METHODS[method](self, request)

    # What changes points

    @refusing
    def upsert(self, request: pb.UpsertPoints) -> pb.PointsOperationResponse:
        """Inserts or replaces points, under the request's `update_filter` and `update_mode`."""
        collection = self._store.resolve(request.collection_name)
        self.stats.points_upserted += len(request.points)
        return self._updated(collection, updates.upsert(collection, request.points, request), request)

    @refusing
    def delete(self, request: pb.DeletePoints) -> pb.PointsOperationResponse:
        """Deletes points by ids or by filter."""
        return self._updated(self._store.resolve(request.collection_name), updates.delete(request.points), request)

    @refusing
    def set_payload(self, request: pb.SetPayloadPoints) -> pb.PointsOperationResponse:
        """Merges fields into payloads by ids or by filter."""
        return self._updated(self._store.resolve(request.collection_name), updates.set_payload(request), request)

    @refusing
    def overwrite_payload(self, request: pb.SetPayloadPoints) -> pb.PointsOperationResponse:
        """Replaces payloads by ids or by filter."""
        return self._updated(self._store.resolve(request.collection_name), updates.overwrite_payload(request), request)

    @refusing
    def delete_payload(self, request: pb.DeletePayloadPoints) -> pb.PointsOperationResponse:
        """Removes payload fields by ids or by filter."""
        return self._updated(self._store.resolve(request.collection_name), updates.delete_payload(request), request)

    @refusing
    def clear_payload(self, request: pb.ClearPayloadPoints) -> pb.PointsOperationResponse:
        """Empties payloads by ids or by filter."""
        return self._updated(
            self._store.resolve(request.collection_name), updates.clear_payload(request.points), request
        )

    @refusing
    def update_batch(self, request: pb.UpdateBatchPoints) -> pb.UpdateBatchResponse:
        """Carries out operations in their order. The first that fails ends it; the earlier ones stay."""
        collection = self._store.resolve(request.collection_name)
        results = []
        for operation in request.operations:
            self.stats.points_upserted += len(operation.upsert.points)
            results.append(self._updated(collection, updates.batched(collection, operation), request).result)
        return pb.UpdateBatchResponse(result=results)

    @refusing
    def create_field_index(self, request: pb.CreateFieldIndexCollection) -> pb.PointsOperationResponse:
        """Indexes a payload field."""
        return self._updated(self._store.resolve(request.collection_name), updates.create_index(request), request)

    @refusing
    def delete_field_index(self, request: pb.DeleteFieldIndexCollection) -> pb.PointsOperationResponse:
        """Removes the index of a payload field, if there is one."""
        operation = UpdateOperation.delete_field_index(request.field_name)
        return self._updated(self._store.resolve(request.collection_name), operation, request)

    def _updated(self, collection: Collection, operation: UpdateOperation, request: Any) -> pb.PointsOperationResponse:
        collection.shard.update(operation)
        collection.operations += 1
        self.stats.operations += 1
        status = pb.UpdateStatus.Completed if request.wait else pb.UpdateStatus.Acknowledged
        return pb.PointsOperationResponse(result=pb.UpdateResult(operation_id=collection.operations, status=status))

    # What reads points

    @refusing
    def retrieve(self, request: pb.GetPoints) -> pb.GetResponse:
        """Points by their ids."""
        return reads.retrieve(self._store.resolve(request.collection_name), request)

    @refusing
    def scroll(self, request: pb.ScrollPoints) -> pb.ScrollResponse:
        """One page of points."""
        return reads.scroll(self._store.resolve(request.collection_name), request)

    @refusing
    def count(self, request: pb.CountPoints) -> pb.CountResponse:
        """How many points match."""
        return reads.count(self._store.resolve(request.collection_name), request)

    @refusing
    def facet(self, request: pb.FacetCounts) -> pb.FacetResponse:
        """How often each value of an indexed field occurs."""
        return reads.facet(self._store.resolve(request.collection_name), request)

    @refusing
    def query(self, request: pb.QueryPoints) -> pb.QueryResponse:
        """The points nearest to a vector."""
        return reads.query(self._store.resolve(request.collection_name), request)

    @refusing
    def search(self, request: pb.SearchPoints) -> pb.SearchResponse:
        """The points nearest to a vector, in the older form."""
        return reads.search(self._store.resolve(request.collection_name), request)

    # What concerns collections and aliases

    @refusing
    def create_collection(self, request: pb.CreateCollection) -> pb.CollectionOperationResponse:
        """Makes a collection; one without vectors is possible."""
        config = pb.CreateCollection()
        config.CopyFrom(request)  # later changes are merged into it
        self._store.create(config)
        return pb.CollectionOperationResponse(result=True)

    @refusing
    def collection_info(self, request: pb.GetCollectionInfoRequest) -> pb.GetCollectionInfoResponse:
        """State, settings and payload indexes of a collection."""
        return pb.GetCollectionInfoResponse(result=collections.info(self._store.resolve(request.collection_name)))

    def list_collections(self, request: pb.ListCollectionsRequest) -> pb.ListCollectionsResponse:
        """The names of all collections."""
        names = sorted(self._store.collections)
        return pb.ListCollectionsResponse(collections=[pb.CollectionDescription(name=name) for name in names])

    def update_collection(self, request: pb.UpdateCollection) -> pb.CollectionOperationResponse:
        """Merges changed settings into a collection's."""
        collections.update(self._store, request)
        return pb.CollectionOperationResponse(result=True)

    def delete_collection(self, request: pb.DeleteCollection) -> pb.CollectionOperationResponse:
        """Removes a collection and its aliases; `result` tells whether there was one."""
        return pb.CollectionOperationResponse(result=self._store.delete(request.collection_name))

    def collection_exists(self, request: pb.CollectionExistsRequest) -> pb.CollectionExistsResponse:
        """Whether a collection or an alias has this name."""
        found = collections.exists(self._store, request.collection_name)
        return pb.CollectionExistsResponse(result=pb.CollectionExists(exists=found))

    def update_aliases(self, request: pb.ChangeAliases) -> pb.CollectionOperationResponse:
        """Creates, renames and deletes aliases."""
        collections.change_aliases(self._store, request)
        return pb.CollectionOperationResponse(result=True)

    def list_aliases(self, request: pb.ListAliasesRequest) -> pb.ListAliasesResponse:
        """All aliases."""
        return collections.describe_aliases(self._store)

    def list_collection_aliases(self, request: pb.ListCollectionAliasesRequest) -> pb.ListAliasesResponse:
        """The aliases of one collection."""
        self._store.resolve(request.collection_name)
        return collections.describe_aliases(self._store, request.collection_name)

    def health(self, request: pb.HealthCheckRequest) -> pb.HealthCheckReply:
        """Name and version."""
        return pb.HealthCheckReply(title="qdrant - vector search engine", version=VERSION)

    # What a test or the program itself asks for, not a client

    def clear(self, collection_name: str) -> None:
        """Removes all points and keeps the indexes: microseconds, where a new collection takes milliseconds."""
        self._store.resolve(collection_name).shard.update(UpdateOperation.delete_points_by_filter(Filter()))

    def optimize(self, collection_name: str) -> bool:
        """Merges and indexes segments as the real server does by itself; True when there was something to do.

        Slow, about 1 ms a point of 1024 dimensions, and blocks the interpreter: for tests on indexed segments.
        """
        return self._store.resolve(collection_name).shard.optimize()

    def close(self) -> None:
        """Closes everything; safe twice."""
        self._store.close()


METHODS: dict[str, Callable[[Engine, Any], Any]] = {
    "Points.Upsert": Engine.upsert,
    "Points.Delete": Engine.delete,
    "Points.SetPayload": Engine.set_payload,
    "Points.OverwritePayload": Engine.overwrite_payload,
    "Points.DeletePayload": Engine.delete_payload,
    "Points.ClearPayload": Engine.clear_payload,
    "Points.UpdateBatch": Engine.update_batch,
    "Points.CreateFieldIndex": Engine.create_field_index,
    "Points.DeleteFieldIndex": Engine.delete_field_index,
    "Points.Get": Engine.retrieve,
    "Points.Scroll": Engine.scroll,
    "Points.Count": Engine.count,
    "Points.Facet": Engine.facet,
    "Points.Query": Engine.query,
    "Points.Search": Engine.search,
    "Collections.Create": Engine.create_collection,
    "Collections.Get": Engine.collection_info,
    "Collections.List": Engine.list_collections,
    "Collections.Update": Engine.update_collection,
    "Collections.Delete": Engine.delete_collection,
    "Collections.CollectionExists": Engine.collection_exists,
    "Collections.UpdateAliases": Engine.update_aliases,
    "Collections.ListAliases": Engine.list_aliases,
    "Collections.ListCollectionAliases": Engine.list_collection_aliases,
    "Qdrant.HealthCheck": Engine.health,
}
