"""The embedded Qdrant server as a server: keys, ports, hooks, restarts, and as a process of its own."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client import grpc as pb

from harness.fixtures_qdrant import QdrantAddress, address_of
from streamdex.standins.qdrant import DirectClient, EmbeddedQdrant, Engine, FaultKind, QdrantFault, QdrantService

CREATE = pb.CreateCollection(
    collection_name="c", vectors_config=pb.VectorsConfig(params=pb.VectorParams(size=2, distance=pb.Dot))
)


def upsert(number: int) -> pb.UpsertPoints:
    vector = pb.Vector(dense=pb.DenseVector(data=[1.0, 2.0]))
    point = pb.PointStruct(id=pb.PointId(num=number), vectors=pb.Vectors(vector=vector))
    return pb.UpsertPoints(collection_name="c", wait=True, points=[point])


def stored(engine: Engine) -> list[int]:
    return [point.id.num for point in engine.scroll(pb.ScrollPoints(collection_name="c", limit=100)).result]


@asynccontextmanager
async def client_of(server: EmbeddedQdrant, api_key: str | None = None) -> AsyncIterator[AsyncQdrantClient]:
    client = address_of(server, api_key).client()
    yield client
    await client.close()


async def code_of(call: object) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]  # a coroutine of any kind
    return caught.value.code()


async def test_a_wrong_key_is_unauthenticated_and_a_reading_one_may_only_read() -> None:
    async with EmbeddedQdrant(api_key="right", read_only_api_key="reader") as server:
        server.engine.create_collection(CREATE)
        for key in ("wrong", None):
            async with client_of(server, key) as client:
                assert await code_of(client.grpc_points.Upsert(upsert(1))) is grpc.StatusCode.UNAUTHENTICATED
                assert (await client.info()).version
        async with client_of(server, "reader") as client:
            assert await code_of(client.grpc_points.Upsert(upsert(1))) is grpc.StatusCode.PERMISSION_DENIED
            assert (await client.count("c")).count == 0
        async with client_of(server, "right") as client:
            await client.grpc_points.Upsert(upsert(1))
        assert stored(server.engine) == [1]


async def test_a_taken_port_is_an_error(qdrant_server: EmbeddedQdrant) -> None:
    second = EmbeddedQdrant(port=qdrant_server.port)
    with pytest.raises(OSError, match="cannot listen"):
        await second.start()
    await second.stop()


async def test_stopping_twice_or_before_the_start_is_safe() -> None:
    server = EmbeddedQdrant()
    await server.stop()
    await server.stop()


@pytest.mark.parametrize("turns", range(0, 24, 2))
async def test_it_stops_also_while_it_cuts_its_connections(turns: int) -> None:
    server = await EmbeddedQdrant().start()
    server.engine.create_collection(CREATE)
    async with client_of(server) as client:
        await client.grpc_points.Upsert(upsert(1))
        cutting = asyncio.create_task(server.reset_connections())
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.stop()
        await cutting
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(server.host, server.port)


async def test_before_steers_the_order_in_which_requests_are_applied(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    qdrant_server.engine.create_collection(CREATE)
    arrived: list[str] = []
    both, second_done = asyncio.Event(), asyncio.Event()

    async def before(method: str, request: pb.UpsertPoints) -> None:
        arrived.append(method)
        if len(arrived) == 2:
            both.set()
        if request.points[0].id.num == 1:
            await second_done.wait()

    qdrant_server.before = before
    first = asyncio.ensure_future(qdrant_client.grpc_points.Upsert(upsert(1)))
    await qdrant_client.grpc_points.Upsert(upsert(2))
    await both.wait()
    assert stored(qdrant_server.engine) == [2]
    second_done.set()
    await first
    assert stored(qdrant_server.engine) == [1, 2]
    assert arrived == ["Points.Upsert"] * 2


async def test_requests_in_flight_overtake_each_other_when_asked_to() -> None:
    service = QdrantService(Engine(), seed=3, reorder_s=0.02)
    stub = DirectClient(service).points
    service.engine.create_collection(CREATE)
    applied: list[int] = []

    async def note(_: str, request: pb.UpsertPoints) -> None:
        applied.append(request.points[0].id.num)

    service.before = note
    await asyncio.gather(*(stub.Upsert(upsert(number)) for number in range(20)))

    assert applied != sorted(applied)
    assert stored(service.engine) == sorted(applied) == list(range(20))
    service.engine.close()


async def test_the_direct_client_raises_what_the_real_one_raises() -> None:
    service = QdrantService(Engine())
    client = DirectClient(service)
    assert (await client.qdrant.HealthCheck(pb.HealthCheckRequest())).version
    assert await code_of(client.points.Upsert(upsert(1))) is grpc.StatusCode.NOT_FOUND
    await client.collections.Create(CREATE)
    for kind, code in {
        FaultKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        FaultKind.UNANSWERED: grpc.StatusCode.DEADLINE_EXCEEDED,
        FaultKind.RESET: grpc.StatusCode.UNAVAILABLE,
    }.items():
        fault = service.faults.inject(QdrantFault(kind, times=1))
        assert await code_of(client.points.Upsert(upsert(1).SerializeToString(), timeout=0.05)) is code
        assert fault.fired == 1
    assert await code_of(client.points.Recommend(pb.RecommendPoints())) is grpc.StatusCode.UNIMPLEMENTED
    await service.close()
    await client.close()
    service.engine.close()


async def test_what_is_not_offered_is_refused(qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient) -> None:
    qdrant_server.engine.create_collection(CREATE)
    snapshots = qdrant_client.grpc_points.Recommend(pb.RecommendPoints(collection_name="c"))
    assert await code_of(snapshots) is grpc.StatusCode.UNIMPLEMENTED
    flag = models.FieldCondition(key="flag", match=models.MatchValue(value=True))
    delete = qdrant_client.delete("c", models.FilterSelector(filter=models.Filter(must=[flag])))
    assert await code_of(delete) is grpc.StatusCode.UNIMPLEMENTED


async def test_a_directory_keeps_data_aliases_and_indexes_across_starts(tmp_path: Path) -> None:
    alias = models.CreateAlias(collection_name="c", alias_name="alias")
    async with EmbeddedQdrant(directory=tmp_path) as server, client_of(server) as client:
        await client.create_collection("c", vectors_config={"v": models.VectorParams(size=2, distance="Dot")})
        await client.create_collection("gone", vectors_config={})
        await client.delete_collection("gone")
        await client.create_payload_index("c", "key", models.PayloadSchemaType.KEYWORD)
        await client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
        await client.upsert("c", [models.PointStruct(id=1, vector={"v": [1, 2]}, payload={"key": "a"})])
    async with EmbeddedQdrant(directory=tmp_path) as server, client_of(server) as client:
        found = await client.retrieve("alias", [1], with_vectors=True)
        assert (found[0].vector, found[0].payload) == ({"v": [1.0, 2.0]}, {"key": "a"})
        assert set((await client.get_collection("c")).payload_schema) == {"key"}
        assert [one.name for one in (await client.get_collections()).collections] == ["c"]


async def test_as_a_process_it_is_controlled_over_http_and_ends_on_a_signal() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamdex.standins.qdrant", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        ports = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
        client = QdrantAddress("127.0.0.1", ports["grpc_port"], None, "a process").client()
        await client.create_collection("c", vectors_config=models.VectorParams(size=2, distance="Dot"))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['control_port']}/_control") as control:
            injected = await control.post("/faults", json={"kind": "lost_answer", "times": 1})
            assert injected.status_code == 201
            assert await code_of(client.grpc_points.Upsert(upsert(1))) is grpc.StatusCode.UNAVAILABLE
            assert (await client.count("c")).count == 0
            assert [fault["fired"] for fault in (await control.get("/faults")).json()] == [1]
            assert (await control.get("/faults/0")).json()["fired"] == 1
            assert (await control.delete("/faults/0")).json()["fired"] == 1
            assert (await control.get("/faults/7")).status_code == 404
            assert (await control.post("/release")).json() == {"released": 1}
            assert (await client.count("c")).count == 1
            assert (await control.post("/faults", json={"kind": "no such"})).status_code == 422
            assert (await control.post("/faults", json={"kind": "slow", "odd": 1})).status_code == 422
            await control.delete("/faults")
            await control.post("/reset")
            await client.grpc_points.Upsert(upsert(2), wait_for_ready=True)
            stats = (await control.get("/stats")).json()
        assert (stats["requests"]["Points.Upsert"], stats["refused"], stats["points_upserted"]) == (
            2,
            {"Points.Upsert": 1},
            2,
        )
        await client.close()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
