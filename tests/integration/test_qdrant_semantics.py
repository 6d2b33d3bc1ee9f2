"""What the worker relies on, asked of the best Qdrant there is: the embedded server must answer as the real one."""

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import UUID, uuid5

import grpc
import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client import grpc as pb

from harness.fixtures_qdrant import QdrantSpace

SIZE = 4
NAMESPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


def uid(name: object) -> str:
    return str(uuid5(NAMESPACE, str(name)))


def point(name: object, version: int, vector: list[float] | None = None, **payload: str) -> pb.PointStruct:
    values = {key: pb.Value(string_value=value) for key, value in payload.items()}
    return pb.PointStruct(
        id=pb.PointId(uuid=uid(name)),
        vectors=pb.Vectors(vector=pb.Vector(dense=pb.DenseVector(data=vector or [1.0, 0.0, 0.0, 0.0]))),
        payload={"version": pb.Value(integer_value=version), **values},
    )


def newer_than(version: int) -> pb.Condition:
    return pb.Condition(field=pb.FieldCondition(key="version", range=pb.Range(gt=version)))


def not_newer_than(version: int) -> pb.Filter:
    return pb.Filter(must_not=[newer_than(version)])


class Collection:
    """A collection of the test's own, with the calls that the tests make over and over."""

    def __init__(self, client: AsyncQdrantClient, name: str) -> None:
        self.client = client
        self.name = name

    async def upsert(self, *points: pb.PointStruct, **options: object) -> pb.UpdateResult:
        request = pb.UpsertPoints(collection_name=self.name, wait=True, points=points, **options)  # type: ignore[arg-type]  # passed on
        response: pb.PointsOperationResponse = await self.client.grpc_points.Upsert(request)
        return response.result

    async def payloads(self, *names: object) -> dict[str, dict[str, object]]:
        records = await self.client.retrieve(self.name, [uid(name) for name in names], with_payload=True)
        by_id = {uid(name): str(name) for name in names}
        return {by_id[str(record.id)]: record.payload or {} for record in records}

    async def versions(self, *names: object) -> dict[str, object]:
        return {name: payload["version"] for name, payload in (await self.payloads(*names)).items()}


@pytest.fixture
async def client(qdrant: QdrantSpace) -> AsyncIterator[AsyncQdrantClient]:
    client = qdrant.address.client()
    yield client
    await client.close()


@pytest.fixture
async def collection(client: AsyncQdrantClient, qdrant: QdrantSpace) -> Collection:
    params = models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
    await client.create_collection(qdrant.collection, vectors_config=params)
    return Collection(client, qdrant.collection)


async def refused(call: object) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]  # a coroutine of any kind
    return caught.value.code()


async def test_a_guarded_upsert_inserts_absent_points_and_skips_newer_ones(collection: Collection) -> None:
    await collection.upsert(point("old", 3, text="first"), point("new", 9, text="first"))

    result = await collection.upsert(
        point("old", 5, text="second"),
        point("new", 5, text="second"),
        point("absent", 5, text="second"),
        update_filter=not_newer_than(5),
    )

    assert result.status == pb.UpdateStatus.Completed
    assert await collection.versions("old", "new", "absent") == {"old": 5, "new": 9, "absent": 5}
    assert (await collection.payloads("new"))["new"]["text"] == "first"


async def test_many_versions_in_one_request_are_guarded_each_by_its_own(collection: Collection) -> None:
    await collection.upsert(point("a", 10), point("b", 10))
    guards = [
        pb.Condition(
            filter=pb.Filter(
                must=[
                    pb.Condition(has_id=pb.HasIdCondition(has_id=[pb.PointId(uuid=uid(name))])),
                    newer_than(version),
                ]
            )
        )
        for name, version in (("a", 9), ("b", 11))
    ]

    await collection.upsert(point("a", 9), point("b", 11), update_filter=pb.Filter(must_not=guards))

    assert await collection.versions("a", "b") == {"a": 10, "b": 11}


async def test_a_guard_takes_points_without_a_version_for_older(collection: Collection) -> None:
    bare = point("bare", 0)
    del bare.payload["version"]
    bare.payload["text"].string_value = "kept"
    await collection.upsert(bare, point("odd", 0))
    await collection.client.set_payload(collection.name, {"version": "seven"}, [uid("odd")], wait=True)

    await collection.upsert(point("bare", 1), point("odd", 1), update_filter=not_newer_than(1))

    assert await collection.versions("bare", "odd") == {"bare": 1, "odd": 1}


