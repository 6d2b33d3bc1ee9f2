"""The promise, on the shipped code: whatever happens, points, payloads and manifests equal the fold of the log.

Two workers (the shipped flow with its plan, index and settlement) write to one real engine under random schedules: see
`protocol_schedules`. STREAMDEX_LONG=n runs n schedules of each order instead of the usual ones. A failing seed is
printed with its story; `run_schedule(engine, seed, order)` repeats it.

What is known not to heal by itself is apart: zombies that die in the middle of an event leave nothing worse than chunks
too many.
"""

import os
from collections.abc import Iterator

import pytest

from harness.protocol.deployments import made_engine
from harness.protocol.schedules import run_schedule
from streamdex.model import Order
from streamdex.standins.qdrant import Engine

SCHEDULES = int(os.environ.get("STREAMDEX_LONG", "1200"))  # of each order
BATCH = 100
BATCHES = range(0, SCHEDULES, BATCH)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with made_engine() as made:
        yield made


@pytest.mark.parametrize("first_seed", BATCHES)
@pytest.mark.parametrize("order", Order)
def test_the_collection_equals_the_fold(engine: Engine, order: Order, first_seed: int) -> None:
    for seed in range(first_seed, min(first_seed + BATCH, SCHEDULES)):
        result = run_schedule(engine, seed, order)
        assert result.differences == [], f"seed {seed}, {order} order:\n" + "\n".join(result.story)


@pytest.mark.parametrize("order", Order)
def test_a_zombie_that_dies_leaves_nothing_worse_than_chunks_too_many(engine: Engine, order: Order) -> None:
    for seed in range(SCHEDULES // 6):
        result = run_schedule(engine, seed, order, kill_zombies=True)
        worse = [one for one in result.differences if not one.startswith("leftover")]
        assert worse == [], f"seed {seed}, {order} order:\n" + "\n".join(result.story)
