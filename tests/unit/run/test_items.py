"""The queue before the writers: what it gives out together, and when it is full."""

import asyncio

from streamdex.model import Event, Partition, Position, Rank, Record
from streamdex.run.items import Item, WriteQueue
from streamdex.settle import Ledger

VECTOR = bytes(4096)


def item(vectors: int) -> Item:
    record = Record("t", 0, 0, 0, b"key", b"{}")
    tracker = Ledger().assign(Partition("t", 0), 0)
    event = Event("s:key", "text", {}, None, Position("t", 0, 0, 0, 0))
    return Item(
        record, tracker.open(0, 5, 0), event, Rank(1), vectors={str(number): VECTOR for number in range(vectors)}
    )


async def test_a_batch_has_the_points_asked_for_or_what_is_there() -> None:
    queue = WriteQueue()
    items = [item(3), item(0), item(2), item(1)]
    for one in items:
        queue.put(one)
    assert await queue.take(5) == items[:3]  # one without vectors counts as a point: its payload is written
    assert await queue.take(64) == items[3:]


async def test_a_taker_waits_for_the_first_item_alone() -> None:
    queue = WriteQueue()
    taking = asyncio.create_task(queue.take(64))
    await asyncio.sleep(0)
    assert not taking.done()
    only = item(1)
    queue.put(only)
    assert await taking == [only]


async def test_it_is_full_by_the_bytes_of_vectors_and_has_room_once_they_are_taken() -> None:
    queue = WriteQueue()
    seen = []
    for vectors in (WriteQueue.MOST_BYTES // len(VECTOR) - 1, 1):
        queue.put(item(vectors))
        seen.append(queue.full)
    await queue.take(1)
    assert [*seen, queue.full] == [False, True, False]


def test_it_is_full_by_the_number_of_items() -> None:
    queue = WriteQueue()
    for _ in range(WriteQueue.MOST_ITEMS):
        assert not queue.full
        queue.put(item(0))
    assert queue.full