async def test_of_an_id_that_comes_twice_the_last_copy_wins(collection: Collection) -> None:
    await collection.upsert(point("twice", 9), point("twice", 3))
    assert await collection.versions("twice") == {"twice": 3}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(pb.UpdateMode.InsertOnly, {"there": 1, "absent": 2}), (pb.UpdateMode.UpdateOnly, {"there": 2})],
)
async def test_update_modes_insert_only_or_update_only(
    collection: Collection, mode: pb.UpdateMode.ValueType, expected: dict[str, int]
) -> None:
    await collection.upsert(point("there", 1))
    await collection.upsert(point("there", 2), point("absent", 2), update_mode=mode)
    assert await collection.versions("there", "absent") == expected


async def test_racing_guarded_writers_leave_the_newest(collection: Collection) -> None:
    rng = random.Random(5)  # a repeatable schedule, not a secret
    names = range(50)
    versions = {name: [rng.randrange(1, 2**52) for _ in range(8)] for name in names}

    async def write(writer: int) -> None:
        order = rng.sample(names, len(names))
        for name in order:
            version = versions[name][writer]
            await collection.upsert(point(name, version), update_filter=not_newer_than(version))

    await asyncio.gather(*(write(writer) for writer in range(8)))

    assert await collection.versions(*names) == {str(name): max(seen) for name, seen in versions.items()}


async def test_setting_a_payload_by_an_absent_id_is_not_found_and_by_filter_completed(collection: Collection) -> None:
    await collection.upsert(point("there", 1, text="kept"))
    selector = pb.PointsSelector(points=pb.PointsIdsList(ids=[pb.PointId(uuid=uid("absent"))]))
    absent = pb.Condition(has_id=pb.HasIdCondition(has_id=[pb.PointId(uuid=uid(n)) for n in ("absent", "there")]))
    request = pb.SetPayloadPoints(
        collection_name=collection.name,
        wait=True,
        payload={"version": pb.Value(integer_value=2)},
        points_selector=selector,
    )
    stub = collection.client.grpc_points

    assert await refused(stub.SetPayload(request)) is grpc.StatusCode.NOT_FOUND

    request.points_selector.CopyFrom(pb.PointsSelector(filter=pb.Filter(must=[absent], must_not=[newer_than(2)])))
    assert (await stub.SetPayload(request)).result.status == pb.UpdateStatus.Completed
    assert await collection.payloads("there", "absent") == {"there": {"version": 2, "text": "kept"}}


async def test_a_wrong_dimension_refuses_the_whole_request(collection: Collection) -> None:
    wrong = collection.upsert(point("right", 1), point("wrong", 1, [1.0, 2.0]))
    assert await refused(wrong) is grpc.StatusCode.INVALID_ARGUMENT
    assert await collection.versions("right", "wrong") == {}


