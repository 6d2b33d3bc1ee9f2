"""What the dispatcher settles by itself, and what a drain leaves to the partition's next owner."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
import structlog

from streamdex.config import MappingSettings, Settings
from streamdex.intake import BackPressure, Decoder
from streamdex.model import Manifest, Order, Outcome, Partition, Record
from streamdex.plan import Ranking
from streamdex.run.dispatch import Dispatcher
from streamdex.settle import Ledger
from streamdex.telemetry import Health, Metrics

PARTITION = Partition("documents", 0)


class Reader:
    """Reads no manifest before `answer` is set."""

    def __init__(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def manifests(self, _: Collection[str]) -> dict[str, Manifest]:
        self.asked.set()
        await self.answer.wait()
        return {}


class Path:
    """A document's way that only counts who takes it, and its neighbours as far as the dispatcher asks them."""

    def __init__(self) -> None:
        self.taken = 0
        self.outcome, self.write = Outcome.INDEXED, SimpleNamespace(before=None)
        self.embedder = SimpleNamespace(queued_inputs=0, not_begun=lambda _: [])
        self.writes = SimpleNamespace(full=False, loops=tuple, abandon=lambda _: None)
        self.suspects = SimpleNamespace(decode=SimpleNamespace(passed=0))
        self.dead_letters = None

    async def run(self, document: Any, _: object) -> Outcome:
        self.taken += 1
        document.write = self.write
        return self.outcome


class Fixture:
    def __init__(self, settings: Settings | None = None) -> None:
        self.reader, self.path, self.ledger = Reader(), Path(), Ledger()
        self.metrics = Metrics()
        ranking = Ranking(Order.OFFSET, 0, 0)
        ranking.add_bases({("documents", 0, 0): 0})
        self.dispatcher = Dispatcher(
            Decoder(settings or Settings()),
            ranking,
            cast("Any", self.reader),
            cast("Any", self.path),
            self.ledger,
            BackPressure(4096, 10**9),
            Health(),
            self.metrics,
        )

    def accept(self, offset: int) -> None:
        value = orjson.dumps({"id": str(offset), "text": "a text"})
        self.dispatcher.accept(PARTITION, [Record("documents", 0, offset, 0, b"k", value)], offset + 1)


@asynccontextmanager
async def working(fixture: Fixture) -> AsyncIterator[None]:
    task = asyncio.create_task(fixture.dispatcher.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_manifests_that_arrive_after_the_drain_start_nothing() -> None:
    """The assignment ends only after its last commit, which may take seconds. Else the texts would be paid for twice:
    here, and by the next owner."""
    f = Fixture()
    f.ledger.assign(PARTITION, 0)
    async with working(f):
        f.accept(0)
        await asyncio.wait_for(f.reader.asked.wait(), 10)
        assert await f.dispatcher.drain([PARTITION], 0.0) == 1
        f.reader.answer.set()
        await asyncio.sleep(0.01)
        assert f.path.taken == 0


async def test_a_partition_that_comes_back_is_worked_on() -> None:
    f = Fixture()
    f.ledger.assign(PARTITION, 0)
    f.reader.answer.set()
    async with working(f):
        await f.dispatcher.drain([PARTITION], 0.0)
        f.ledger.revoke([PARTITION])
        f.ledger.assign(PARTITION, 0)
        f.accept(0)
        async with asyncio.timeout(10):
            while not f.path.taken:  # the fake has no signal for it
                await asyncio.sleep(0)


async def test_a_record_that_is_ignored_settles_at_once() -> None:
    f = Fixture(Settings(mapping=MappingSettings(text="text", ignore_when="text == 'a text'")))
    tracker = f.ledger.assign(PARTITION, 0)
    f.accept(0)
    assert f.metrics.counts.outcomes[Outcome.IGNORED] == 1
    assert tracker.committable == 1


@pytest.mark.parametrize(("before", "unknown"), [(None, 1), (object(), 0)])
async def test_a_delete_of_what_was_never_there_is_counted_and_logged_once(before: object, unknown: int) -> None:
    f = Fixture()
    f.ledger.assign(PARTITION, 0)
    f.reader.answer.set()
    f.path.outcome, f.path.write = Outcome.DELETED, SimpleNamespace(before=before)
    with structlog.testing.capture_logs() as logs:
        async with working(f), asyncio.timeout(10):
            f.accept(0)
            f.accept(1)
            while f.metrics.counts.outcomes[Outcome.DELETED] < 2:  # the fake has no signal for it
                await asyncio.sleep(0)
    assert f.metrics.counts.deleted_unknown == 2 * unknown
    assert [line["event"] for line in logs] == ["event.deleted_unknown"] * unknown
