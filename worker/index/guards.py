"""Filters that compare ranks: what makes every write safe to repeat, to delay and to race.

A guard lets a write touch an existing point only when that point's rank is not newer. `must_not newer` rather than
`must older or equal`, because it also covers points whose rank is missing or not a number. Ranks are exact as
doubles below 2^53, which `check_payload` and the plan see to.

All is built as protobuf messages in place: building the same from the client's models costs five times as much.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qdrant_client import grpc as q

from worker.model import Order, Rank

VERSION = "version"
SEQUENCE = "sequence"
DOCUMENT_KEY = "document_key"
GENERATIONS = 64  # what a rank's last number counts in: sequence * 64 + generation


class Guards:
    """The comparisons of one order. Methods named `add_…` fill a filter, or a list of conditions, in place."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._two_fields = order is Order.VERSION
        self.rank_fields: tuple[str, ...] = (VERSION, SEQUENCE) if self._two_fields else (VERSION,)

    def put_rank(self, payload: Any, rank: Rank) -> None:
        """Store a rank in a payload."""
        payload[VERSION].integer_value = rank.version
        if self._two_fields:
            payload[SEQUENCE].integer_value = rank.sequence

    def get_rank(self, payload: Any) -> Rank:
        """The rank that a payload holds; one without rank ranks lowest, as it does in the guards."""
        if VERSION not in payload:
            return Rank(-(2**63))
        return Rank(payload[VERSION].integer_value, payload[SEQUENCE].integer_value if self._two_fields else 0)

    def add_newer(self, conditions: Any, rank: Rank) -> None:
        """Add conditions of which one holds for ranks above `rank`."""
        newer = conditions.add().field
        newer.key = VERSION
        newer.range.gt = rank.version
        if self._two_fields:
            self._tie(conditions, rank).gt = rank.sequence

    def add_older(self, conditions: Any, rank: Rank) -> None:
        """Add conditions of which one holds for ranks below `rank`."""
        older = conditions.add().field
        older.key = VERSION
        older.range.lt = rank.version
        if self._two_fields:
            self._tie(conditions, rank).lt = rank.sequence

    @staticmethod
    def _tie(conditions: Any, rank: Rank) -> Any:
        """Add "the same version, and a sequence in the range that is returned"."""
        both = conditions.add().filter.must
        same = both.add().field
        same.key = VERSION
        same.range.gte = rank.version
        same.range.lte = rank.version
        sequence = both.add().field
        sequence.key = SEQUENCE
        return sequence.range

    def add_write_guard(self, guard: q.Filter, ids_by_rank: Mapping[Rank, Sequence[str]]) -> None:
        """Let each id's point be changed only where its rank is not newer than the one the id comes with."""
        if len(ids_by_rank) == 1:
            self.add_newer(guard.must_not, next(iter(ids_by_rank)))
            return
        add_clause = guard.must_not.add
        for rank, ids in ids_by_rank.items():
            clause = add_clause().filter
            add_ids(clause.must, ids)
            self.add_newer(clause.should, rank)

    def add_insert_guard(self, guard: q.Filter, ids: Iterable[str]) -> None:
        """Let the points of these ids be inserted where there are none, and not be changed where there are."""
        add_ids(guard.must_not, ids)

    def add_payload_guard(self, which: q.Filter, rank: Rank, ids: Iterable[str]) -> None:
        """Choose the points of these ids that are there and not newer than `rank`.

        By filter, not by id: Qdrant answers NOT_FOUND for an absent id; what vanished is for the read-back to see.
        """
        add_ids(which.must, ids)
        self.add_newer(which.must_not, rank)

    def add_ranked(self, which: q.Filter, ranks: Iterable[Rank], ids: Iterable[str]) -> None:
        """Choose the points of these ids that have exactly one of these ranks."""
        add_ids(which.must, ids)
        one_of = which.must.add().filter.should
        for rank in ranks:
            bounds = [(VERSION, rank.version), (SEQUENCE, rank.sequence)][: len(self.rank_fields)]
            fields = one_of.add().filter.must
            for key, value in bounds:
                field = fields.add().field
                field.key = key
                field.match.integer = value

    def add_purge(self, which: q.Filter, below: Mapping[str, Rank]) -> None:
        """Choose the points of each document whose rank is below the one given."""
        for document_key, rank in below.items():
            clause = which.should.add().filter
            _add_document(clause.must, document_key)
            self.add_older(clause.should, rank)

    def add_not_newer(self, which: q.Filter, ids_by_rank: Mapping[Rank, Sequence[str]]) -> None:
        """Choose the points of these ids whose rank is not newer than the one the id comes with."""
        for rank, ids in ids_by_rank.items():
            clause = which.should.add().filter
            add_any_ids(clause.must, ids)
            self.add_newer(clause.must_not, rank)

    def add_leftovers(self, which: q.Filter, document_key: str, rank: Rank, listed: Iterable[str]) -> None:
        """Choose the points that attempts at the event of `rank`, by any generation, left outside the manifest.

        Not those of older events: a writer of one may be about to list them.
        """
        _add_document(which.must, document_key)
        first, last = self._ranks_of_event(rank)
        self.add_older(which.must_not, first)
        self.add_newer(which.must_not, last)
        add_ids(which.must_not, listed)

    def _ranks_of_event(self, rank: Rank) -> tuple[Rank, Rank]:
        """The lowest and the highest rank that any generation gives the event of `rank`."""
        number = rank.sequence if self._two_fields else rank.version
        first = number - number % GENERATIONS
        last = first + GENERATIONS - 1
        if self._two_fields:
            return Rank(rank.version, first), Rank(rank.version, last)
        return Rank(first), Rank(last)


def add_ids(conditions: Any, ids: Iterable[str]) -> None:
    """Add "has one of these ids"."""
    wanted = conditions.add().has_id
    wanted.SetInParent()
    add = wanted.has_id.add
    for point_id in ids:
        add().uuid = point_id


def add_any_ids(conditions: Any, ids: Iterable[str]) -> None:
    """Add "has one of these ids", of which some may be numbers: those of points that are not ours."""
    wanted = conditions.add().has_id
    wanted.SetInParent()
    for point_id in ids:
        if point_id.isdecimal():
            wanted.has_id.add().num = int(point_id)
        else:
            wanted.has_id.add().uuid = point_id


def _add_document(conditions: Any, document_key: str) -> None:
    field = conditions.add().field
    field.key = DOCUMENT_KEY
    field.match.keyword = document_key
