"""The index room under random schedules: whatever the writers do to each other, the collection equals the fold.

Two owners take turns at one partition; a former owner goes on as a zombie or dies between any two requests; requests
are applied late, out of step, or land after they were given up; a new generation comes in between. In the end every
event has been done by somebody, and the document's points, payloads and manifest must be those of the last event.
`STREAMDEX_SCHEDULES` says how many schedules; a failing one is named by its seed.
"""

import asyncio
import os
import random
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from index_tools import DIMENSION, FINGERPRINT, assert_holds, job_of, write_of

from worker.config import Settings
from worker.embedded.qdrant import DirectClient, Engine, Fault, Kind, Service
from worker.errors import ServiceFault
from worker.index import Index, WriteJob, Written
from worker.model import Order, Rank
from worker.telemetry import Metrics

SCHEDULES = int(os.environ.get("STREAMDEX_SCHEDULES", "500"))
PER_TEST = 50
MEMORY = Path("/dev/shm")  # noqa: S108  # a directory of our own is made in it
KEY = "s:1"


@dataclass
class Event:
    offset: int
    texts: list[str] | None
    metadata: dict[str, int]
    version: int


@dataclass
class World:
    """One schedule: its dice, its log, and the service that all workers write to."""

    dice: random.Random
    order: Order
    service: Service
    log: list[Event] = field(default_factory=list)
    committed: int = 0
    generation_after: int = 10**9
    handled: int = 0
    landings: set[asyncio.Task[int]] = field(default_factory=set)

    def rank(self, event: Event, generation: int) -> Rank:
        sequence = (event.offset + 1) * 64 + generation
        return Rank(sequence) if self.order is Order.OFFSET else Rank(event.version, sequence)

    def texts(self, event: Event, generation: int) -> list[str] | None:
        """Another generation cuts some texts otherwise."""
        if event.texts is None or generation == 0:
            return event.texts
        return [text + "'" if text in "abc" else text for text in event.texts]

    async def stagger(self, _method: str, _request: Any) -> None:
        """Before each request: let others go first, for a while."""
        for _ in range(self.dice.choice((0, 0, 1, 3, 10, 30))):
            await asyncio.sleep(0)
        if self.dice.random() < 0.05:
            asyncio.get_running_loop().call_soon(self._land)

    def _land(self) -> None:
        task = asyncio.ensure_future(self.service.release())
        self.landings.add(task)
        task.add_done_callback(self.landings.discard)


async def handle(world: World, index: Index, event: Event, *, swallowed: bool, fresh: int) -> None:
    """What the flow does with one event, from its plan until it may settle."""
    world.handled += 1
    generation = int(world.handled > world.generation_after)
    rank = world.rank(event, generation)
    manifest = (await index.read_manifests([KEY])).get(KEY)
    if manifest and manifest.rank >= rank:
        await _again_and_again(lambda: index.sweep({KEY: manifest.rank}))
        return
    texts = world.texts(event, generation)
    write = write_of(KEY, rank, texts, manifest, event.metadata, generation, swallowed=swallowed)
    late = world.order is Order.OFFSET and event.offset >= fresh + 2
    job = job_of(write, may_skip_purge=late)
    written = await write_whole(index, job)
    found = written.found
    assert found is not None
    if written.settle_after_s is not None:
        await world.service.release()  # the horizon: whatever was given up has landed by now
        index.writer._horizon._until_s = dict.fromkeys(index.writer._horizon._until_s, 0.0)
        await _again_and_again(lambda: index.sweep({KEY: found}))


async def write_whole(index: Index, job: WriteJob) -> Written:
    """Write, with the vectors of kept chunks that vanish meanwhile, until none does."""
    while True:
        (written,) = await _again_and_again(partial(index.write, [job]))
        if not written.missing:
            return written
        job = job_of(job.write, also=[*job.vectors, *written.missing], may_skip_purge=job.may_skip_purge)


T = TypeVar("T")


