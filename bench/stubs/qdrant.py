"""A stand-in for Qdrant that costs little and remembers only what the worker reads back.

    python -m bench.stubs.qdrant [--remember N]

Prints its two ports as one JSON line. gRPC for the worker: manifests are kept as they came, of other points the rank
and place alone; guards and deletes are counted, not applied. REST for the script: points are counted. `GET /stats` on
the REST port tells what was asked. With --remember only the newest N documents of a collection are known, so that a
run that goes on for long does not fill the memory.
"""

import argparse
import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import orjson
from qdrant_client import grpc as q
from qdrant_client.grpc import collections_service_pb2, points_service_pb2, qdrant_pb2

from bench.stubs.http import NOT_FOUND, Request, Response, json_response, port_of, serve_http

VERSION = "1.20.0"
MANIFESTS = "__manifests"  # how the names of collections of manifests end
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
SERVICES = (
    points_service_pb2.DESCRIPTOR.services_by_name["Points"],
    collections_service_pb2.DESCRIPTOR.services_by_name["Collections"],
    qdrant_pb2.DESCRIPTOR.services_by_name["Qdrant"],
)
Places = OrderedDict[str, tuple[int, int]]  # point id to version and place
COMPLETED = q.UpdateResult(operation_id=1, status=q.Completed)


