"""Every fault does what its name says, seen through the real client, and counts how often it fired."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import grpc
import pytest
from qdrant_client import AsyncQdrantClient
from qdrant_client import grpc as pb
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

from harness.fixtures_qdrant import address_of
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault

C = grpc.StatusCode


@pytest.fixture(autouse=True)
def collection(qdrant_server: EmbeddedQdrant) -> None:
    params = pb.VectorParams(size=2, distance=pb.Cosine)
    config = pb.VectorsConfig(params=params)
    qdrant_server.engine.create_collection(pb.CreateCollection(collection_name="c", vectors_config=config))


def point(number: int, text: str = "") -> pb.PointStruct:
    vector = pb.Vector(dense=pb.DenseVector(data=[1.0, 2.0]))
    payload = {"text": pb.Value(string_value=text)}
    return pb.PointStruct(id=pb.PointId(num=number), vectors=pb.Vectors(vector=vector), payload=payload)


def upsert(*points: pb.PointStruct) -> pb.UpsertPoints:
    return pb.UpsertPoints(collection_name="c", wait=True, points=points or [point(1)])


def stored(server: EmbeddedQdrant) -> int:
    return server.engine.count(pb.CountPoints(collection_name="c")).result.count


async def refusal(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # nothing signals what a test alone wants to know
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FaultKind.UNAVAILABLE, C.UNAVAILABLE),
        (FaultKind.RATE_LIMITED, C.RESOURCE_EXHAUSTED),
        (FaultKind.DISK_FULL, C.INTERNAL),
        (FaultKind.INSUFFICIENT_STORAGE, C.RESOURCE_EXHAUSTED),
        (FaultKind.INTERNAL, C.INTERNAL),
        (FaultKind.UNAUTHENTICATED, C.UNAUTHENTICATED),
        (FaultKind.PERMISSION_DENIED, C.PERMISSION_DENIED),
    ],
)
async def test_a_refusing_fault_fires_its_times_and_nothing_is_applied(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient, kind: FaultKind, code: grpc.StatusCode
) -> None:
    fault = qdrant_server.faults.inject(QdrantFault(kind, times=2))

    for _ in range(2):
        assert (await refusal(qdrant_client.grpc_points.Upsert(upsert()))).code() is code
    assert stored(qdrant_server) == 0
    await qdrant_client.grpc_points.Upsert(upsert())

    assert fault.fired == 2
    assert stored(qdrant_server) == 1
    assert qdrant_server.stats.requests["Points.Upsert"] == 3
    assert qdrant_server.stats.refused["Points.Upsert"] == 2


async def test_the_rate_limit_names_a_time_to_wait(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    fault = qdrant_server.faults.inject(QdrantFault(FaultKind.RATE_LIMITED, retry_after_s=7))
    with pytest.raises(ResourceExhaustedResponse) as caught:
        await qdrant_client.grpc_points.Upsert(upsert())
    assert caught.value.retry_after_s == 7
    assert fault.fired == 1


async def test_a_full_disk_is_told_in_the_words_and_trailers_of_either_version(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    qdrant_server.faults.inject(QdrantFault(FaultKind.DISK_FULL, times=1))
    qdrant_server.faults.inject(QdrantFault(FaultKind.INSUFFICIENT_STORAGE, times=1))
    old = await refusal(qdrant_client.grpc_points.Upsert(upsert()))
    new = await refusal(qdrant_client.grpc_points.Upsert(upsert()))
    assert re.search("No space left on device", str(old.details()))
    assert "qdrant-insufficient-storage" in dict(new.trailing_metadata() or ())


async def test_only_requests_above_the_capacity_are_too_large(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    fault = qdrant_server.faults.inject(QdrantFault(FaultKind.RATE_CAPACITY, capacity=2))
    stub = qdrant_client.grpc_points
    three = [point(number) for number in range(3)]
    batch = pb.UpdateBatchPoints(
        collection_name="c",
        operations=[
            pb.PointsUpdateOperation(upsert=pb.PointsUpdateOperation.PointStructList(points=[one])) for one in three
        ],
    )
    ids = pb.PointsSelector(points=pb.PointsIdsList(ids=[one.id for one in three]))

    error = await refusal(stub.Upsert(upsert(*three)))
    assert error.code() is C.RESOURCE_EXHAUSTED
    assert "retry-after" not in dict(error.trailing_metadata() or ())
    await refusal(stub.UpdateBatch(batch))
    await refusal(stub.Delete(pb.DeletePoints(collection_name="c", points=ids)))
    await stub.Upsert(upsert(*three[:2]))
    await stub.Delete(pb.DeletePoints(collection_name="c", points=pb.PointsSelector(filter=pb.Filter())))

    assert fault.fired == 3


async def test_a_bad_point_refuses_whatever_request_it_is_in(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    fault = qdrant_server.faults.inject(QdrantFault(FaultKind.BAD_POINT, marker="pöison"))
    stub = qdrant_client.grpc_points

    error = await refusal(stub.Upsert(upsert(point(1, "fine"), point(2, "some pöison in it"))))
    await stub.Upsert(upsert(point(1, "fine")))

    assert error.code() is C.INVALID_ARGUMENT
    assert (fault.fired, stored(qdrant_server)) == (1, 1)


async def test_a_slow_request_is_answered_after_the_client_has_given_up_or_not_at_all(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    await qdrant_client.info()  # connected: the time is the request's alone
    fault = qdrant_server.faults.inject(QdrantFault(FaultKind.SLOW, delay_s=60))
    error = await refusal(qdrant_client.grpc_points.Upsert(upsert(), timeout=0.5))
    assert error.code() is C.DEADLINE_EXCEEDED
    assert fault.fired == 1


async def test_a_wait_timeout_is_a_success_that_lands_later(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    fault = qdrant_server.faults.inject(QdrantFault(FaultKind.WAIT_TIMEOUT, times=2))
    operation = pb.PointsUpdateOperation(upsert=pb.PointsUpdateOperation.PointStructList(points=[point(2)]))
    batch = pb.UpdateBatchPoints(collection_name="c", wait=True, operations=[operation, operation])

    answer = await qdrant_client.grpc_points.Upsert(upsert())
    batched = await qdrant_client.grpc_points.UpdateBatch(batch)

    assert answer.result.status == pb.UpdateStatus.WaitTimeout
    assert [result.status for result in batched.result] == [pb.UpdateStatus.WaitTimeout] * 2
    assert (fault.fired, stored(qdrant_server)) == (2, 0)
    assert await qdrant_server.release() == 2
    assert stored(qdrant_server) == 2


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        (FaultKind.LOST_ANSWER, {C.UNAVAILABLE}),
        (FaultKind.UNANSWERED, {C.DEADLINE_EXCEEDED}),
        (FaultKind.SEVERED, {C.UNAVAILABLE, C.CANCELLED}),
    ],
)
async def test_a_write_whose_answer_is_lost_lands_when_released(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient, kind: FaultKind, codes: set[grpc.StatusCode]
) -> None:
    await qdrant_client.info()  # connected: the time is the request's alone
    fault = qdrant_server.faults.inject(QdrantFault(kind, times=1))

    timeout_s = 1.0 if kind is FaultKind.UNANSWERED else 30
    error = await refusal(qdrant_client.grpc_points.Upsert(upsert(), timeout=timeout_s))

    assert error.code() in codes
    assert (fault.fired, stored(qdrant_server)) == (1, 0)
    assert await qdrant_server.release() == 1
    assert stored(qdrant_server) == 1


async def test_a_lost_write_lands_by_itself_after_its_delay(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    qdrant_server.faults.inject(QdrantFault(FaultKind.LOST_ANSWER, times=1, delay_s=0.01))
    await refusal(qdrant_client.grpc_points.Upsert(upsert()))
    await until(lambda: qdrant_server.service.held == 0)
    assert stored(qdrant_server) == 1


async def test_a_held_write_never_lands_once_the_server_stopped() -> None:
    async with EmbeddedQdrant() as server:
        server.faults.inject(QdrantFault(FaultKind.UNANSWERED))
        request = pb.UpsertPoints(collection_name="c", wait=True, points=[point(1)])
        client = address_of(server).client()
        call = asyncio.ensure_future(client.grpc_points.Upsert(request, timeout=30))
        await until(lambda: server.service.held)
        await server.stop()
        assert (await refusal(call)).code() in (C.UNAVAILABLE, C.CANCELLED)
        assert server.service.held == 0
        await client.close()


async def test_a_reset_cuts_every_connection_and_the_client_comes_back(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    arrived, port = asyncio.Event(), qdrant_server.port

    async def note(_: str, __: object) -> None:
        arrived.set()
        await asyncio.Event().wait()

    qdrant_server.before = note
    bystander = asyncio.ensure_future(qdrant_client.grpc_points.Upsert(upsert(point(1)), timeout=30))
    await arrived.wait()
    qdrant_server.before = None
    fault = qdrant_server.faults.inject(QdrantFault(FaultKind.RESET, times=1))

    cut = await refusal(qdrant_client.grpc_points.Upsert(upsert(point(2)), timeout=30))

    assert cut.code() in (C.UNAVAILABLE, C.CANCELLED)
    assert (await refusal(bystander)).code() in (C.UNAVAILABLE, C.CANCELLED)
    assert (fault.fired, stored(qdrant_server)) == (1, 0)
    await qdrant_client.grpc_points.Upsert(upsert(), wait_for_ready=True, timeout=30)
    assert (qdrant_server.port, stored(qdrant_server)) == (port, 1)


async def test_faults_are_chosen_by_method_condition_and_luck(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    faults = qdrant_server.faults
    reads = faults.inject(QdrantFault(FaultKind.UNAVAILABLE, frozenset({"Points.Count"})))
    second = faults.inject(
        QdrantFault(FaultKind.INTERNAL, when=lambda _, request: request.points[0].id.num == 2, times=1)
    )
    await qdrant_client.grpc_points.Upsert(upsert(point(1)))
    await refusal(qdrant_client.grpc_points.Upsert(upsert(point(2))))
    await refusal(qdrant_client.grpc_points.Count(pb.CountPoints(collection_name="c")))
    assert (reads.fired, second.fired) == (1, 1)

    faults.heal(reads)
    await qdrant_client.grpc_points.Count(pb.CountPoints(collection_name="c"))
    faults.heal()
    lucky = faults.inject(QdrantFault(FaultKind.UNAVAILABLE, frozenset({"Points"}), probability=0.5))
    for _ in range(40):
        outcome = await asyncio.gather(qdrant_client.grpc_points.Upsert(upsert()), return_exceptions=True)
        assert outcome
    assert 5 < lucky.fired < 35
    assert faults.active == (lucky,)
