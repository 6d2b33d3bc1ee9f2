"""Answers of Qdrant: whatever stands in points, manifests, statuses and trailers is read, or one fault of ours.

Bytes that are no message of Qdrant's do not get here: gRPC refuses them.
"""

import json
import math
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # publishes no types
from hypothesis import strategies as st
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import payload_to_grpc

from fuzz.mutation import DICE, damaged
from fuzz.target import CANARY, Target, plain, told
from harness.index import DIMENSION, FINGERPRINT, job_of, vector_of, write_of
from streamdex.config import Settings
from streamdex.errors import Service, ServiceFault, StreamdexError
from streamdex.index import Index
from streamdex.index.client.connection import Connection, require_version
from streamdex.index.client.faults import fault_of
from streamdex.index.client.store import CollectionStore, Names
from streamdex.index.collection import Setup
from streamdex.index.guards import Guards
from streamdex.index.schema.keys import bookkeeping_id, manifest_id
from streamdex.model import Event, Manifest, Order, Partition, Position, Rank
from streamdex.plan import Chunker, Planner

SETTINGS = Settings(qdrant={"payload_indexes": {"metadata.a": "float"}})
PLANNER = Planner(SETTINGS, Chunker(SETTINGS), 0)
P = Partition("topic", 3)
WRITE = write_of("1", 64, ["first", "second"])
MOST_CALLS = 30  # then the server is gone: some calls go on until they find what they want

SOURCE = {"topic": "topic", "partition": 3, "epoch": 1, "offset": 64, "timestamp": 1_790_000_000_000}
LOG = {"cluster": "cluster", "topic": "topic", "partition": 3, "epoch": 0}
LOG_NAME = "topic/3/0/cluster"
CHUNKS = [chunk.id for chunk in WRITE.chunks]
BEFORE = Manifest("1", Rank(64), Position("topic", 3, 1, 64, 1), tuple(CHUNKS), "", 0)
MANIFEST = {
    "schema": 2,
    "document_id": "1",
    "version": 64,
    "sequence": 0,
    "source": SOURCE,
    "chunks": CHUNKS,
    "content_hash": "0123456789abcdef" * 2,
    "generation": 0,
    "tombstone_until": 1_795_000_000_000,
}
POINT = {
    "document_id": "1",
    "version": 64,
    "chunk": 1,
    "chunks": 2,
    "text": CANARY,
    "metadata": {"a": [1, {"b": None}]},
    "source": SOURCE,
    "indexed_at": "2026-11-22T19:28:00.000Z",
}
SCHEMA = {"schema": 2, "kind": "schema", "order": "offset", "fingerprint": dict(FINGERPRINT)}
POINTS = [
    (manifest_id("1"), MANIFEST),
    (CHUNKS[0], POINT),
    (CHUNKS[1], POINT),
    (bookkeeping_id("schema"), SCHEMA),
    (bookkeeping_id("generation:0"), {"schema": 2, "kind": "generation", "number": 0, "cutting": "digest"}),
    (bookkeeping_id(f"base:{LOG_NAME}"), {"schema": 2, "kind": "base", **LOG, "base": 1_790_000_000_000}),
    (bookkeeping_id(f"progress:{LOG_NAME}"), {"schema": 2, "kind": "progress", **LOG, "offset": 9, "timestamp": 8}),
]
DEEP = json.loads('{"a":[' * 20 + "1" + "]}" * 20)
ODD = [None, True, 0, -1, 2**53, 2**63 - 1, -(2**63), 1.5, math.nan, math.inf, "", "\0", "x", "5", [], [[]], {}, DEEP]


def _altered(value: Any, rng: random.Random) -> Any:
    """Here and there another value, or none."""
    if rng.random() < 0.06:
        return rng.choice(ODD)
    if isinstance(value, dict):
        return {key: _altered(item, rng) for key, item in value.items() if rng.random() < 0.95}
    if isinstance(value, list):
        return [_altered(item, rng) for item in value]
    return value


