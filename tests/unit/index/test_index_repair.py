"""What `verify` reads and what a repair removes: guarded by the rank that was found."""

from qdrant_client import AsyncQdrantClient, models

from harness.index import NOW_MS, assert_holds, job_of, opened, put, settings_for, write_of
from streamdex.index import Source
from streamdex.model import Order, Partition, Rank
from streamdex.standins.qdrant import EmbeddedQdrant


async def test_a_point_is_removed_at_the_rank_it_was_found_at(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["one", "two"])
        await put(index, "2", 128, ["one", "two"])
        (one, two) = (await index.reader.documents(["1", "2"])).values()
        await index.writer.delete_points({one[1][0].id: Rank(64), two[1][0].id: Rank(127)})
        assert [point.text for point in (await index.reader.documents(["1"]))["1"][1]] == ["two"]
        await assert_holds(index, "2", 128, ["one", "two"])
        await index.writer.delete_points({})


async def test_in_version_order_both_parts_of_the_rank_guard(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server, settings_for(qdrant_server, order=Order.VERSION)) as index:
        await put(index, "1", Rank(7, 640), ["one"])
        point_id = (await index.reader.documents(["1"]))["1"][1][0].id
        await index.writer.delete_points({point_id: Rank(7, 639)})
        await assert_holds(index, "1", Rank(7, 640), ["one"])
        await index.writer.delete_points({point_id: Rank(7, 640)})
        assert (await index.reader.documents(["1"]))["1"][1] == []


async def test_a_manifest_is_forgotten_unless_it_is_newer(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["one"])
        await index.writer.delete_manifests({"1": Rank(63), "unknown": Rank(1000)})
        await assert_holds(index, "1", 64, ["one"])
        await index.writer.delete_manifests({"1": Rank(64)})
        assert await index.reader.manifests(["1"]) == {}


async def test_a_point_with_a_number_for_an_id_can_be_removed(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["one"])
        stray = models.PointStruct(id=77, vector=[1.0, 0, 0, 0], payload={"document_id": "1", "version": 3})
        await qdrant_client.upsert("documents", [stray])
        _, points = (await index.reader.documents(["1"]))["1"]
        assert {point.id: point.rank for point in points}["77"] == Rank(3)
        await index.writer.delete_points({"77": Rank(3)})
        await assert_holds(index, "1", 64, ["one"])


async def test_points_tell_their_source_and_whether_they_have_a_vector(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["one"])
        await put(index, "2", 64, ["two"])
        bare = [
            models.PointStruct(id=7, vector={}, payload={"document_id": "2", "source": {"topic": "t"}}),
            models.PointStruct(id=8, vector={}, payload={"document_id": "3"}),
        ]
        await qdrant_client.upsert("documents", bare)
        found = await index.reader.documents(["1", "2", "nobody"])
        assert [point.source for point in found["1"][1]] == [Source("topic", 3, 64)]
        assert {point.id: point.source for point in found["2"][1]}["7"] is None
        assert found["nobody"] == (None, [])
        assert {one async for one in index.reader.without_vector()} == {"7", "8"}
        assert {one async for one in index.reader.without_vector(["1", "2"])} == {"7"}
        assert await index.reader.counts() == (4, 2)


async def test_a_document_that_changes_while_it_is_read_is_read_again(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["one", "two"])
        read, times = index.reader._points_by_document, 0

        async def slow(keys: list[str]) -> object:
            nonlocal times
            times += 1
            found = await read(keys)
            if times == 1:  # a writer comes in between points and manifest
                before = (await index.reader.manifests(["1"]))["1"]
                await index.writer.write([job_of(write_of("1", 128, ["two", "three"], before))])
            return found

        index.reader._points_by_document = slow  # type: ignore[method-assign,assignment]  # what the network would do
        manifest, points = (await index.reader.documents(["1"]))["1"]
        assert times == 2
        assert manifest is not None
        assert (manifest.rank, [point.text for point in points]) == (Rank(128), ["two", "three"])


async def test_what_is_only_compared_leaves_no_trace(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    log = Partition("documents", 0)
    async with opened(qdrant_server) as index:
        assert await index.bookkeeping.known_generation("digest") is None
        tentative = await index.bookkeeping.bases("cluster", 0, {log: 10}, keep=False)
        assert tentative[("documents", 0, 0)] > NOW_MS
        kept, _ = await qdrant_client.scroll("documents__1__manifests")
        assert [one.payload and one.payload["kind"] for one in kept] == ["schema"]
        assert await index.bookkeeping.generation("digest") == await index.bookkeeping.known_generation("digest") == 0
        bases = await index.bookkeeping.bases("cluster", 0, {log: 10})
        assert await index.bookkeeping.bases("cluster", 0, {log: 99}, keep=False) == bases
