"""Set-up: what is made, what is taken as it is, what is refused, and two workers at once."""

import asyncio
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client import grpc as q

from harness.index import FINGERPRINT, assert_holds, opened, put, settings_for
from streamdex.config import QdrantSettings
from streamdex.errors import AccountFault, ConfigurationError
from streamdex.index import CollectionMissing
from streamdex.index.bookkeeping import LogId, Progress, next_base
from streamdex.index.collection import creation, harmless_differences, refuse_differences
from streamdex.model import Order, Partition, Rank
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault


async def names(client: AsyncQdrantClient) -> set[str]:
    return {collection.name for collection in (await client.get_collections()).collections}


async def aliases(client: AsyncQdrantClient) -> dict[str, str]:
    return {alias.alias_name: alias.collection_name for alias in (await client.get_aliases()).aliases}


async def indexed(client: AsyncQdrantClient, name: str) -> dict[str, str]:
    info = await client.get_collection(name)
    return {field: index.data_type.value for field, index in info.payload_schema.items()}


async def test_from_nothing(qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient) -> None:
    settings = settings_for(qdrant_server, tenant_key="tenant", payload_indexes={"metadata.year": "integer"})
    async with opened(qdrant_server, settings):
        assert await names(qdrant_client) == {"documents__1", "documents__1__manifests"}
        assert await aliases(qdrant_client) == {"documents": "documents__1"}
        assert await indexed(qdrant_client, "documents") == {
            "document_id": "keyword",
            "version": "integer",
            "metadata.tenant": "keyword",
            "metadata.year": "integer",
        }
        assert await indexed(qdrant_client, "documents__1__manifests") == {
            "kind": "keyword",
            "version": "integer",
            "tombstone_until": "integer",
        }
    before = dict(qdrant_server.stats.requests)
    async with opened(qdrant_server, settings):
        after = qdrant_server.stats.requests
        for made in ("Collections.Create", "Collections.UpdateAliases", "Points.CreateFieldIndex"):
            assert after[made] == before[made]


async def test_version_order_indexes_the_sequence_too(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    async with opened(qdrant_server, settings_for(qdrant_server, order=Order.VERSION)):
        assert (await indexed(qdrant_client, "documents"))["sequence"] == "integer"
        assert (await indexed(qdrant_client, "documents__1__manifests"))["sequence"] == "integer"


async def test_a_plain_collection_is_used_as_it_is(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    await qdrant_client.create_collection(
        "documents", vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE)
    )
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["text"])
        await assert_holds(index, "1", 64, ["text"])
    assert await names(qdrant_client) == {"documents", "documents__manifests"}
    assert await aliases(qdrant_client) == {}


async def test_writers_stay_with_the_collection_when_the_alias_is_switched(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    async with opened(qdrant_server) as index:
        await qdrant_client.create_collection(
            "documents__2", vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE)
        )
        create = models.CreateAlias(collection_name="documents__2", alias_name="documents")
        await qdrant_client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
        await put(index, "1", 64, ["text"])
        assert (await qdrant_client.count("documents__1")).count == 1
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["text"])
    assert (await qdrant_client.count("documents__2")).count == 1
    assert await aliases(qdrant_client) == {"documents": "documents__2"}