def _made(rng: random.Random) -> tuple[bytes, ...]:
    """Some of the points, as a server would send them."""
    return tuple(_message(*one, rng) for one in POINTS if rng.random() < 0.7)


def _message(point_id: str, payload: dict[str, Any], rng: random.Random) -> bytes:
    uuid = point_id if rng.random() < 0.95 else rng.choice(("", "x", manifest_id("2")))
    altered = {key: _altered(value, rng) for key, value in payload.items() if rng.random() < 0.97}
    kept = altered if rng.random() < 0.8 else payload
    point = q.RetrievedPoint(id=q.PointId(uuid=uuid), payload=payload_to_grpc(kept))  # which takes what ours refuses
    sent: bytes = point.SerializeToString()
    return damaged(sent, (sent,), rng) if rng.random() < 0.04 else sent


def _result(rng: random.Random) -> bytes:
    result = q.UpdateResult(operation_id=1, status=q.Completed)
    if rng.random() < 0.2:
        return b"\x10" + rng.choice((b"\x00", b"\x01", b"\x03", b"\x04", b"\x63", b"\xff\xff\xff\xff\x07"))
    return cast("bytes", result.SerializeToString())


def _results(rng: random.Random) -> tuple[bytes, ...]:
    return tuple(_result(rng) for _ in range(1 if rng.random() < 0.9 else rng.randrange(4)))


class _Answers:
    """Stands in for the connection: the same points and statuses for whatever is asked."""

    server_timeout_s = 1

    def __init__(self, points: tuple[bytes, ...], results: tuple[bytes, ...], info: Any = None) -> None:
        self._points = [q.RetrievedPoint.FromString(point) for point in points]
        self._results = [q.UpdateResult.FromString(result) for result in results]
        self._info = info
        self._calls = 0

    async def points(self, method: str, request: Any) -> Any:
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise ServiceFault(Service.QDRANT, "gone")
        match method:
            case "Get":
                return q.GetResponse(result=self._points)
            case "Scroll":
                return q.ScrollResponse(result=self._points)
            case "Query":
                return q.QueryResponse(result=[q.ScoredPoint(id=one.id, payload=one.payload) for one in self._points])
            case "Count":
                return q.CountResponse(result=q.CountResult(count=len(self._points)))
            case "UpdateBatch":
                return q.UpdateBatchResponse(result=self._results)
        return q.PointsOperationResponse(result=self._results[0] if self._results else None)

    async def collections(self, method: str, request: Any) -> Any:
        match method:
            case "Get":
                return self._info
            case "List":
                return q.ListCollectionsResponse(collections=[q.CollectionDescription(name="documents")])
            case "CollectionExists":
                return q.CollectionExistsResponse(result=q.CollectionExists(exists=True))
        raise AssertionError(method)


async def _all(points: Any) -> list[Any]:
    return [point async for point in points]


async def _plan(index: Index) -> None:
    """What a worker does with the manifests that it reads."""
    for manifest in (await index.reader.manifests(["1"])).values():
        assert isinstance(manifest, Manifest)
        position = Position("topic", 3, 1, 65, 1)
        PLANNER.decide(Event("1", "another text", {}, None, position), Rank(65 * 64), manifest)
        hash((manifest.position, manifest.rank))


OPERATIONS: dict[str, Callable[[Index], Awaitable[object]]] = {
    "plan": _plan,
    "document": lambda index: index.reader.document("1"),
    "documents": lambda index: index.reader.documents(["1", "2"]),
    "all manifests": lambda index: _all(index.reader.all_manifests()),
    "all points": lambda index: _all(index.reader.all_points()),
    "search": lambda index: index.reader.search(vector_of("x"), 3),
    "counts": lambda index: index.reader.counts(),
    "check": lambda index: index.bookkeeping.check(Order.OFFSET, FINGERPRINT),
    "agree": lambda index: index.bookkeeping.agree(Order.OFFSET, FINGERPRINT),
    "generation": lambda index: index.bookkeeping.generation("digest"),
    "bases": lambda index: index.bookkeeping.bases("cluster", 0, {P: 5}),
    "progress": lambda index: index.bookkeeping.progress("cluster", 0, [P]),
    "write new": lambda index: index.writer.write([job_of(WRITE)]),
    "write kept": lambda index: index.writer.write([job_of(write_of("1", 128, ["first", "third"], BEFORE))]),
    "sweep": lambda index: index.writer.delete_abandoned("1"),
    "clean": lambda index: index.writer.delete_leftovers(WRITE),
    "canary": lambda index: index.writer.canary(),
}


