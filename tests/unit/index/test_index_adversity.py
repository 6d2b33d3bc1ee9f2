"""Refused points, requests too large, answers lost, and other writers between any two steps."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient

from harness.index import assert_holds, job_of, opened, put, settings_for, write_of
from streamdex.errors import AccountFault, Exhausted, Reason, Service, ServiceFault, SuspectFault, TooLarge
from streamdex.index import Index, WriteJob, Written
from streamdex.index.bisect import bisect, send_all
from streamdex.index.in_doubt import InDoubtRequests
from streamdex.index.schema.keys import manifest_id
from streamdex.model import Rank
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault

POINTS = frozenset({"Points.UpdateBatch"})


class Clock:
    """Time that passes only when it is slept through."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def on(clock: Clock, index: Index) -> InDoubtRequests:
    """Put the index's horizon on this clock."""
    in_doubt = index.writer._in_doubt
    in_doubt._monotonic_s = lambda: clock.now_s
    in_doubt.sleep = clock.sleep
    return in_doubt


# --- refused, or too large --------------------------------------------------------------------------------------


async def test_a_bad_point_is_named_and_the_rest_is_written(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        bad = qdrant_server.faults.inject(QdrantFault(FaultKind.BAD_POINT, marker="poison"))
        jobs = [job_of(write_of(f"{n}", 64 * n + 64, [f"{'poison' if n == 20 else 'fine'} {n}"])) for n in range(64)]
        qdrant_server.stats.requests.clear()
        results = await index.writer.write(jobs)
        assert bad.fired == 7  # the batch, and then one of each pair of halves: log2 64
        assert qdrant_server.stats.requests["Points.UpdateBatch"] == 1 + 2 * 6
        for number, written in enumerate(results):
            if number == 20:
                assert written.fault is not None
                assert written.fault.reason is Reason.REFUSED_BY_INDEX
                assert "poison" not in str(written.fault)
                assert (written.found, written.missing) == (None, ())
            else:
                assert written == Written(found=jobs[number].write.rank)
        assert set(await index.reader.manifests([job.document_id for job in jobs])) == {
            f"{n}" for n in range(64) if n != 20
        }
        assert await index.writer.canary()


async def test_a_refused_document_keeps_the_payload_it_had(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["a", "b"], metadata={"of": "the old"})
        await put(index, "2", 64, ["a", "b"], metadata={"of": "the old"})
        qdrant_server.faults.inject(QdrantFault(FaultKind.BAD_POINT, marker="poison"))
        manifests = await index.reader.manifests(["1", "2"])
        writes = [
            write_of("1", 128, ["b", "poison", "a"], manifests["1"], {"of": "the refused"}),
            write_of("2", 128, ["b", "a"], manifests["2"], {"of": "the new"}),
        ]
        refused, written = await index.writer.write([job_of(write) for write in writes])
        assert refused.fault is not None
        assert written.found == Rank(128)
        await index.writer.delete_leftovers(writes[0])
        await assert_holds(index, "1", 64, ["a", "b"], {"of": "the old"})
        await assert_holds(index, "2", 128, ["b", "a"], {"of": "the new"})


async def test_clean_removes_what_an_attempt_left_and_nothing_else(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["a", "b"])
        await put(index, "2", 64, ["x"])
        manifest = (await index.reader.manifests(["1"]))["1"]
        broken = write_of("1", 128, ["a", "b", "c", "d"], manifest)
        new = job_of(write_of("1", 128, ["c", "d"]))
        assert await index.writer._points.write([new]) == {}
        assert len((await index.reader.document("1"))[1]) == 4
        await index.writer.delete_leftovers(broken)
        await assert_holds(index, "1", 64, ["a", "b"])
        await assert_holds(index, "2", 64, ["x"])


async def test_clean_of_a_document_that_was_never_there(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        write = write_of("1", 128, ["a"])
        assert await index.writer._points.write([job_of(write)]) == {}
        await index.writer.delete_leftovers(write)
        assert await index.reader.document("1") == (None, [])


@pytest.mark.parametrize("capacity", [1, 5, 63])
async def test_requests_are_halved_until_the_rate_limiter_takes_them(
    qdrant_server: EmbeddedQdrant, capacity: int
) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "0", 64, ["old"])
        limited = qdrant_server.faults.inject(QdrantFault(FaultKind.RATE_CAPACITY, capacity=capacity))
        jobs = [job_of(write_of(f"{n}", 128 + n, [f"text {n}", "b"])) for n in range(32)]
        results = await index.writer.write(jobs)
        assert limited.fired > 0
        assert [written.found for written in results] == [job.write.rank for job in jobs]
        for job in jobs:
            await assert_holds(index, job.document_id, job.write.rank, [chunk.text for chunk in job.write.chunks])


async def test_a_single_point_that_a_busy_server_refuses_must_wait(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        busy = qdrant_server.faults.inject(QdrantFault(FaultKind.RATE_LIMITED, POINTS, times=1))
        with pytest.raises(Exhausted):
            await index.writer.write([job_of(write_of("1", 64, ["text"]))])
        assert busy.fired == 1
        (written,) = await index.writer.write([job_of(write_of("1", 64, ["text"]))])
        assert written.found == Rank(64)


async def test_the_canary_tells_a_refusing_collection_from_a_refused_record(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    async with opened(qdrant_server) as index:
        assert await index.writer.canary()
        assert (await qdrant_client.count("documents")).count == 0
        qdrant_server.faults.inject(QdrantFault(FaultKind.BAD_POINT, POINTS))
        assert not await index.writer.canary()
        qdrant_server.faults.heal()
        qdrant_server.faults.inject(QdrantFault(FaultKind.DISK_FULL))
        with pytest.raises(ServiceFault):
            await index.writer.canary()


async def _each_step(index: Index) -> None:
    await put(index, "1", 128, ["b"])
    await index.reader.document("1")
    await index.reader.search(bytes(12) + b"\x00\x00\x80\x3f", 1)


@pytest.mark.parametrize("method", ["Points.Upsert", "Points.Delete", "Points.Get", "Points.Scroll", "Points.Query"])
async def test_a_refusal_of_what_holds_no_content_is_no_records_fault(
    qdrant_server: EmbeddedQdrant, method: str
) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["a"])
        refused = qdrant_server.faults.inject(QdrantFault(FaultKind.BAD_POINT, frozenset({method})))
        with pytest.raises(AccountFault, match=r"server's log"):
            await _each_step(index)
        assert refused.fired == 1


@pytest.mark.parametrize(
    "fault",
    [SuspectFault(Service.QDRANT, Reason.REFUSED_BY_INDEX, "refused"), TooLarge(Service.QDRANT, "a large message")],
)
async def test_halving_names_each_faulty_document_once(fault: Exception) -> None:
    jobs = [job_of(write_of(f"{n % 10}", 64, [f"{n}"])) for n in range(40)]
    sent: list[str] = []

    class Part:
        def __init__(self, job: WriteJob) -> None:
            self.job = job

    async def send(parts: Any) -> None:
        keys = [part.job.document_id for part in parts]
        if {"3", "7"}.intersection(keys):
            raise fault
        sent.extend(keys)

    faulty: dict[str, SuspectFault] = {}
    await bisect([Part(job) for job in jobs], send, faulty)
    assert set(faulty) == {"3", "7"}
    assert sorted(sent) == sorted(job.document_id for job in jobs if job.document_id not in faulty)


async def test_sending_all_halves_what_is_too_large() -> None:
    sent: list[int] = []

    async def send(items: Any) -> None:
        if len(items) > 3:
            raise TooLarge(Service.QDRANT, "too large")
        sent.extend(items)

    await send_all(list(range(50)), send)
    assert sorted(sent) == list(range(50))

    async def never(_: Any) -> None:
        raise TooLarge(Service.QDRANT, "too large")

    with pytest.raises(TooLarge):
        await send_all([1], never)
    await send_all([], never)


# --- answers lost -----------------------------------------------------------------------------------------------


LOST = [FaultKind.WAIT_TIMEOUT, FaultKind.LOST_ANSWER, FaultKind.UNANSWERED, FaultKind.SEVERED]


@pytest.mark.parametrize("kind", LOST)
async def test_a_request_given_up_that_lands_late_leaves_nothing_behind(
    qdrant_server: EmbeddedQdrant, kind: FaultKind
) -> None:
    async with (
        opened(qdrant_server, settings_for(qdrant_server, timeout_s=1.5)) as index,
        opened(qdrant_server) as other,
    ):
        clock = Clock()
        on(clock, index)
        lost = qdrant_server.faults.inject(QdrantFault(kind, POINTS, times=1))
        job = job_of(write_of("1", 64, ["a", "b"]), may_skip_delete=True)
        with pytest.raises(ServiceFault) as caught:
            await index.writer.write([job])
        assert lost.fired == 1
        assert caught.value.unanswered
        written = await _patiently(lambda: index.writer.write([job]))
        assert written == [Written(found=Rank(64), in_doubt_s=60.0)]
        await put(other, "1", 128, ["c"])  # a newer event, of another owner
        assert await qdrant_server.release() == 1
        assert len((await index.reader.document("1"))[1]) == 3
        await clock.sleep(60)
        await index.writer.delete_overtaken({"1": Rank(64)})
        await assert_holds(index, "1", 128, ["c"])
        assert await index.writer.write([job_of(write_of("1", 192, ["d"]))]) == [Written(found=Rank(192))]


async def _patiently(action: Callable[[], Awaitable[list[Written]]]) -> list[Written]:
    for _ in range(100):
        try:
            return await action()
        except ServiceFault:
            await asyncio.sleep(0.02)
    raise AssertionError("it never worked again")


async def test_no_wait_when_the_horizon_has_passed_before_the_purge(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        clock = Clock()
        on(clock, index)
        qdrant_server.faults.inject(QdrantFault(FaultKind.WAIT_TIMEOUT, POINTS, times=1))
        job = job_of(write_of("1", 64, ["a"]), may_skip_delete=True)
        with pytest.raises(ServiceFault):
            await index.writer.write([job])
        await clock.sleep(61)
        qdrant_server.stats.requests.clear()
        assert await index.writer.write([job]) == [Written(found=Rank(64))]
        assert qdrant_server.stats.requests["Points.Delete"] == 1  # not left out: something may have landed
        qdrant_server.stats.requests.clear()
        assert await index.writer.write([job]) == [Written(found=Rank(64))]
        assert qdrant_server.stats.requests["Points.Delete"] == 0


async def test_requests_that_insert_nothing_leave_no_wait(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["a"])
        for method in ("Points.Upsert", "Points.Delete", "Points.UpdateBatch"):
            qdrant_server.faults.inject(QdrantFault(FaultKind.WAIT_TIMEOUT, frozenset({method}), times=1))
        manifest = (await index.reader.manifests(["1"]))["1"]
        job = job_of(write_of("1", 128, ["a"], manifest))
        for _ in range(3):
            with pytest.raises(ServiceFault):
                await index.writer.write([job])
        assert await index.writer.write([job]) == [Written(found=Rank(128))]


async def test_an_answered_refusal_leaves_no_wait(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        qdrant_server.faults.inject(QdrantFault(FaultKind.RATE_LIMITED, POINTS, times=1, retry_after_s=1))
        job = job_of(write_of("1", 64, ["a"]))
        with pytest.raises(ServiceFault):
            await index.writer.write([job])
        assert await index.writer.write([job]) == [Written(found=Rank(64))]


async def test_a_cancelled_request_may_land_too(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        arrived = asyncio.Event()

        async def hang(method: str, _: Any) -> None:
            if method == "Points.UpdateBatch":
                arrived.set()
                await asyncio.Event().wait()

        qdrant_server.before = hang
        job = job_of(write_of("1", 64, ["a"]))
        writing = asyncio.create_task(index.writer.write([job]))
        await arrived.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        qdrant_server.before = None
        (written,) = await index.writer.write([job])
        assert written.in_doubt_s == pytest.approx(60, abs=5)


async def test_clean_waits_out_a_request_given_up(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        clock = Clock()
        in_doubt = on(clock, index)
        qdrant_server.faults.inject(QdrantFault(FaultKind.WAIT_TIMEOUT, POINTS, times=1))
        job = job_of(write_of("1", 64, ["a"]))
        with pytest.raises(ServiceFault):
            await index.writer.write([job])
        landing = asyncio.Event()

        async def sleep(seconds: float) -> None:
            await clock.sleep(seconds)
            await qdrant_server.release()
            landing.set()

        in_doubt.sleep = sleep
        await index.writer.delete_leftovers(job.write)
        assert landing.is_set()
        assert clock.slept == [60.0]
        assert await index.reader.document("1") == (None, [])


def test_the_horizon_forgets_what_is_over_when_there_is_much() -> None:
    clock = Clock()
    in_doubt = InDoubtRequests(60, lambda: clock.now_s)
    in_doubt.add(f"{n}" for n in range(5000))
    clock.now_s += 61
    assert in_doubt.includes("1")
    assert in_doubt.waits_s(["1"]) == {}
    in_doubt.add(["new"])
    assert not in_doubt.includes("1")
    assert in_doubt.waits_s(["new", "1"]) == {"new": 60}
    in_doubt.resolve(["new", "never"])
    assert not in_doubt.includes("new")


# --- other writers between any two steps --------------------------------------------------------------------------


class Between:
    """Runs something else once, just before the n-th request of a write is applied."""

    def __init__(self, server: EmbeddedQdrant, at: int, what: Callable[[], Awaitable[object]]) -> None:
        self.server, self.at, self.what, self.count = server, at, what, 0
        server.before = self

    async def __call__(self, method: str, request: Any) -> None:
        self.count += 1
        if self.count == self.at:
            self.server.before = None
            await self.what()


@pytest.mark.parametrize("at", range(1, 7))
async def test_a_newer_event_between_any_two_steps(qdrant_server: EmbeddedQdrant, at: int) -> None:
    async with opened(qdrant_server) as slow, opened(qdrant_server) as fast:
        await put(slow, "1", 64, ["a", "b", "c"], metadata={"at": 64})
        manifest = (await slow.reader.manifests(["1"]))["1"]
        job = job_of(write_of("1", 128, ["b", "a", "x"], manifest, {"at": 128}))
        between = Between(qdrant_server, at, lambda: put(fast, "1", 192, ["c", "y"], metadata={"at": 192}))
        (written,) = await slow.writer.write([job])
        if qdrant_server.before is None:
            assert between.count == at
        if written.missing:  # the newer event deleted what this one keeps: embed, and do it again
            (written,) = await slow.writer.write([job_of(job.write, also=written.missing)])
        if at <= 5:
            assert qdrant_server.before is None
            assert written.found == (Rank(128) if at > 4 else Rank(192))
            await assert_holds(slow, "1", 192, ["c", "y"], {"at": 192})
        else:
            assert written.found == Rank(128)


@pytest.mark.parametrize("at", range(1, 6))
async def test_a_crash_between_any_two_steps_is_healed_by_doing_it_again(
    qdrant_server: EmbeddedQdrant, at: int
) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["a", "b", "c"], metadata={"at": 64})
        crashed = asyncio.get_running_loop().create_future()

        async def crash() -> None:
            crashed.set_result(None)
            await asyncio.Event().wait()

        manifest = (await index.reader.manifests(["1"]))["1"]
        job = job_of(write_of("1", 128, ["b", "a", "x"], manifest, {"at": 128}))
        Between(qdrant_server, at, crash)
        writing = asyncio.create_task(index.writer.write([job]))
        await crashed
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    async with opened(qdrant_server) as heir:
        found = (await heir.reader.manifests(["1"]))["1"]
        if found.rank == Rank(128):
            await heir.writer.delete_overtaken({"1": Rank(128)})
        else:
            await put(heir, "1", 128, ["b", "a", "x"], metadata={"at": 128})
        await assert_holds(heir, "1", 128, ["b", "a", "x"], {"at": 128})


async def test_a_manifest_that_vanishes_is_written_again(
    qdrant_server: EmbeddedQdrant, qdrant_client: AsyncQdrantClient
) -> None:
    async with opened(qdrant_server) as index:
        job = job_of(write_of("1", 64, ["a"]))
        Between(qdrant_server, 3, lambda: qdrant_client.delete("documents__1__manifests", [manifest_id("1")]))
        with pytest.raises(ServiceFault, match="does not show"):
            await index.writer.write([job])
        assert await index.writer.write([job]) == [Written(found=Rank(64))]
        await assert_holds(index, "1", 64, ["a"])
