"""Kept chunks that another writer has deleted: embedded anew by the owner of the partition, and by nobody else."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from streamdex.embed import EmbedJob
from streamdex.index import Written
from streamdex.model import Chunk, DocumentWrite, Event, Order, Partition, Position, Rank, Record
from streamdex.run.flow import Flow
from streamdex.run.items import Item
from streamdex.run.rooms import Rooms, Standing
from streamdex.settle import Ledger
from streamdex.telemetry import Metrics

PARTITION = Partition("documents", 0)
KEPT = Chunk("kept", 0, "a text", 2)


def stage(ledger: Ledger) -> tuple[Flow, Item, list[EmbedJob]]:
    """A flow with one item that is being written, and what the embedder is given from then on."""
    rooms = SimpleNamespace(ledger=ledger, metrics=Metrics())
    flow = Flow(cast("Rooms", rooms), Standing(Order.OFFSET, epoch=0, generation=0), together=False)
    jobs: list[EmbedJob] = []
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731 - a word for it reads better below
    verdicts = SimpleNamespace(forget=nothing, waiting=())
    flow.connect(cast("Any", SimpleNamespace(submit=jobs.append)), cast("Any", verdicts))
    event = Event("s:1", "a text", {}, None, Position("documents", 0, 0, 5, 0))
    ticket = ledger.assign(PARTITION, 5).open(5, 10, 0)
    item = Item(Record("documents", 0, 5, 0, b"1", b"{}"), ticket, event, Rank(5), attempted=True)
    item.write = DocumentWrite(event, Rank(5), 0, (KEPT,), frozenset((KEPT.id,)), "hash", None)
    return flow, item, jobs


def test_the_owner_embeds_them_anew() -> None:
    flow, item, jobs = stage(Ledger())
    flow._written(item, Written(missing=("kept",)))
    assert [job.texts for job in jobs] == [("a text",)]


def test_a_former_owner_leaves_them_to_the_next_one() -> None:
    ledger = Ledger()
    flow, item, jobs = stage(ledger)
    ledger.revoke((PARTITION,))
    flow._written(item, Written(missing=("kept",)))
    assert jobs == []
