"""Filters that compare ranks: what makes every write safe to repeat, to delay and to race.

A guard lets a write touch an existing point only when that point's rank is not newer. `must_not newer` rather than
`must older or equal`, because it also covers points whose rank is missing or not a number. Ranks are exact as
doubles below 2^53, which `check_payload` and the plan see to.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from qdrant_client import grpc as q

from streamdex.index.conditions import Comparison, PointAbove, add, group, has_any_id, has_id, holds
from streamdex.index.encoding.values import Name, integer
from streamdex.model import GENERATIONS, Order, Rank

VERSION = "version"
SEQUENCE = "sequence"
_VERSION, _SEQUENCE = Name(VERSION), Name(SEQUENCE)
_NEWER, _OLDER = Comparison(VERSION, "gt"), Comparison(VERSION, "lt")
_AT_LEAST, _AT_MOST = Comparison(VERSION, "gte"), Comparison(VERSION, "lte")
_NEWER_POINT = PointAbove(_NEWER)
_LATER, _EARLIER = Comparison(SEQUENCE, "gt"), Comparison(SEQUENCE, "lt")
DOCUMENT_ID = "document_id"


@lru_cache(maxsize=1024)  # asked for by a document's points and by its manifest
def _version_entry(version: int) -> bytes:
    return _VERSION.holds(integer(version))


class Guards:
    """The comparisons of one order. Methods named `add_…` add conditions to a filter."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._two_fields = order is Order.VERSION
        self.rank_fields: tuple[str, ...] = (VERSION, SEQUENCE) if self._two_fields else (VERSION,)

    def rank_entries(self, rank: Rank) -> tuple[bytes, ...]:
        """The entries of a payload that hold a rank."""
        version = _version_entry(rank.version)
        return (version, _SEQUENCE.holds(integer(rank.sequence))) if self._two_fields else (version,)

    def get_rank(self, payload: Any) -> Rank:
        """The rank that a payload holds; one without rank ranks lowest, as it does in the guards."""
        version = payload.get(VERSION)
        if version is None:
            return Rank(-(2**63))
        return Rank(version.integer_value, payload[SEQUENCE].integer_value if self._two_fields else 0)

    def _newer(self, rank: Rank) -> list[bytes]:
        """Conditions of which one holds for ranks above `rank`."""
        newer = _NEWER.with_(rank.version)
        return [newer, self._tie(rank, _LATER)] if self._two_fields else [newer]

    def _older(self, rank: Rank) -> list[bytes]:
        """Conditions of which one holds for ranks below `rank`."""
        older = _OLDER.with_(rank.version)
        return [older, self._tie(rank, _EARLIER)] if self._two_fields else [older]

    @staticmethod
    def _tie(rank: Rank, sequence: Comparison) -> bytes:
        """The same version, and a sequence that compares so."""
        same = (_AT_LEAST.with_(rank.version), _AT_MOST.with_(rank.version))
        return group(must=(*same, sequence.with_(rank.sequence)))

    def add_write_guard(self, guard: q.Filter, ids_by_rank: Mapping[Rank, Sequence[str]]) -> None:
        """Let each id's point be changed only where its rank is not newer than the one the id comes with."""
        if len(ids_by_rank) == 1:
            add(guard, must_not=self._newer(next(iter(ids_by_rank))))
            return
        add(guard, must_not=[self._newer_points(rank, ids) for rank, ids in ids_by_rank.items()])

    def _newer_points(self, rank: Rank, ids: Sequence[str]) -> bytes:
        """Those of these points that are above `rank`."""
        if len(ids) == 1 and not self._two_fields:
            return _NEWER_POINT.with_(ids[0], rank.version)
        return group(must=(has_id(ids),), should=self._newer(rank))

    def add_insert_guard(self, guard: q.Filter, ids: Iterable[str]) -> None:
        """Let the points of these ids be inserted where there are none, and not be changed where there are."""
        add(guard, must_not=(has_id(ids),))

    def add_payload_guard(self, which: q.Filter, rank: Rank, ids: Iterable[str]) -> None:
        """Choose the points of these ids that are there and not newer than `rank`.

        By filter, not by id: Qdrant answers NOT_FOUND for an absent id; what vanished is for the read-back to see.
        """
        add(which, must=(has_id(ids),), must_not=self._newer(rank))

    def add_ranked(self, which: q.Filter, ranks: Iterable[Rank], ids: Iterable[str]) -> None:
        """Choose the points of these ids that have exactly one of these ranks."""
        same = [group(must=[holds(*bound) for bound in zip(self.rank_fields, rank, strict=False)]) for rank in ranks]
        add(which, must=(has_id(ids), group(should=same)))

    def add_below(self, which: q.Filter, below: Mapping[str, Rank]) -> None:
        """Choose the points of each document whose rank is below the one given."""
        add(
            which,
            should=[
                group(must=(holds(DOCUMENT_ID, document_id),), should=self._older(rank))
                for document_id, rank in below.items()
            ],
        )

    def add_not_newer(self, which: q.Filter, ids_by_rank: Mapping[Rank, Sequence[str]]) -> None:
        """Choose the points of these ids whose rank is not newer than the one the id comes with."""
        add(
            which,
            should=[group(must=(has_any_id(ids),), must_not=self._newer(rank)) for rank, ids in ids_by_rank.items()],
        )

    def add_leftovers(self, which: q.Filter, document_id: str, rank: Rank, listed: Iterable[str]) -> None:
        """Choose the points that attempts at the event of `rank`, by any generation, left outside the manifest.

        Not those of older events: a writer of one may be about to list them.
        """
        first, last = self._ranks_of_event(rank)
        add(
            which,
            must=(holds(DOCUMENT_ID, document_id),),
            must_not=(*self._older(first), *self._newer(last), has_id(listed)),
        )

    def _ranks_of_event(self, rank: Rank) -> tuple[Rank, Rank]:
        """The lowest and the highest rank that any generation gives the event of `rank`."""
        return rank.of_generation(0), rank.of_generation(GENERATIONS - 1)
