"""What a drain leaves to the partition's next owner, also between its end and the end of the assignment."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import orjson

from streamdex.config import Settings
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
        self.embedder = SimpleNamespace(queued_inputs=0, not_begun=lambda _: [])
        self.writes = SimpleNamespace(full=False, loops=tuple, abandon=lambda _: None)
        self.suspects = SimpleNamespace(decode=SimpleNamespace(passed=0))
        self.dead_letters = None

    async def run(self, *_: object) -> Outcome:
        self.taken += 1
        return Outcome.INDEXED


class Fixture:
    def __init__(self) -> None:
        self.reader, self.path, self.ledger = Reader(), Path(), Ledger()
        ranking = Ranking(Order.OFFSET, 0, 0)
        ranking.add_bases({("documents", 0, 0): 0})
        self.dispatcher = Dispatcher(
            Decoder(Settings()),
            ranking,
            cast("Any", self.reader),
            cast("Any", self.path),
            self.ledger,
            BackPressure(4096, 10**9),
            Health(),
            Metrics(),
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
