"""Each rule of the write protocol is needed: a schedule that holds with it fails when the test takes it out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from harness.index import assert_holds, job_of, opened, put, write_of
from streamdex.errors import ServiceFault
from streamdex.index import Index, WriteJob
from streamdex.index.conditions import add, has_id, holds
from streamdex.index.in_doubt import InDoubtRequests
from streamdex.index.points import PayloadChange, PointWriter
from streamdex.index.writer import Writer
from streamdex.model import DocumentWrite, Rank
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault

KEY = "1"


class Two(NamedTuple):
    """Two workers on one server; each is an owner of the document's partition at some time."""

    server: EmbeddedQdrant
    one: Index
    other: Index


async def planned(index: Index, rank: int, texts: Sequence[str] | None, **options: Any) -> DocumentWrite:
    """What a worker plans now, to be written later."""
    return write_of(KEY, rank, texts, (await index.reader.manifests([KEY])).get(KEY), **options)


async def write(index: Index, planned_write: DocumentWrite, *, may_skip_delete: bool = False) -> Rank:
    """Write until nothing is missing, as the flow does."""
    job = job_of(planned_write, may_skip_delete=may_skip_delete)
    while True:
        (written,) = await index.writer.write([job])
        if not written.missing:
            assert written.found is not None
            return written.found
        job = job_of(planned_write, also=written.missing)


async def redeliver(index: Index, rank: int, texts: Sequence[str] | None) -> None:
    """Do an event again from its plan on, as the flow does."""
    manifest = (await index.reader.manifests([KEY])).get(KEY)
    if manifest is not None and manifest.rank >= Rank(rank):
        await index.writer.delete_overtaken({KEY: manifest.rank})
    else:
        await put(index, KEY, rank, texts)


async def die_before(server: EmbeddedQdrant, method: str, writing: Awaitable[Any]) -> None:
    """Let a writer die just before the first request of this kind is applied."""
    reached = asyncio.Event()

    async def hang(name: str, _: Any) -> None:
        if name == method:
            reached.set()
            await asyncio.Event().wait()

    server.before = hang
    task = asyncio.ensure_future(writing)
    await reached.wait()
    server.before = None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# --- the schedules: each ends with what the collection must hold ------------------------------------------------


async def late_insert(two: Two) -> None:
    late = await planned(two.one, 64, ["a", "b"], metadata={"of": 64})
    await put(two.other, KEY, 128, ["a", "c"], metadata={"of": 128})
    await write(two.one, late)
    await assert_holds(two.one, KEY, 128, ["a", "c"], {"of": 128})


async def late_payload(two: Two) -> None:
    await put(two.one, KEY, 64, ["a", "b"])
    late = await planned(two.one, 128, ["a", "b"], metadata={"of": 128})
    await put(two.other, KEY, 192, ["a", "b"], metadata={"of": 192})
    await write(two.one, late)
    await assert_holds(two.one, KEY, 192, ["a", "b"], {"of": 192})


async def purge_after_a_newer_event(two: Two) -> None:
    met = asyncio.Event()

    async def newer(method: str, _: Any) -> None:
        if method == "Points.Delete" and not met.is_set():
            met.set()
            await put(two.other, KEY, 128, ["b"])

    late = await planned(two.one, 64, ["a"])
    two.server.before = newer
    await write(two.one, late)
    assert met.is_set()
    await assert_holds(two.one, KEY, 128, ["b"])


async def kept_chunk_deleted_by_an_older_event(two: Two) -> None:
    await put(two.one, KEY, 64, ["a", "b"])
    newest = await planned(two.one, 192, ["a", "c"])
    await put(two.other, KEY, 128, ["b"])
    await write(two.one, newest)
    await assert_holds(two.one, KEY, 192, ["a", "c"])


async def loser_cleans_up_after_itself(two: Two) -> None:
    late = await planned(two.one, 64, ["a"])
    await put(two.other, KEY, 128, ["b"])
    await write(two.one, late)
    await assert_holds(two.one, KEY, 128, ["b"])


async def zombie_dies_after_its_insert(two: Two) -> None:
    late = await planned(two.one, 64, ["a"])
    await put(two.other, KEY, 128, ["b"])
    await die_before(two.server, "Points.Upsert", write(two.one, late))
    await redeliver(two.other, 64, ["a"])
    await assert_holds(two.other, KEY, 128, ["b"])


async def owner_dies_before_its_purge(two: Two) -> None:
    await put(two.one, KEY, 64, ["a", "b"])
    dying = await planned(two.one, 128, ["a"])
    await die_before(two.server, "Points.Delete", write(two.one, dying))
    await redeliver(two.other, 128, ["a"])
    await assert_holds(two.other, KEY, 128, ["a"])


