"""A document's way where another writer comes in between, and where its partition leaves meanwhile."""

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streamdex.embed import EmbedJob
from streamdex.index import WriteJob, Written
from streamdex.model import Chunk, DocumentWrite, Event, Outcome, Partition, Position, Rank, Record
from streamdex.run.document import LONG_CHARACTERS, Abandoned, Document, DocumentPath
from streamdex.run.suspects import RecordSuspects
from streamdex.settle import Ledger
from streamdex.telemetry import Health, Metrics

PARTITION = Partition("documents", 0)
KEPT = Chunk("kept", 0, "a text", 2)
VECTOR = bytes(8)


class Neighbours:
    """An embedder and a store that answer at once; the store answers what it is told to."""

    def __init__(self, answers: Sequence[Written]) -> None:
        self.answers = list(answers)
        self.writer = SimpleNamespace(check=lambda _: b"")
        self.embedded: list[tuple[str, ...]] = []
        self.written: list[dict[str, bytes]] = []
        self.deleted: list[dict[str, Rank]] = []

    async def embed(self, job: EmbedJob) -> list[bytes]:
        self.embedded.append(job.texts)
        return [VECTOR for _ in job.texts]

    async def put(self, job: WriteJob) -> Written:
        self.written.append(dict(job.vectors))
        return self.answers.pop(0)

    async def delete_overtaken(self, below: dict[str, Rank]) -> None:
        self.deleted.append(below)


def on_its_way(ledger: Ledger, answers: Sequence[Written]) -> tuple[DocumentPath, Document, Neighbours]:
    """A document whose only chunk is listed by its manifest already, and the path that it takes."""
    event = Event("1", "a text", {}, None, Position("documents", 0, 0, 5, 0))
    write = DocumentWrite(event, Rank(5), 0, (KEPT,), frozenset((KEPT.id,)), "hash", None)
    neighbours = Neighbours(answers)
    planner = SimpleNamespace(plan=lambda *_: write)
    path = DocumentPath(
        cast("Any", planner),
        cast("Any", neighbours),
        cast("Any", neighbours),
        RecordSuspects(cast("Any", neighbours.writer), Health(), Metrics()),
        cast("Any", SimpleNamespace()),
        together=False,
        first_cutting=True,
    )
    ticket = ledger.assign(PARTITION, 5).open(5, 10, 0)
    return path, Document(Record("documents", 0, 5, 0, b"1", b"{}"), ticket, set(), event, Rank(5)), neighbours


async def test_the_owner_embeds_again_what_another_writer_deleted() -> None:
    path, document, neighbours = on_its_way(Ledger(), [Written(missing=("kept",)), Written(found=Rank(5))])
    assert await path.run(document, None) is Outcome.INDEXED
    assert neighbours.embedded == [("a text",)]
    assert neighbours.written == [{}, {"kept": VECTOR}]


async def test_a_former_owner_leaves_them_to_the_next_one() -> None:
    ledger = Ledger()
    path, document, neighbours = on_its_way(ledger, [Written(missing=("kept",))])
    ledger.revoke((PARTITION,))
    with pytest.raises(Abandoned):
        await path.run(document, None)
    assert neighbours.embedded == []
    assert document.attempted  # so what the attempt has left is deleted


async def test_nothing_is_embedded_again_while_the_partition_is_drained() -> None:
    ledger = Ledger()
    path, document, neighbours = on_its_way(ledger, [Written(missing=("kept",))])
    tracker = ledger.tracker(PARTITION)
    assert tracker is not None
    tracker.leaving = True
    with pytest.raises(Abandoned):
        await path.run(document, None)
    assert neighbours.embedded == []


async def test_a_long_text_is_cut_beside_the_event_loop() -> None:
    path, document, _ = on_its_way(Ledger(), [Written(found=Rank(5))])
    document.event = document.event._replace(text="x" * LONG_CHARACTERS)
    cut, plan = threading.Event(), path._planner.plan

    def plan_when_the_loop_has_run(*event: Any) -> DocumentWrite:
        assert cut.wait(10)
        return plan(*event)

    path._planner = cast("Any", SimpleNamespace(plan=plan_when_the_loop_has_run))
    asyncio.get_running_loop().call_soon(cut.set)
    assert await path.run(document, None) is Outcome.INDEXED


async def test_an_event_that_a_newer_one_overtook_while_it_was_written_is_superseded() -> None:
    path, document, _ = on_its_way(Ledger(), [Written(found=Rank(6))])
    assert await path.run(document, None) is Outcome.SUPERSEDED


async def test_a_request_in_doubt_is_waited_out_and_then_deleted_below() -> None:
    path, document, neighbours = on_its_way(Ledger(), [Written(found=Rank(5), in_doubt_s=0.001)])
    await path.run(document, None)
    assert neighbours.deleted == [{"1": Rank(5)}]
