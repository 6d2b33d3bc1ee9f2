"""The comparisons of ranks, each tried out on Qdrant's own engine."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from qdrant_client import grpc as q

from streamdex.index.encoding.values import fields
from streamdex.index.encoding.wire import key_of
from streamdex.index.guards import Guards
from streamdex.model import Order, Rank
from streamdex.standins.qdrant import Engine

OFFSET_RANKS = [Rank(0), Rank(1), Rank(63), Rank(2**53 - 2), Rank(2**53 - 1)]
VERSION_RANKS = [Rank(v, s) for v, s in itertools.product((-(2**53) + 1, -1, 0, 7), (0, 1, 2**53 - 1))]
PAIRS = [
    (order, stored, mine)
    for order, ranks in ((Order.OFFSET, OFFSET_RANKS), (Order.VERSION, VERSION_RANKS))
    for stored, mine in itertools.product(ranks, repeat=2)
]


class Shelf:
    """A collection in the engine whose points are all of document `s:1` unless said otherwise."""

    def __init__(self, order: Order) -> None:
        self.engine = Engine()
        self.guards = Guards(order)
        vectors = q.VectorsConfig(params=q.VectorParams(size=1, distance=q.Dot))
        self.engine.handle("Collections.Create", q.CreateCollection(collection_name="c", vectors_config=vectors))

    def put(self, point_id: str, rank: Rank | None, key: str = "1", guard: Callable[[Any], None] | None = None) -> None:
        request = q.UpsertPoints(collection_name="c", wait=True)
        point = request.points.add()
        point.id.uuid = point_id
        point.vectors.vector.dense.data.append(1.0)
        point.payload["document_id"].string_value = key
        if rank is not None:
            merge(point, self.guards.rank_entries(rank))
        if guard is not None:
            guard(request.update_filter)
        self.engine.handle("Points.Upsert", request)

    def ranks(self) -> dict[str, Rank]:
        request = q.ScrollPoints(collection_name="c", limit=100)
        request.with_payload.enable = True
        points = self.engine.handle("Points.Scroll", request).result
        return {point.id.uuid: self.guards.get_rank(point.payload) for point in points}

    def delete(self, choose: Callable[[Any], None]) -> None:
        request = q.DeletePoints(collection_name="c", wait=True)
        choose(request.points.filter)
        self.engine.handle("Points.Delete", request)


def merge(point: q.PointStruct, entries: Sequence[bytes]) -> None:
    """Add entries to a point's payload."""
    point.MergeFromString(fields(key_of(q.PointStruct, "payload"), entries))


def uuid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


A, B, C = (uuid_of(number) for number in range(3))


@pytest.fixture(scope="module")
def shelves() -> dict[Order, Shelf]:
    return {order: Shelf(order) for order in Order}


@pytest.mark.parametrize(("order", "stored", "mine"), PAIRS)
def test_a_write_changes_a_point_unless_that_is_newer(
    shelves: dict[Order, Shelf], order: Order, stored: Rank, mine: Rank
) -> None:
    shelf = shelves[order]
    shelf.put(A, stored)
    shelf.put(A, mine, guard=lambda guard: shelf.guards.add_write_guard(guard, {mine: [A]}))
    assert shelf.ranks()[A] == max(stored, mine)


@pytest.mark.parametrize(("order", "stored", "mine"), PAIRS)
def test_a_purge_deletes_what_is_older_and_nothing_else(
    shelves: dict[Order, Shelf], order: Order, stored: Rank, mine: Rank
) -> None:
    shelf = shelves[order]
    shelf.put(A, stored)
    shelf.put(B, stored, key="other")
    shelf.delete(lambda which: shelf.guards.add_below(which, {"1": mine}))
    assert (A in shelf.ranks()) == (stored >= mine)
    assert B in shelf.ranks()


@pytest.mark.parametrize("order", Order)
def test_one_request_guards_each_point_by_its_own_rank(order: Order) -> None:
    shelf = Shelf(order)
    ranks = {A: Rank(5, 5), B: Rank(7, 7), C: Rank(5, 5)}
    request = q.UpsertPoints(collection_name="c", wait=True)
    for point_id, rank in ranks.items():
        shelf.put(point_id, {A: Rank(6), B: Rank(6), C: Rank(4)}[point_id])
        point = request.points.add()
        point.id.uuid = point_id
        point.vectors.vector.dense.data.append(1.0)
        merge(point, shelf.guards.rank_entries(rank))
    shelf.guards.add_write_guard(request.update_filter, {Rank(5, 5): [A, C], Rank(7, 7): [B]})
    shelf.engine.handle("Points.Upsert", request)
    assert [shelf.ranks()[point_id].version for point_id in (A, B, C)] == [6, 7, 5]


def test_a_point_without_a_rank_is_older_than_any() -> None:
    shelf = Shelf(Order.OFFSET)
    shelf.put(A, None)
    assert shelf.ranks()[A] < Rank(-(2**53))
    shelf.put(A, Rank(0), guard=lambda guard: shelf.guards.add_write_guard(guard, {Rank(0): [A]}))
    assert shelf.ranks()[A] == Rank(0)


@pytest.mark.parametrize("order", Order)
def test_several_documents_are_purged_each_at_its_own_rank(order: Order) -> None:
    shelf = Shelf(order)
    shelf.put(A, Rank(5), key="1")
    shelf.put(B, Rank(5), key="2")
    shelf.put(C, Rank(5), key="3")
    shelf.delete(lambda which: shelf.guards.add_below(which, {"1": Rank(5), "2": Rank(6)}))
    assert set(shelf.ranks()) == {A, C}


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("listed", [[], [A]])
def test_leftovers_are_what_is_not_newer_and_not_listed(order: Order, listed: list[str]) -> None:
    shelf = Shelf(order)
    mine, newer = (Rank(64), Rank(128)) if order is Order.OFFSET else (Rank(5, 64), Rank(5, 128))
    for point_id, rank in ((A, mine), (B, mine), (C, newer)):
        shelf.put(point_id, rank)
    shelf.delete(lambda which: shelf.guards.add_leftovers(which, "1", mine, listed))
    assert set(shelf.ranks()) == {*listed, C}


@pytest.mark.parametrize("order", Order)
def test_the_payload_guard_leaves_newer_and_absent_points_alone(order: Order) -> None:
    shelf = Shelf(order)
    shelf.put(A, Rank(5))
    shelf.put(B, Rank(7))
    request = q.SetPayloadPoints(collection_name="c", wait=True)
    request.payload["touched"].bool_value = True
    shelf.guards.add_payload_guard(request.points_selector.filter, Rank(6), [A, B, C])
    shelf.engine.handle("Points.SetPayload", request)
    get = q.GetPoints(collection_name="c", ids=[q.PointId(uuid=point_id) for point_id in (A, B, C)])
    get.with_payload.enable = True
    points = shelf.engine.handle("Points.Get", get).result
    assert {point.id.uuid: "touched" in point.payload for point in points} == {A: True, B: False}