async def _again_and_again(action: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await action()
        except ServiceFault:
            await asyncio.sleep(0)


async def own(world: World, index: Index, stopped: asyncio.Event) -> None:
    """An owner: event after event from the committed one, swallowing now and then, until the partition leaves."""
    at = fresh = world.committed
    while at < len(world.log) and not stopped.is_set():
        last = world.dice.randint(at, len(world.log) - 1) if world.dice.random() < 0.3 else at
        newest = max(world.log[at : last + 1], key=lambda event: world.rank(event, 0))
        await handle(world, index, newest, swallowed=last > at, fresh=fresh)
        at = last + 1
        if not stopped.is_set() and world.dice.random() < 0.7:
            world.committed = max(world.committed, at)


def make_log(dice: random.Random, order: Order) -> list[Event]:
    log: list[Event] = []
    for offset in range(dice.randint(1, 6)):
        texts = None if dice.random() < 0.2 else [dice.choice("abcdef") for _ in range(dice.randint(1, 4))]
        metadata = {"n": dice.randint(0, 2)}
        if log and dice.random() < 0.3:
            texts, metadata = log[-1].texts, log[-1].metadata
        version = dice.randint(1, 3) if order is Order.VERSION else 0
        log.append(Event(offset, texts, metadata, version))
    return log


async def open_index(world: World) -> Index:
    settings = Settings(worker={"order": world.order})
    return await _again_and_again(lambda: Index.open(settings, FINGERPRINT, DIMENSION, Metrics()))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be had: the engine writes its log through to the disk, twenty times slower."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=MEMORY) as memory:
        yield Path(memory)


async def run_schedule(seed: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(seed)
    order = dice.choice(list(Order))
    engine = Engine(directory / str(seed))
    world = World(dice, order, Service(engine, seed=seed), make_log(dice, order))
    if dice.random() < 0.5:
        world.generation_after = dice.randint(0, 8)
    monkeypatch.setattr("worker.index.connection.make_client", lambda *_: DirectClient(world.service))
    indexes = [await open_index(world) for _ in range(4)]
    world.service.before = world.stagger
    world.service.faults.inject(Fault(Kind.LOST_ANSWER, probability=0.04))
    world.service.faults.inject(Fault(Kind.WAIT_TIMEOUT, probability=0.02))
    zombies = []
    for index in indexes[:3]:
        stopped = asyncio.Event()
        owner = asyncio.ensure_future(own(world, index, stopped))
        for _ in range(dice.choice((5, 30, 100, 400))):
            await asyncio.sleep(0)
        stopped.set()  # the partition moves: what this owner has begun, it goes on with as a zombie, or dies in it
        if dice.random() < 0.4:
            owner.cancel()
            await asyncio.gather(owner, return_exceptions=True)
            await world.service.release()  # what it had in flight lands before its session times out
        else:
            zombies.append(owner)
    for event in world.log[world.committed :]:
        await handle(world, indexes[3], event, swallowed=False, fresh=world.committed)
    await asyncio.gather(*zombies)
    await asyncio.gather(*world.landings)
    world.service.faults.heal()
    await world.service.release()
    world.service.before = None
    newest = max(world.log, key=lambda event: world.rank(event, 0))
    rank = (await indexes[3].read_manifests([KEY]))[KEY].rank
    generation = (rank.version if order is Order.OFFSET else rank.sequence) % 64
    assert rank == world.rank(newest, generation)
    metadata = {} if newest.texts is None else newest.metadata
    await assert_holds(indexes[3], KEY, rank, world.texts(newest, generation), metadata)
    engine.close()
    shutil.rmtree(directory / str(seed))


@pytest.mark.parametrize("first", range(0, SCHEDULES, PER_TEST))
async def test_the_collection_equals_the_fold(first: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(first, first + PER_TEST):
        try:
            await run_schedule(seed, directory, monkeypatch)
        except Exception as error:
            raise AssertionError(f"schedule {seed}") from error
