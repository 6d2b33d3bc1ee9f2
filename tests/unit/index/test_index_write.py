"""Documents written, changed, moved, deleted and made again: the collection holds the last event and nothing else."""

import struct
from collections import Counter
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client import grpc as q

from harness.bounds import Bound, set_bound
from harness.index import NOW_MS, assert_holds, job_of, opened, put, settings_for, vector_of, write_of
from streamdex.index import Index
from streamdex.index.guards import Guards
from streamdex.index.schema.keys import manifest_id
from streamdex.model import Manifest, Order, Rank
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault

LETTERS = list("abcdefghij")


async def before(index: Index, key: str) -> Manifest:
    return (await index.reader.manifests([key]))[key]


def asked(server: EmbeddedQdrant) -> Counter[str]:
    """The requests since the last time."""
    counted = Counter(server.stats.requests)
    server.stats.requests.clear()
    return counted


@pytest.mark.parametrize("order", Order)
async def test_the_life_of_a_document(qdrant_server: EmbeddedQdrant, order: Order) -> None:
    def rank(number: int) -> Rank:
        return Rank(number, 64) if order is Order.VERSION else Rank(number * 64)

    async with opened(qdrant_server, settings_for(qdrant_server, order=order)) as index:
        steps: list[tuple[list[str] | None, dict[str, Any]]] = [
            (["a", "b", "c"], {}),
            (["a", "b", "c"], {"title": "only the metadata changes"}),
            (["a", "x", "c"], {"title": "one changes"}),
            (["c", "a", "x"], {"title": "all move"}),
            (["c", "c", "a", "c"], {"title": "one repeats"}),
            (["c"], {}),
            (None, {}),
            (["c", "d"], {"title": "made again"}),
            ([], {}),
            (["d"], {"nested": {"deep": [1, {"er": None}]}}),
        ]
        for number, (texts, metadata) in enumerate(steps, 1):
            assert await put(index, "1", rank(number), texts, metadata=metadata) == rank(number)
            await assert_holds(index, "1", rank(number), texts, metadata)


async def test_what_is_stored_with_each_point(qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient) -> None:
    async with opened(qdrant_server, settings_for(qdrant_server, distance="dot")) as index:
        await put(index, "1", 64, ["a", "b"])
        await put(index, "1", 128, ["b", "c"], metadata={"new": True})
        points, _ = await qdrant_client.scroll("documents", with_vectors=True, limit=10)
        assert len(points) == 2
        for point in points:
            payload = point.payload or {}
            assert point.vector == list(struct.unpack("<4f", vector_of(payload["text"])))
            assert payload["source"] == {"topic": "topic", "partition": 3, "offset": 128}
            assert payload["indexed_at"] == "2026-11-18T11:06:40.123Z"
            assert payload["metadata"] == {"new": True}


@pytest.mark.parametrize("order", Order)
async def test_an_older_event_changes_nothing(qdrant_server: EmbeddedQdrant, order: Order) -> None:
    newer, older = (Rank(7, 128), Rank(7, 64)) if order is Order.VERSION else (Rank(128), Rank(64))
    async with opened(qdrant_server, settings_for(qdrant_server, order=order)) as index:
        await put(index, "1", newer, ["a", "b"], metadata={"of": "newer"})
        late = job_of(write_of("1", older, ["b", "c", "d"], metadata={"of": "older"}))
        (written,) = await index.writer.write([late])
        assert written.found == newer
        await assert_holds(index, "1", newer, ["a", "b"], {"of": "newer"})


async def test_a_late_delete_leaves_a_newer_document(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 128, ["a"])
        (written,) = await index.writer.write([job_of(write_of("1", 64, None))])
        assert written.found == Rank(128)
        await assert_holds(index, "1", 128, ["a"])


async def test_a_late_document_does_not_return_from_a_newer_delete(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 128, None)
        (written,) = await index.writer.write([job_of(write_of("1", 64, ["a"]), may_skip_delete=True)])
        assert written.found == Rank(128)
        await assert_holds(index, "1", 128, None)