async def request_lands_after_it_was_given_up(two: Two) -> None:
    two.server.faults.inject(QdrantFault(FaultKind.WAIT_TIMEOUT, frozenset({"Points.UpdateBatch"}), times=1))
    job = job_of(await planned(two.one, 64, ["a"]))
    with pytest.raises(ServiceFault):
        await two.one.writer.write([job])
    (written,) = await two.one.writer.write([job])
    if written.in_doubt_s is None:
        await put(two.other, KEY, 128, ["b"])
        assert await two.server.release() == 1
    else:  # so long the event is not settled, and by then the request has landed
        await put(two.other, KEY, 128, ["b"])
        assert await two.server.release() == 1
        await two.one.writer.delete_overtaken({KEY: Rank(64)})
    await assert_holds(two.one, KEY, 128, ["b"])


async def heir_of_another_generation(two: Two, *, late: bool = False) -> None:
    dying = await planned(two.one, 64, ["a", "b"])
    await die_before(two.server, "Points.Upsert", write(two.one, dying))
    heir = await planned(two.other, 65, ["a", "b'"], generation=1)
    await write(two.other, heir, may_skip_delete=late)
    await assert_holds(two.other, KEY, 65, ["a", "b'"])


async def heir_that_skips_at_once(two: Two) -> None:
    await heir_of_another_generation(two, late=True)


# --- the rules, taken out ---------------------------------------------------------------------------------------


def nothing(*_: Any, **__: Any) -> None:
    """No guard at all."""


def by_ids_alone(_: PointWriter, which: Any, change: PayloadChange) -> None:
    add(which, must=(has_id(change.ids),))


async def nobody_missing(_: PointWriter, __: Sequence[WriteJob]) -> dict[str, tuple[str, ...]]:
    return {}


async def own_ranks(_: Writer, jobs: Sequence[WriteJob]) -> dict[str, Rank]:
    return {job.document_id: job.write.rank for job in jobs}


async def purge_all_but_own(self: Writer, jobs: Sequence[WriteJob], *_: Any, **__: Any) -> dict[str, float]:
    for job in jobs:

        def choose(which: Any, job: WriteJob = job) -> None:
            listed = has_id([chunk.id for chunk in job.write.chunks])
            add(which, must=(holds("document_id", job.document_id),), must_not=(listed,))

        await self._store.delete(self._store.names.points, choose)
    return {}


async def no_sweep(_: Writer, __: Mapping[str, Rank]) -> None:
    pass


def no_wait(_: InDoubtRequests, __: Any) -> dict[str, float]:
    return {}


Schedule = Callable[[Two], Awaitable[None]]


class Rule(NamedTuple):
    """`schedule` holds; with the rule taken out it fails, or `without` does where a caller keeps the rule."""

    schedule: Schedule
    taken_out: tuple[type, str, Any] | None = None
    without: Schedule | None = None


RULES = {
    "upsert guard": Rule(late_insert, (PointWriter, "_guard_points", nothing)),
    "payload guard": Rule(late_payload, (PointWriter, "_guard_payload", by_ids_alone)),
    "manifest guard": Rule(late_insert, (Writer, "_guard_manifests", nothing)),
    "purge bound": Rule(purge_after_a_newer_event, (Writer, "_delete_older", purge_all_but_own)),
    "kept check": Rule(kept_chunk_deleted_by_an_older_event, (PointWriter, "vanished", nobody_missing)),
    "manifest read-back": Rule(loser_cleans_up_after_itself, (Writer, "_found_ranks", own_ranks)),
    "sweep when superseded": Rule(zombie_dies_after_its_insert, (Writer, "delete_overtaken", no_sweep)),
    "sweep when unchanged": Rule(owner_dies_before_its_purge, (Writer, "delete_overtaken", no_sweep)),
    "settle after horizon": Rule(request_lands_after_it_was_given_up, (InDoubtRequests, "waits_s", no_wait)),
    "skip only late after assignment": Rule(heir_of_another_generation, without=heir_that_skips_at_once),
}


@pytest.mark.parametrize("name", RULES)
async def test_a_rule_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = RULES[name]
    async with EmbeddedQdrant() as server, opened(server) as one, opened(server) as other:
        await rule.schedule(Two(server, one, other))
    if rule.taken_out is not None:
        monkeypatch.setattr(*rule.taken_out)
    async with EmbeddedQdrant() as server, opened(server) as one, opened(server) as other:
        with pytest.raises(AssertionError):
            await (rule.without or rule.schedule)(Two(server, one, other))