async def test_a_point_without_vectors_is_refused(collection: Collection) -> None:
    bare = point("bare", 1)
    bare.ClearField("vectors")
    assert await refused(collection.upsert(bare)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_not_a_number_is_stored_in_a_vector_and_refused_in_a_payload(collection: Collection) -> None:
    await collection.upsert(point("vector", 1, [float("nan")] * SIZE))
    assert await collection.versions("vector") == {"vector": 1}
    odd = point("payload", 1)
    odd.payload["n"].double_value = float("nan")
    assert await refused(collection.upsert(odd)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_batch_stops_at_its_first_failure_and_keeps_what_came_before(collection: Collection) -> None:
    operation = pb.PointsUpdateOperation
    lists = [operation.PointStructList(points=[one]) for one in (point("a", 1), point("b", 1, [1.0]), point("c", 1))]
    request = pb.UpdateBatchPoints(
        collection_name=collection.name, wait=True, operations=[operation(upsert=points) for points in lists]
    )

    assert await refused(collection.client.grpc_points.UpdateBatch(request)) is grpc.StatusCode.INVALID_ARGUMENT

    assert await collection.versions("a", "b", "c") == {"a": 1}


async def test_a_batch_carries_guards_and_answers_operation_by_operation(collection: Collection) -> None:
    await collection.upsert(point("old", 1, text="kept"), point("new", 9))
    operation = pb.PointsUpdateOperation
    upsert = operation.PointStructList(points=[point("new", 5), point("absent", 5)], update_filter=not_newer_than(5))
    old = pb.Condition(has_id=pb.HasIdCondition(has_id=[pb.PointId(uuid=uid("old"))]))
    payload = operation.SetPayload(
        payload={"version": pb.Value(integer_value=5)},
        points_selector=pb.PointsSelector(filter=pb.Filter(must=[old], must_not=[newer_than(5)])),
    )
    request = pb.UpdateBatchPoints(
        collection_name=collection.name,
        wait=True,
        operations=[operation(upsert=upsert), operation(set_payload=payload)],
    )

    response = await collection.client.grpc_points.UpdateBatch(request)

    assert [result.status for result in response.result] == [pb.UpdateStatus.Completed] * 2
    assert await collection.versions("old", "new", "absent") == {"old": 5, "new": 9, "absent": 5}


async def test_stale_chunks_are_deleted_by_document_and_version(collection: Collection) -> None:
    await collection.client.create_payload_index(
        collection.name, "document_id", models.PayloadSchemaType.KEYWORD, wait=True
    )
    await collection.upsert(
        *(point((key, version), version, document_id=key) for key in ("a", "b") for version in (1, 2, 3))
    )
    stale = models.Filter(
        must=[
            models.FieldCondition(key="document_id", match=models.MatchValue(value="a")),
            models.FieldCondition(key="version", range=models.Range(lt=3)),
        ]
    )

    await collection.client.delete(collection.name, models.FilterSelector(filter=stale), wait=True)

    left = {(key, version) for key in ("a", "b") for version in (1, 2, 3)} - {("a", 1), ("a", 2)}
    records, _ = await collection.client.scroll(collection.name, limit=10)
    assert {(record.payload or {})["document_id"] for record in records} == {"a", "b"}
    assert {str(record.id) for record in records} == {uid(name) for name in left}


async def test_scrolling_pages_through_everything_once(collection: Collection) -> None:
    await collection.upsert(*(point(name, name) for name in range(25)))
    seen: list[str] = []
    offset = None
    while True:
        records, offset = await collection.client.scroll(collection.name, limit=10, offset=offset)
        seen += [str(record.id) for record in records]
        if offset is None:
            break
    assert sorted(seen) == sorted(uid(name) for name in range(25))


async def test_counts_and_nearest_points_respect_filters(collection: Collection) -> None:
    await collection.upsert(*(point(n, n, [1.0, n / 10, 0.0, 0.0], text="x") for n in range(10)))
    young = models.Filter(must=[models.FieldCondition(key="version", range=models.Range(gte=4))])

    assert (await collection.client.count(collection.name, count_filter=young)).count == 6
    found = await collection.client.query_points(
        collection.name, query=[1.0, 0.0, 0.0, 0.0], query_filter=young, limit=2, with_payload=["version"]
    )
    assert [hit.payload for hit in found.points] == [{"version": 4}, {"version": 5}]
    assert found.points[0].score > found.points[1].score


async def test_packed_floats_come_back_as_the_very_same_unit_vector(collection: Collection) -> None:
    vector = np.random.default_rng(1).normal(size=SIZE).astype("<f4")
    vector /= np.linalg.norm(vector)
    raw = vector.tobytes()
    packed = point("packed", 1)
    packed.vectors.vector.dense.Clear()
    packed.vectors.vector.dense.MergeFromString(bytes([0x0A, len(raw)]) + raw)
    await collection.upsert(packed)

    request = pb.GetPoints(
        collection_name=collection.name,
        ids=[packed.id],
        with_vectors=pb.WithVectorsSelector(enable=True),
    )
    found = (await collection.client.grpc_points.Get(request)).result[0]

    # A cosine collection normalises what it is given: a vector of length 1 may move in its last bits.
    assert np.allclose(np.array(found.vectors.vector.dense.data, dtype="<f4"), vector, rtol=2**-22, atol=0)


async def test_without_cosine_vectors_come_back_bit_by_bit(client: AsyncQdrantClient, qdrant: QdrantSpace) -> None:
    params = models.VectorParams(size=SIZE, distance=models.Distance.DOT)
    await client.create_collection(qdrant.collection, vectors_config=params)
    vector = np.random.default_rng(2).normal(size=SIZE).astype("<f4")
    collection = Collection(client, qdrant.collection)
    await collection.upsert(point("packed", 1, vector.tolist()))

    found = await client.retrieve(qdrant.collection, [uid("packed")], with_vectors=True)

    assert np.array_equal(np.array(found[0].vector, dtype="<f4"), vector)


async def test_a_collection_without_vectors_keeps_guarded_payloads(
    client: AsyncQdrantClient, qdrant: QdrantSpace
) -> None:
    await client.create_collection(qdrant.collection, vectors_config={})
    bare = point("manifest", 5)
    bare.vectors.CopyFrom(pb.Vectors(vectors=pb.NamedVectors()))
    collection = Collection(client, qdrant.collection)

    await collection.upsert(bare)
    bare.payload["version"].integer_value = 3
    await collection.upsert(bare, update_filter=not_newer_than(3))

    assert await collection.versions("manifest") == {"manifest": 5}
    assert await refused(collection.upsert(point("vector", 1))) is grpc.StatusCode.INVALID_ARGUMENT
    assert (await client.get_collection(qdrant.collection)).config.params.vectors == {}


async def test_an_alias_stands_wherever_a_collection_does_and_is_replaced_in_one_step(
    collection: Collection, client: AsyncQdrantClient
) -> None:
    alias, second = f"{collection.name}-alias", f"{collection.name}-2"
    params = models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
    await client.create_collection(second, vectors_config=params)

    async def point_to(target: str) -> None:
        create = models.CreateAlias(collection_name=target, alias_name=alias)
        await client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])

    await point_to(collection.name)
    through = Collection(client, alias)
    await through.upsert(point("a", 1), update_filter=not_newer_than(1))
    assert await collection.versions("a") == {"a": 1}
    assert await client.collection_exists(alias)
    assert (await client.get_collection(alias)).points_count == 1

    await point_to(second)
    assert await through.versions("a") == {}
    described = (await client.get_collection_aliases(second)).aliases
    assert [found.alias_name for found in described] == [alias]
    assert alias in {found.alias_name for found in (await client.get_aliases()).aliases}


