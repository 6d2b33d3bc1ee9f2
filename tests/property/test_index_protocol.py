"""The promise, on the shipped code: whatever happens, points, payloads and manifests equal the fold of the log.

Two workers (the shipped flow with its plan, index and settlement) write to one real engine under random schedules: see
`protocol_schedules`. STREAMDEX_LONG=n runs n schedules of each kind instead of the usual ones. A failing seed is
printed with its story; `run_schedule(engine, seed, order)` repeats it.

What is known not to heal by itself is let in by one test alone, which shows that it leaves nothing worse than chunks
too many: a zombie that dies in the middle of an event, and a partition that goes back from a newer deployment to an
older one after a death.
"""

import os
from collections.abc import Iterator

import pytest
from protocol_deployments import made_engine
from protocol_schedules import run_schedule

from worker.embedded.qdrant import Engine
from worker.model import Order

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