async def test_a_start_that_broke_off_is_finished_by_the_next(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    crash = qdrant_server.faults.inject(
        QdrantFault(FaultKind.INTERNAL, frozenset({"Collections.UpdateAliases"}), times=1)
    )
    with pytest.raises(Exception, match="INTERNAL"):
        async with opened(qdrant_server):
            pytest.fail("the alias was made")
    assert crash.fired == 1
    async with opened(qdrant_server):
        assert await aliases(qdrant_client) == {"documents": "documents__1"}


async def test_two_workers_start_at_once(qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient) -> None:
    waiting: dict[str, list[asyncio.Future[None]]] = {}

    async def in_step(method: str, _: Any) -> None:
        """Let every request of the set-up pass only when the other worker's is there too, where it comes."""
        back_pressure = asyncio.get_running_loop().create_future()
        waiting.setdefault(method, []).append(back_pressure)
        if len(waiting[method]) % 2 == 0:
            for other in waiting[method]:
                if not other.done():
                    other.set_result(None)
        await asyncio.wait((back_pressure,), timeout=0.2)

    qdrant_server.before = in_step
    async with asyncio.timeout(60):
        async with opened(qdrant_server) as one, opened(qdrant_server) as other:
            qdrant_server.before = None
            assert await aliases(qdrant_client) == {"documents": "documents__1"}
            await put(one, "1", 64, ["one"])
            await put(other, "1", 128, ["other"])
            await assert_holds(one, "1", 128, ["other"])


async def test_two_workers_race_for_every_step(qdrant_server: EmbeddedQdrant) -> None:
    async def start() -> int:
        async with opened(qdrant_server) as index:
            return await index.bookkeeping.generation("cutting")

    qdrant_server.service.reorder_s = 0.01
    assert await asyncio.gather(*(start() for _ in range(4))) == [0, 0, 0, 0]


async def test_a_missing_collection_is_not_made_for_a_search(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    with pytest.raises(CollectionMissing, match="there is no collection documents"):
        async with opened(qdrant_server, create=False):
            pytest.fail("it was made")
    assert await names(qdrant_client) == set()


async def test_a_plain_collection_that_no_worker_has_written_to_is_no_place_to_search(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    await qdrant_client.create_collection(
        "documents", vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE)
    )
    with pytest.raises(CollectionMissing, match="no worker has written to it"):
        async with opened(qdrant_server, create=False):
            pytest.fail("it was taken as it is")
    assert await names(qdrant_client) == {"documents"}


@pytest.mark.parametrize(
    ("options", "where", "fix"),
    [
        ({"dimension": 8}, "jina.dimensions", "streamdex reindex"),
        ({"distance": "dot"}, "qdrant.distance", "qdrant.distance=cosine"),
        ({"order": Order.VERSION}, "worker.order", "worker.order=offset"),
        ({"fingerprint": {**FINGERPRINT, "task": "text-matching"}}, "jina", "streamdex reindex"),
        ({"fingerprint": {"model": "stand-in"}}, "jina", "streamdex reindex"),
    ],
)
@pytest.mark.parametrize("create", [True, False])
async def test_differences_that_matter_are_refused_with_their_mend(
    qdrant_server: EmbeddedQdrant, options: dict[str, Any], where: str, fix: str, create: bool
) -> None:
    async with opened(qdrant_server):
        pass
    named = {name: options[name] for name in ("distance", "order") if name in options}
    others = {name: value for name, value in options.items() if name not in named}
    with pytest.raises(ConfigurationError) as caught:
        async with opened(qdrant_server, settings_for(qdrant_server, **named), create=create, **others):
            pytest.fail("it was accepted")
    assert caught.value.where == where
    assert fix in caught.value.fix


async def test_the_fingerprint_says_what_differs(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server):
        pass
    with pytest.raises(ConfigurationError, match="task None there, code here"):
        async with opened(qdrant_server, fingerprint={**FINGERPRINT, "task": "code"}):
            pytest.fail("it was accepted")


def info_of(**params: Any) -> Any:
    return q.CollectionInfo(config=q.CollectionConfig(params=q.CollectionParams(**params)))


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"vectors_config": q.VectorsConfig(params_map=q.VectorParamsMap())}, "named, sparse or multiple"),
        ({}, "named, sparse or multiple"),
        (
            {
                "vectors_config": q.VectorsConfig(
                    params=q.VectorParams(size=4, multivector_config=q.MultiVectorConfig())
                )
            },
            "named, sparse or multiple",
        ),
        ({"vectors_config": q.VectorsConfig(params=q.VectorParams(size=4, datatype=q.Uint8))}, "as integers"),
    ],
)
def test_another_kind_of_vector_is_refused(params: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        refuse_differences(info_of(**params), QdrantSettings(), 4)


def test_every_setting_stands_in_the_request() -> None:
    settings = QdrantSettings(
        distance="euclid",
        on_disk=True,
        quantization="scalar",
        hnsw_m=8,
        hnsw_ef_construct=64,
        shard_number=3,
        replication_factor=2,
        write_consistency_factor=2,
    )
    request = creation(settings, 1024)
    assert (request.vectors_config.params.size, request.vectors_config.params.distance) == (1024, q.Euclid)
    assert request.vectors_config.params.on_disk
    assert request.quantization_config.scalar.type == q.Int8
    assert (request.hnsw_config.m, request.hnsw_config.ef_construct) == (8, 64)
    assert (request.shard_number, request.replication_factor, request.write_consistency_factor) == (3, 2, 2)
    assert creation(QdrantSettings(quantization="binary"), 4).quantization_config.WhichOneof("quantization") == "binary"
    plain = creation(QdrantSettings(), 4)
    assert not any(plain.HasField(name) for name in ("hnsw_config", "quantization_config", "shard_number"))


async def test_harmless_differences_are_said_and_no_more(
    qdrant_server: EmbeddedQdrant, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(qdrant_server):
        pass
    asked = settings_for(qdrant_server, hnsw_m=32, quantization="binary", payload_indexes={"chunk": "integer"})
    capsys.readouterr()
    async with opened(qdrant_server, asked):
        said = capsys.readouterr().out
        assert "collection.differs" in said
        assert "hnsw_m is 16, not 32" in said
        assert "quantization is none, not binary" in said
    async with opened(qdrant_server, settings_for(qdrant_server, payload_indexes={"chunk": "keyword"})):
        assert "chunk is indexed as integer, not as keyword" in capsys.readouterr().out
    async with opened(qdrant_server):
        assert "collection.differs" not in capsys.readouterr().out
    info = info_of(vectors_config=q.VectorsConfig(params=q.VectorParams(size=4)))
    assert harmless_differences(info, QdrantSettings(on_disk=True)) == ["on_disk is False, not True"]


async def test_replicated_collections_are_written_in_strong_order_and_read_by_majority(
    qdrant_server: EmbeddedQdrant,
) -> None:
    seen: dict[str, Any] = {}

    async def look(method: str, request: Any) -> None:
        seen[method] = request

    for factor in (1, 2):
        name = f"copies-{factor}"
        async with opened(
            qdrant_server, settings_for(qdrant_server, collection=name, replication_factor=factor)
        ) as index:
            qdrant_server.before = look
            await put(index, "1", 64, ["text"])
            await index.writer.delete_overtaken({"1": Rank(64)})
            qdrant_server.before = None
        for method in ("Points.UpdateBatch", "Points.Upsert", "Points.Delete"):
            assert seen[method].wait
            assert (seen[method].ordering.type == q.Strong) == (factor > 1)
            assert 0 < seen[method].timeout < 30
        assert seen["Points.Get"].HasField("read_consistency") == (factor > 1)
        if factor > 1:
            assert seen["Points.Get"].read_consistency.type == q.Majority


# --- what the collection remembers ------------------------------------------------------------------------------


async def test_generations_are_numbered_in_the_order_they_are_first_seen(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as one, opened(qdrant_server) as other:
        qdrant_server.service.reorder_s = 0.005
        numbers = await asyncio.gather(
            *(index.bookkeeping.generation(cutting) for cutting in "abcd" for index in (one, other))
        )
        qdrant_server.service.reorder_s = 0
        assert sorted(set(numbers)) == [0, 1, 2, 3]
        assert numbers[::2] == numbers[1::2]
        assert await one.bookkeeping.generation("e") == 4


async def test_the_sixty_fifth_generation_is_refused(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        for number in range(64):
            assert await index.bookkeeping.generation(f"cutting-{number}") == number
        assert await index.bookkeeping.generation("cutting-63") == 63
        with pytest.raises(ConfigurationError, match="64 ways"):
            await index.bookkeeping.generation("one too many")


def test_a_new_base_lies_above_all_sequences_given_out() -> None:
    old, older = LogId("c", "t", 0, 0), LogId("c", "u", 0, 0)
    assert next_base({}, {}, 1000) == 1001
    assert next_base({old: 900}, {old: 50}, 1000) == 1001
    assert next_base({old: 900, older: 950}, {old: 200, older: 60}, 1000) == 1101
    assert next_base({old: 5000}, {}, 1000) == 5001


async def test_bases_are_given_once_and_rise(qdrant_server: EmbeddedQdrant) -> None:
    zero, one, two = (Partition("t", number) for number in range(3))
    async with opened(qdrant_server) as index:
        first = await index.bookkeeping.bases("c", 0, {zero: 100, one: 50})
        assert sorted(first) == [("t", 0, 0), ("t", 1, 0)]
        assert first["t", 1, 0] > first["t", 0, 0] + 100
        assert await index.bookkeeping.bases("c", 0, {zero: 10**6}) == first
        added = await index.bookkeeping.bases("c", 0, {zero: 500, one: 50, two: 0})
        assert added["t", 2, 0] > first["t", 0, 0] + 500
        await index.bookkeeping.write_progress("c", 0, {one: Progress(10**7, 1)})
        recreated = await index.bookkeeping.bases("c", 1, {zero: 0})
        assert recreated["t", 0, 1] > first["t", 1, 0] + 10**7
        assert recreated["t", 0, 0] == first["t", 0, 0]
        elsewhere = await index.bookkeeping.bases("other-cluster", 0, {zero: 0})
        assert list(elsewhere) == [("t", 0, 0)]
        assert elsewhere["t", 0, 0] > recreated["t", 0, 1]


async def test_bases_of_two_workers_at_once_agree(qdrant_server: EmbeddedQdrant) -> None:
    partitions = {Partition("t", number): number for number in range(4)}
    async with opened(qdrant_server) as one, opened(qdrant_server, clock_ms=lambda: 2_000_000_000_000) as other:
        qdrant_server.service.reorder_s = 0.005
        mine, theirs = await asyncio.gather(
            one.bookkeeping.bases("c", 0, partitions), other.bookkeeping.bases("c", 0, partitions)
        )
        assert mine == theirs
        assert len(mine) == 4


async def test_progress_never_goes_backwards(qdrant_server: EmbeddedQdrant) -> None:
    zero, one = Partition("t", 0), Partition("t", 1)
    async with opened(qdrant_server) as index:
        await index.bookkeeping.write_progress("c", 0, {})
        assert await index.bookkeeping.progress("c", 0, [zero]) == {}
        await index.bookkeeping.write_progress("c", 0, {zero: Progress(10, 111), one: Progress(5, None)})
        await index.bookkeeping.write_progress("c", 0, {zero: Progress(9, 99), one: Progress(6, 66)})
        assert await index.bookkeeping.progress("c", 0, [zero, one]) == {zero: Progress(10, 111), one: Progress(6, 66)}
        assert await index.bookkeeping.progress("c", 1, [zero]) == {}
        assert await index.bookkeeping.progress("d", 0, [zero]) == {}
        await index.bookkeeping.write_progress("c", 0, {zero: Progress(10, None)})
        assert await index.bookkeeping.progress("c", 0, [zero]) == {zero: Progress(10, None)}


async def test_a_refused_reserved_write_is_no_records_fault(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        fault = qdrant_server.faults.inject(QdrantFault(FaultKind.BAD_POINT, marker="progress"))
        with pytest.raises(AccountFault, match="refused the request's content"):
            await index.bookkeeping.write_progress("c", 0, {Partition("t", 0): Progress(10, 111)})
        assert fault.fired == 1