def _index(answers: _Answers) -> Index:
    connection = cast("Connection", answers)
    store = CollectionStore(connection, Names("documents", "documents__manifests"), replicated=False)
    return Index(connection, store, SETTINGS, DIMENSION, lambda: 1_795_000_000_123)


def _run(action: Awaitable[object]) -> str:
    """To its end at once: nothing in it waits."""
    try:
        cast("Coroutine[Any, Any, object]", action).send(None)
    except StopIteration:
        return "taken"
    except StreamdexError as fault:
        told(fault)
        return type(fault).__name__
    raise AssertionError("it waits")


def _operate(one: tuple[str, tuple[bytes, ...], tuple[bytes, ...]]) -> str:
    operation, points, results = one
    try:
        answers = _Answers(points, results)
    except DecodeError:
        return "no message"
    return _run(OPERATIONS[operation](_index(answers)))


# --- set-up


def _info() -> bytes:
    info = q.GetCollectionInfoResponse()
    info.result.config.params.vectors_config.params.size = DIMENSION
    info.result.config.params.vectors_config.params.distance = q.Cosine
    for field, kind in (("document_id", q.Keyword), ("version", q.Integer), ("metadata.a", q.Float)):
        info.result.payload_schema[field].data_type = kind
    return cast("bytes", info.SerializeToString())


def _set_up(sent: bytes) -> str:
    try:
        answers = _Answers((), (b"\x10\x02",), q.GetCollectionInfoResponse.FromString(sent))
    except DecodeError:
        return "no message"
    setup = Setup(cast("Connection", answers), SETTINGS.qdrant, DIMENSION, Guards(Order.OFFSET))
    return _run(setup.prepare(create=False))


# --- refusals


def _refuse(one: tuple[grpc.StatusCode, list[tuple[str, str | bytes]], str]) -> str:
    code, trailers, version = one
    fault = fault_of("Upsert", code, trailers)
    told(fault)
    if isinstance(fault, ServiceFault) and fault.retry_after_s is not None:
        assert 0 <= fault.retry_after_s < math.inf
    return f"{type(fault).__name__}, version {_run(require_version(cast('Connection', _Version(version))))}"


class _Version:
    def __init__(self, version: str) -> None:
        self._version = version

    async def server_version(self) -> str:
        return self._version


TRAILERS = st.lists(
    st.tuples(
        st.sampled_from(["retry-after", "Retry-After", "qdrant-insufficient-storage", CANARY]),
        st.sampled_from(["3", "-1", "nan", "inf", "1e400", "soon", "9" * 400, "", CANARY]) | st.text() | st.binary(),
    ),
    max_size=3,
)
VERSIONS = st.builds(lambda one, rng: damaged(one, (one,), rng).decode("latin-1"), st.just(b"1.18.3"), DICE)

TARGETS = [
    Target(
        "Qdrant: manifests, payloads and statuses",
        st.tuples(st.sampled_from(list(OPERATIONS)), DICE.map(_made), DICE.map(_results)),
        plain(_operate),
    ),
    Target(
        "Qdrant: what it says of a collection",
        st.builds(lambda rng: damaged(_info(), (_info(),), rng), DICE),
        plain(_set_up),
    ),
    Target(
        "Qdrant: refusals",
        st.tuples(st.sampled_from([code for code in grpc.StatusCode if code.value[0]]), TRAILERS, VERSIONS),
        plain(_refuse),
    ),
]
