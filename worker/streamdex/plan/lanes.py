"""One event per document at a time; a newer waiting one coalesces the older waiting ones.

Glossary: the *lane* of a document holds the one event in flight and at most one that waits. A waiting event keeps the
events it *coalesced*: they settle as superseded together with it, and come back when it is dead-lettered. A lane keeps
the highest rank, not the latest arrival.
"""

import math
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from streamdex.model import Rank


class Ranked(Protocol):
    """What a lane orders."""

    @property
    def document_id(self) -> str:
        """Names the lane."""

    @property
    def rank(self) -> Rank:
        """Orders within the lane."""

    @property
    def coalesced(self) -> list[Any]:
        """Events this one has taken with it."""


T = TypeVar("T", bound=Ranked)


def _nothing(_: object) -> float:
    return 0.0


class Lanes(Generic[T]):
    """The lanes of all documents that have an event waiting or in flight."""

    def __init__(self) -> None:
        self._waiting: dict[str, T] = {}
        self._in_flight: dict[str, T] = {}
        self._ready: dict[str, None] = {}  # documents that wait and are not in flight, oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def ready(self) -> int:
        """Documents that `take` could give out."""
        return len(self._ready)

    @property
    def waiting(self) -> Collection[T]:
        """The events that wait, without those that they have coalesced."""
        return self._waiting.values()

    def offer(self, item: T) -> None:
        """Queue an event behind the one in flight; of two that wait the higher rank coalesces the other."""
        key = item.document_id
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = item
            if key not in self._in_flight:
                self._ready[key] = None
        elif item.rank >= waiting.rank:
            item.coalesced.extend((waiting, *waiting.coalesced))
            waiting.coalesced.clear()
            self._waiting[key] = item
        else:
            waiting.coalesced.append(item)

    def take(self, limit: int, budget: float = math.inf, weigh: Callable[[T], float] = _nothing) -> list[T]:
        """Up to `limit` events, each of another document, now in flight; no more once they weigh `budget` together."""
        taken: list[T] = []
        for key in list(islice(self._ready, limit)):
            if budget <= 0:
                break
            del self._ready[key]
            item = self._waiting.pop(key)
            self._in_flight[key] = item
            taken.append(item)
            budget -= weigh(item)
        return taken

    def finish(self, item: T) -> None:
        """The event in flight has its outcome, or is abandoned: the next one of its document may go."""
        key = item.document_id
        if self._in_flight.get(key) is not item:
            return
        del self._in_flight[key]
        if key in self._waiting:
            self._ready[key] = None

    def withdraw(self, unwanted: Callable[[T], bool]) -> None:
        """Drop waiting events; what a dropped one had coalesced and is still wanted comes back."""
        kept: list[T] = []
        for key, item in list(self._waiting.items()):
            group: tuple[T, ...] = (item, *item.coalesced)
            if any(unwanted(one) for one in group):
                del self._waiting[key]
                self._ready.pop(key, None)
                kept.extend(one for one in group if not unwanted(one))
        for item in kept:
            item.coalesced.clear()
            self.offer(item)