async def test_the_same_event_twice(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        job = job_of(write_of("1", 64, ["a", "b"]))
        assert await index.writer.write([job]) == await index.writer.write([job])
        await assert_holds(index, "1", 64, ["a", "b"])


async def test_two_events_of_a_document_in_one_batch(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        jobs = [
            job_of(write_of("1", rank, texts), may_skip_delete=True)
            for rank, texts in ((64, ["a", "b"]), (192, ["b", "c"]), (128, ["c", "d"]))
        ]
        results = await index.writer.write(jobs)
        assert [written.found for written in results] == [Rank(192)] * 3
        await assert_holds(index, "1", 192, ["b", "c"])


async def test_a_kept_chunk_that_vanished_is_asked_for_and_written(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["a", "b", "c"])
        write = write_of("1", 128, ["a", "b", "d"], await before(index, "1"))
        other = write_of("2", 128, ["z"])
        await qdrant_client.delete("documents", [write.chunks[1].id])
        first, second = await index.writer.write([job_of(write), job_of(other)])
        assert first.missing == (write.chunks[1].id,)
        assert (first.found, first.fault) == (None, None)
        assert second.found == Rank(128)
        assert (await before(index, "1")).rank == Rank(64)
        (written,) = await index.writer.write([job_of(write, also=first.missing)])
        assert written.found == Rank(128)
        await assert_holds(index, "1", 128, ["a", "b", "d"])


async def test_a_chunk_that_an_unfinished_event_has_moved_comes_to_its_place(qdrant_server: EmbeddedQdrant) -> None:
    """The manifest, from before the unfinished event, says that nothing moved."""
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["a", "b", "c"])
        unfinished = write_of("1", 128, ["c", "a", "b", "x"], await before(index, "1"))
        assert await index.writer._points.write([job_of(unfinished)]) == {}
        await put(index, "1", 192, ["a", "b", "c"])
        await assert_holds(index, "1", 192, ["a", "b", "c"])


async def test_another_generation_writes_kept_payloads_anew(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["a", "b"], metadata={"m": 1})
    async with opened(
        qdrant_server, settings_for(qdrant_server, text_key="page_content", metadata_key="meta")
    ) as index:
        upserted = qdrant_server.stats.points_upserted
        await put(index, "1", 65, ["a", "b"], metadata={"m": 2}, generation=1)
        assert qdrant_server.stats.points_upserted == upserted + 1  # the manifest
        await assert_holds(index, "1", 65, ["a", "b"], {"m": 2})
        points, _ = await qdrant_client.scroll("documents")
        assert all({"text", "metadata"}.isdisjoint(point.payload or {}) for point in points)


async def test_a_tombstone_lasts_its_time(qdrant_server: EmbeddedQdrant) -> None:
    now_ms = NOW_MS
    async with opened(qdrant_server, clock_ms=lambda: now_ms) as index:
        await put(index, "gone", 64, ["a"])
        await put(index, "stays", 64, ["b"])
        await put(index, "back", 64, None)
        await put(index, "gone", 128, None)
        await put(index, "back", 128, ["c"])
        now_ms += 14 * 86_400_000
        await index.writer.delete_expired_tombstones()
        assert set(await index.reader.manifests(["gone", "stays", "back"])) == {"gone", "stays", "back"}
        now_ms += 1
        await index.writer.delete_expired_tombstones()
        assert set(await index.reader.manifests(["gone", "stays", "back"])) == {"stays", "back"}


# --- requests per batch -----------------------------------------------------------------------------------------


async def test_four_requests_for_new_documents(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        asked(qdrant_server)
        keys = [f"{number}" for number in range(64)]
        assert await index.reader.manifests(keys) == {}
        jobs = [job_of(write_of(key, 64 * place, [key]), may_skip_delete=True) for place, key in enumerate(keys)]
        assert all(
            written.found == job.write.rank for job, written in zip(jobs, await index.writer.write(jobs), strict=True)
        )
        assert asked(qdrant_server) == {"Points.Get": 2, "Points.UpdateBatch": 1, "Points.Upsert": 1}


async def test_six_requests_for_a_mixed_batch(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        keys = [f"{number}" for number in range(12)]
        await index.writer.write([job_of(write_of(key, 64, LETTERS[:4])) for key in keys])
        asked(qdrant_server)
        manifests = await index.reader.manifests([*keys, "new"])
        shapes: list[list[str] | None] = [["a", "x", "c", "d"], LETTERS[:4], ["d", "c", "b", "a"], None]
        jobs = [
            job_of(write_of(key, 128, shapes[place % 4], manifests[key], metadata={"n": 1}))
            for place, key in enumerate(keys)
        ]
        jobs.append(job_of(write_of("new", 128, ["n"]), may_skip_delete=True))
        await index.writer.write(jobs)
        assert asked(qdrant_server) == {
            "Points.Get": 3,
            "Points.UpdateBatch": 1,
            "Points.Upsert": 1,
            "Points.Delete": 1,
        }
        for place, key in enumerate(keys):
            await assert_holds(index, key, 128, shapes[place % 4], {} if shapes[place % 4] is None else {"n": 1})


async def test_one_payload_operation_a_document_and_one_for_each_chunk_that_moved(
    qdrant_server: EmbeddedQdrant,
) -> None:
    seen: list[Any] = []

    async def look(method: str, request: Any) -> None:
        if method == "Points.UpdateBatch":
            seen.append(request)

    async with opened(qdrant_server) as index:
        await put(index, "1", 64, LETTERS)
        qdrant_server.before = look
        for rank, texts, operations in (
            (128, LETTERS, 1),
            (192, [*LETTERS[:8], "j", "i"], 1 + 2),
            (256, ["a", "n"], 1 + 1),
        ):
            await put(index, "1", rank, texts)
            assert [len(request.operations) for request in seen] == [operations]
            seen.clear()
            await assert_holds(index, "1", rank, texts)


async def test_large_documents_are_cut_into_bounded_requests(qdrant_server: EmbeddedQdrant) -> None:
    sizes: list[int] = []

    async def look(method: str, request: Any) -> None:
        if method == "Points.UpdateBatch":
            sizes.append(sum(len(operation.upsert.points) or 1 for operation in request.operations))

    async with opened(qdrant_server) as index:
        qdrant_server.before = look
        texts = [f"paragraph {number}" for number in range(400)]
        await put(index, "1", 64, texts)
        assert sizes == [128, 128, 128, 16]
        await assert_holds(index, "1", 64, texts)
        await put(index, "1", 128, texts[1:])
        await assert_holds(index, "1", 128, texts[1:])


async def test_requests_are_bounded_in_bytes(qdrant_server: EmbeddedQdrant, monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.REQUEST_BYTES, 100_000)
    sizes: list[int] = []

    async def look(method: str, request: Any) -> None:
        if method == "Points.UpdateBatch":
            sizes.append(request.ByteSize())

    async with opened(qdrant_server) as index:
        qdrant_server.before = look
        texts = [f"{number}" * 3000 for number in range(20)]
        await put(index, "1", 64, texts, metadata={"large": "m" * 20_000})
        assert len(sizes) > 4
        assert max(sizes) < 110_000
        await assert_holds(index, "1", 64, texts, {"large": "m" * 20_000})


async def test_an_empty_batch_asks_nothing(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        asked(qdrant_server)
        assert await index.writer.write([]) == []
        await index.writer.delete_overtaken({})
        assert await index.reader.manifests([]) == {}
        assert not asked(qdrant_server)


# --- reading ----------------------------------------------------------------------------------------------------


async def test_search(qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["short", "a much longer text"], metadata={"m": [1]})
        others = models.PointStruct(id=7, vector=[1, 1, 0, 0], payload={"of": "others"})
        await qdrant_client.upsert("documents", [others])
        hits = await index.reader.search(vector_of("short"), 10)
        assert [(hit.document_id, hit.place, hit.text, hit.metadata) for hit in hits] == [
            ("1", 0, "short", {"m": [1]}),
            ("1", 1, "a much longer text", {"m": [1]}),
        ]
        assert hits[0].score == pytest.approx(1.0)
        assert hits[0].score > hits[1].score
        assert "short" not in repr(hits)
        assert len(await index.reader.search(vector_of("short"), 1)) == 1
        with pytest.raises(ValueError, match="8 bytes where 16"):
            await index.reader.search(bytes(8), 1)


async def test_everything_page_by_page(qdrant_server: EmbeddedQdrant, monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.SCROLL_PAGE, 3)
    async with opened(qdrant_server) as index:
        await index.bookkeeping.generation("cutting")
        for number in range(5):
            await put(index, f"{number}", 64 * number, ["a", "b"])
        points = [point async for point in index.reader.all_points()]
        assert sorted((point.document_id, point.place) for point in points) == [
            (f"{number}", place) for number in range(5) for place in range(2)
        ]
        assert sorted([manifest.document_id async for manifest in index.reader.all_manifests()]) == [
            f"{number}" for number in range(5)
        ]
        assert await index.reader.document("9") == (None, [])


async def test_large_reads_are_halved_when_qdrant_asks_for_it(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        keys = [f"{number}" for number in range(10)]
        await index.writer.write([job_of(write_of(key, 64, [key])) for key in keys])
        refused = qdrant_server.faults.inject(
            QdrantFault(
                FaultKind.RATE_CAPACITY, frozenset({"Points.Get"}), when=lambda _, request: len(request.ids) > 3
            )
        )
        assert set(await index.reader.manifests(keys)) == set(keys)
        assert refused.fired > 0


def test_a_request_of_many_documents_is_one_filter_each() -> None:
    """Guards must not grow with anything but the documents in a request."""
    guard = q.Filter()
    Guards(Order.OFFSET).add_write_guard(guard, {Rank(number): [manifest_id(f"{number}")] for number in range(64)})
    assert len(guard.must_not) == 64
    alone = q.Filter()
    Guards(Order.OFFSET).add_write_guard(alone, {Rank(1): [manifest_id("1"), manifest_id("2")]})
    assert len(alone.must_not) == 1
    assert alone.must_not[0].field.range.gt == 1