class Stats:
    """What was asked: requests by method, and documents by what became of them."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.points_upserted = 0  # over gRPC
        self.points_put = 0  # over REST
        self.payloads_changed = 0
        self.manifests_written = 0
        self.manifests_found = 0  # manifests of documents handed out by reads

    def as_json(self) -> Response:
        """All of it."""
        return json_response(vars(self))


@dataclass(slots=True)
class _Held:
    """What is remembered of one collection."""

    places: Places = field(default_factory=OrderedDict)
    manifests: OrderedDict[str, tuple[int, bytes]] = field(default_factory=OrderedDict)  # id: version, point as bytes
    bookkeeping: dict[str, q.PointStruct] = field(default_factory=dict)  # manifests of no document: schema, bases …


class Qdrant:
    """The methods that the worker calls, by name. Any other is answered UNIMPLEMENTED.

    `remember`: of so many documents of a collection, the newest ones; None for all.
    """

    def __init__(self, stats: Stats, remember: int | None = None) -> None:
        self._stats = stats
        self._remember = remember
        self._collections: dict[str, q.CreateCollection] = {}
        self._aliases: dict[str, str] = {}
        self._held: defaultdict[str, _Held] = defaultdict(_Held)

    # --- points ---------------------------------------------------------------------------------------------------

    def update_batch(self, request: q.UpdateBatchPoints) -> q.UpdateBatchResponse:
        """Points with vectors, and changes of payloads."""
        places = self._held[request.collection_name].places
        for operation in request.operations:
            kind = operation.WhichOneof("operation")
            if kind == "upsert":
                self._put_points(operation.upsert.points, places)
            else:
                self._change_payload(getattr(operation, kind), places)
        self._stats.requests["UpdateBatch points"] += 1
        return q.UpdateBatchResponse(result=[COMPLETED] * len(request.operations))

    def upsert(self, request: q.UpsertPoints) -> q.PointsOperationResponse:
        """Points, or manifests."""
        held = self._held[request.collection_name]
        if request.collection_name.endswith(MANIFESTS):
            self._put_manifests(request.points, held)
        else:
            self._stats.requests["Upsert points"] += 1
            self._put_points(request.points, held.places)
        return q.PointsOperationResponse(result=COMPLETED)

    def delete(self, request: q.DeletePoints) -> q.PointsOperationResponse:
        """Counted only: what purges delete is never read again here."""
        self._count("Delete", request.collection_name)
        return q.PointsOperationResponse(result=COMPLETED)

    def get(self, request: q.GetPoints) -> q.GetResponse:
        """Points by id: of manifests all fields or the rank, of others rank and place."""
        self._count("Get", request.collection_name)
        held = self._held[request.collection_name]
        response = q.GetResponse()
        if not request.collection_name.endswith(MANIFESTS):
            _get_places(request, response, held.places)
        else:
            rank_only = bool(request.with_payload.include.fields)
            for point_id in request.ids:
                self._get_manifest(point_id.uuid, held, response.result, rank_only)
        return response

    def scroll(self, request: q.ScrollPoints) -> q.ScrollResponse:
        """The reserved manifests of the kinds that the filter names."""
        self._count("Scroll", request.collection_name)
        kinds = request.filter.must[0].field.match.keywords.strings
        response = q.ScrollResponse()
        for point in self._held[request.collection_name].bookkeeping.values():
            if point.payload["kind"].string_value in kinds:
                _copy(point, response.result.add())
        return response

    def _put_points(self, points: Any, places: Places) -> None:
        self._stats.points_upserted += len(points)
        for point in points:
            payload = point.payload
            places[point.id.uuid] = (payload["version"].integer_value, payload["chunk"].integer_value)
        self._forget(places)

    def _change_payload(self, change: q.PointsUpdateOperation.SetPayload, places: Places) -> None:
        self._stats.payloads_changed += 1
        payload = change.payload
        for condition in change.points_selector.filter.must:
            for point_id in condition.has_id.has_id:
                version, place = places.get(point_id.uuid, (0, 0))
                version = payload["version"].integer_value if "version" in payload else version
                place = payload["chunk"].integer_value if "chunk" in payload else place
                places[point_id.uuid] = (version, place)

    def _put_manifests(self, points: Any, held: _Held) -> None:
        documents = 0
        for point in points:
            if "document_id" in point.payload:
                documents += 1
                version = point.payload["version"].integer_value
                held.manifests[point.id.uuid] = (version, point.SerializeToString())
            else:
                held.bookkeeping[point.id.uuid] = point
        self._forget(held.manifests)
        self._stats.manifests_written += documents
        self._stats.requests["Upsert manifests" if documents else "Upsert progress"] += 1

    def _forget(self, held: OrderedDict[str, Any]) -> None:
        """The oldest ones beyond what is to be remembered."""
        while self._remember is not None and len(held) > self._remember:
            held.popitem(last=False)

    def _get_manifest(self, point_id: str, held: _Held, result: Any, rank_only: bool) -> None:
        found = held.manifests.get(point_id)
        if found is None:
            if point_id in held.bookkeeping:
                _copy(held.bookkeeping[point_id], result.add())
            return
        self._stats.manifests_found += 1
        point = result.add()
        version, serialized = found
        if rank_only:
            point.id.uuid = point_id
            point.payload["version"].integer_value = version
        else:
            _copy(q.PointStruct.FromString(serialized), point)

    def _count(self, method: str, collection: str) -> None:
        self._stats.requests[f"{method} {'manifests' if collection.endswith(MANIFESTS) else 'points'}"] += 1

    # --- set-up ---------------------------------------------------------------------------------------------------

    def create_field_index(self, request: q.CreateFieldIndexCollection) -> q.PointsOperationResponse:
        """Nothing is searched here."""
        return q.PointsOperationResponse(result=COMPLETED)

    def list_collections(self, request: q.ListCollectionsRequest) -> q.ListCollectionsResponse:
        """The collections created so far."""
        return q.ListCollectionsResponse(collections=[q.CollectionDescription(name=name) for name in self._collections])

    def list_aliases(self, request: q.ListAliasesRequest) -> q.ListAliasesResponse:
        """The aliases created so far."""
        pairs = self._aliases.items()
        return q.ListAliasesResponse(
            aliases=[q.AliasDescription(alias_name=alias, collection_name=name) for alias, name in pairs]
        )

    def collection_exists(self, request: q.CollectionExistsRequest) -> q.CollectionExistsResponse:
        """Whether it was created."""
        exists = request.collection_name in self._collections
        return q.CollectionExistsResponse(result=q.CollectionExists(exists=exists))

    def create(self, request: q.CreateCollection) -> q.CollectionOperationResponse:
        """Remember how it was asked for."""
        self._collections[request.collection_name] = request
        return q.CollectionOperationResponse(result=True)

    def update_aliases(self, request: q.ChangeAliases) -> q.CollectionOperationResponse:
        """Create aliases; nobody here drops one."""
        for action in request.actions:
            self._aliases[action.create_alias.alias_name] = action.create_alias.collection_name
        return q.CollectionOperationResponse(result=True)

    def get_collection(self, request: q.GetCollectionInfoRequest) -> q.GetCollectionInfoResponse:
        """The collection as it was asked for."""
        response = q.GetCollectionInfoResponse()
        asked = self._collections[request.collection_name]
        response.result.config.params.vectors_config.CopyFrom(asked.vectors_config)
        response.result.config.params.replication_factor = 1
        return response

    def health(self, request: q.HealthCheckRequest) -> q.HealthCheckReply:
        """A version that has conditional writes."""
        return q.HealthCheckReply(title="qdrant", version=VERSION)


def _get_places(request: q.GetPoints, response: q.GetResponse, places: Places) -> None:
    for point_id in request.ids:
        if point_id.uuid in places:
            version, place = places[point_id.uuid]
            point = response.result.add()
            point.id.uuid = point_id.uuid
            point.payload["version"].integer_value = version
            point.payload["chunk"].integer_value = place


def _copy(point: q.PointStruct, retrieved: Any) -> None:
    retrieved.id.CopyFrom(point.id)
    for key, value in point.payload.items():
        retrieved.payload[key].CopyFrom(value)


def _methods(qdrant: Qdrant) -> dict[str, Callable[[Any], Any]]:
    return {
        "qdrant.Points.UpdateBatch": qdrant.update_batch,
        "qdrant.Points.Upsert": qdrant.upsert,
        "qdrant.Points.Delete": qdrant.delete,
        "qdrant.Points.Get": qdrant.get,
        "qdrant.Points.Scroll": qdrant.scroll,
        "qdrant.Points.CreateFieldIndex": qdrant.create_field_index,
        "qdrant.Collections.List": qdrant.list_collections,
        "qdrant.Collections.ListAliases": qdrant.list_aliases,
        "qdrant.Collections.CollectionExists": qdrant.collection_exists,
        "qdrant.Collections.Create": qdrant.create,
        "qdrant.Collections.UpdateAliases": qdrant.update_aliases,
        "qdrant.Collections.Get": qdrant.get_collection,
        "qdrant.Qdrant.HealthCheck": qdrant.health,
    }


def _grpc_handlers(qdrant: Qdrant) -> tuple[Any, ...]:
    """One handler a service, with the methods that we have."""
    known = _methods(qdrant)
    handlers = []
    for service in SERVICES:
        methods = {}
        for method in service.methods:
            if method.full_name in known:
                methods[method.name] = grpc.unary_unary_rpc_method_handler(
                    _asynchronous(known[method.full_name]),
                    request_deserializer=getattr(q, method.input_type.name).FromString,
                    response_serializer=lambda response: response.SerializeToString(),
                )
        handlers.append(grpc.method_handlers_generic_handler(service.full_name, methods))
    return tuple(handlers)


def _asynchronous(answer: Callable[[Any], Any]) -> Any:
    async def handle(request: Any, _context: Any) -> Any:
        return answer(request)

    return handle


class Rest:
    """What qdrant-client asks over REST when it creates a collection and upserts."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def answer(self, request: Request) -> Response:
        """The response to a request."""
        if request.path == "/stats":
            return self._stats.as_json()
        if request.path == "/":
            return json_response({"title": "qdrant", "version": VERSION})
        if not request.path.startswith("/collections/"):
            return NOT_FOUND
        if request.path.endswith("/exists"):
            return json_response({"result": {"exists": False}, "status": "ok", "time": 0})
        if request.path.endswith("/points"):
            self._stats.requests["PUT points"] += 1
            self._stats.points_put += request.body.count(b'"vector":')  # parsing the floats would be all the work
            done = {"operation_id": 1, "status": "completed"}
            return json_response({"result": done, "status": "ok", "time": 0})
        return json_response({"result": True, "status": "ok", "time": 0})


async def _serve(remember: int | None) -> None:
    stats = Stats()
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(_grpc_handlers(Qdrant(stats, remember)))
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    rest = await serve_http(Rest(stats).answer)
    print(orjson.dumps({"port": port_of(rest), "grpc_port": grpc_port}).decode(), flush=True)
    async with rest:
        await rest.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--remember", type=int)
    asyncio.run(_serve(arguments.parse_args().remember))