async def test_a_missing_collection_is_not_found_and_an_existing_one_not_made_again(
    collection: Collection, client: AsyncQdrantClient
) -> None:
    absent = Collection(client, f"{collection.name}-absent")
    assert await refused(absent.upsert(point("a", 1))) is grpc.StatusCode.NOT_FOUND
    assert await refused(client.get_collection(absent.name)) is grpc.StatusCode.NOT_FOUND
    assert not await client.collection_exists(absent.name)
    assert not await client.delete_collection(absent.name)
    params = models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
    again = client.create_collection(collection.name, vectors_config=params)
    assert await refused(again) is grpc.StatusCode.ALREADY_EXISTS


async def test_a_collection_describes_itself(collection: Collection, client: AsyncQdrantClient) -> None:
    await client.create_payload_index(collection.name, "document_id", models.PayloadSchemaType.KEYWORD, wait=True)
    await client.create_payload_index(collection.name, "version", models.PayloadSchemaType.INTEGER, wait=True)
    await client.delete_payload_index(collection.name, "version", wait=True)
    await client.update_collection(collection.name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=5))

    info = await client.get_collection(collection.name)

    assert info.config.params.vectors == models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
    assert info.config.optimizer_config.indexing_threshold == 5
    assert {field: index.data_type for field, index in info.payload_schema.items()} == {
        "document_id": models.PayloadSchemaType.KEYWORD
    }
    assert collection.name in {found.name for found in (await client.get_collections()).collections}


async def test_a_write_that_does_not_wait_is_only_acknowledged(collection: Collection) -> None:
    request = pb.UpsertPoints(collection_name=collection.name, points=[point("a", 1)])
    response = await collection.client.grpc_points.Upsert(request)
    assert response.result.status == pb.UpdateStatus.Acknowledged


async def test_the_version_is_one_that_has_conditional_upserts(client: AsyncQdrantClient) -> None:
    version = (await client.info()).version
    assert tuple(int(part) for part in version.split(".")[:2]) >= (1, 16)
