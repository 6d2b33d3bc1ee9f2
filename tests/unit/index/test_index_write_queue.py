"""The queue behind `put`: what is written together, when the queue is full, and whose fault comes back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from harness.bounds import Bound, set_bound
from streamdex.errors import Reason, Service, ServiceFault, SuspectFault
from streamdex.index import WriteJob, WriteQueue, Writer, Written
from streamdex.index.write_queue import BATCH_POINTS, FULL_BYTES, FULL_DOCUMENTS
from streamdex.model import DocumentWrite, Event, Position, Rank
from streamdex.telemetry import Health, Metrics

VECTOR = bytes(4096)
REFUSED = SuspectFault(Service.QDRANT, Reason.REFUSED_BY_INDEX, "refused")


def job(name: str, vectors: int = 1) -> WriteJob:
    event = Event(f"{name}", "text", {}, None, Position("t", 0, 0, 0, 0))
    write = DocumentWrite(event, Rank(1), 0, (), frozenset(), "", None)
    return WriteJob(write, {str(number): VECTOR for number in range(vectors)}, b"")


class HandWriter:
    """Writes a batch when it is allowed to; `faults` are raised one after the other, `refused` documents come back."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.faults: list[Exception] = []
        self.refused: set[str] = set()
        self.bug_at: str | None = None
        self.allowed = asyncio.Event()

    async def write(self, jobs: Sequence[WriteJob]) -> list[Written]:
        names = [one.document_id for one in jobs]
        self.batches.append(names)
        await self.allowed.wait()
        if self.faults:
            raise self.faults.pop(0)
        if self.bug_at in names:
            raise ZeroDivisionError
        return [Written(fault=REFUSED) if name in self.refused else Written(found=Rank(1)) for name in names]


@asynccontextmanager
async def at_work() -> AsyncIterator[tuple[WriteQueue, HandWriter]]:
    writer = HandWriter()
    queue = WriteQueue(cast("Writer", writer), Health(), Metrics())
    loops = [asyncio.create_task(loop) for loop in queue.loops()]
    await asyncio.sleep(0)
    yield queue, writer
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


async def put(queue: WriteQueue, one: WriteJob) -> Written:
    return await queue.put(one)


async def put_all(queue: WriteQueue, writer: HandWriter, *jobs: WriteJob) -> list[Any]:
    puts = [asyncio.create_task(put(queue, one)) for one in jobs]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    writer.allowed.set()
    return await asyncio.gather(*puts, return_exceptions=True)


async def test_a_batch_has_as_many_points_as_go_together_or_what_is_there() -> None:
    async with at_work() as (queue, writer):
        # A document without vectors counts as a point: its payload is written.
        jobs = job("a", BATCH_POINTS - 2), job("b", 0), job("c", 50), job("d", 1)
        written = await put_all(queue, writer, *jobs)
    assert writer.batches == [["a", "b", "c"], ["d"]]
    assert [one.found for one in written] == [Rank(1)] * 4


async def test_what_waits_and_what_is_being_written_counts_until_it_is_written() -> None:
    async with at_work() as (queue, writer):
        putting = asyncio.create_task(put(queue, job("a", 3)))
        while not writer.batches:
            await asyncio.sleep(0)
        assert queue.open == (1, 3 * len(VECTOR))
        writer.allowed.set()
        await putting
        assert queue.open == (0, 0)


async def test_it_is_full_by_the_bytes_of_vectors_until_they_are_taken() -> None:
    queue = WriteQueue(cast("Writer", HandWriter()), Health(), Metrics())
    seen = []
    puts = []
    for name, vectors in (("a", FULL_BYTES // len(VECTOR) - 1), ("b", 1)):
        puts.append(asyncio.create_task(put(queue, job(name, vectors))))
        await asyncio.sleep(0)
        seen.append(queue.full)
    taking = [asyncio.create_task(loop) for loop in queue.loops()]
    await asyncio.sleep(0)
    assert [*seen, queue.full] == [False, True, False]
    for task in (*puts, *taking):
        task.cancel()
    await asyncio.gather(*puts, *taking, return_exceptions=True)


async def test_it_is_full_by_the_number_of_documents() -> None:
    queue = WriteQueue(cast("Writer", HandWriter()), Health(), Metrics())
    puts = []
    for number in range(FULL_DOCUMENTS):
        assert not queue.full
        puts.append(asyncio.create_task(put(queue, job(str(number), 0))))
        await asyncio.sleep(0)
    assert queue.full
    for one in puts:
        one.cancel()
    await asyncio.gather(*puts, return_exceptions=True)


async def test_a_service_that_does_not_work_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.BASE_S, 0.001)
    async with at_work() as (queue, writer):
        writer.faults = [ServiceFault(Service.QDRANT, "away")]
        assert await put_all(queue, writer, job("a")) == [Written(found=Rank(1))]
    assert writer.batches == [["a"], ["a"]]


async def test_a_refused_document_alone_hears_of_it() -> None:
    async with at_work() as (queue, writer):
        writer.refused = {"b"}
        assert await put_all(queue, writer, job("a"), job("b")) == [Written(found=Rank(1)), REFUSED]


async def test_a_bug_of_ours_names_its_document_and_the_others_are_written() -> None:
    async with at_work() as (queue, writer):
        writer.bug_at = "b"
        written = await put_all(queue, writer, job("a"), job("b"), job("c"))
    assert [type(one) for one in written] == [Written, ZeroDivisionError, Written]


async def test_a_document_that_was_cancelled_does_not_hold_up_its_batch() -> None:
    async with at_work() as (queue, writer):
        cancelled = asyncio.create_task(put(queue, job("a")))
        other = asyncio.create_task(put(queue, job("b")))
        while not writer.batches:
            await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        writer.allowed.set()
        assert await other == Written(found=Rank(1))
        assert cancelled.cancelled()
