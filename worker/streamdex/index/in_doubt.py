"""Requests in doubt: they got no answer and may still take effect. Which documents they touch, and until when."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable

KEPT = 4096  # documents; above that number, those whose time is over are dropped


class InDoubtRequests:
    """Remembers for `in_doubt_s` each document of a request that may land later."""

    def __init__(
        self,
        in_doubt_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._in_doubt_s = in_doubt_s
        self._monotonic_s = monotonic_s
        self._until_s: dict[str, float] = {}
        self.sleep = sleep

    def add(self, document_ids: Iterable[str]) -> None:
        """A request with points of these documents got no answer."""
        now_s = self._monotonic_s()
        if len(self._until_s) > KEPT:
            self._until_s = {key: until_s for key, until_s in self._until_s.items() if until_s > now_s}
        until_s = now_s + self._in_doubt_s
        self._until_s.update(dict.fromkeys(document_ids, until_s))

    def require_delete(self, document_ids: Iterable[str]) -> None:
        """These documents may have older points already: their next delete must not be skipped."""
        now_s = self._monotonic_s()
        for key in document_ids:
            self._until_s.setdefault(key, now_s)

    def includes(self, document_id: str) -> bool:
        """Whether older points of this document may be there or come, because no delete has resolved that yet."""
        return document_id in self._until_s

    def waits_s(self, document_ids: Collection[str]) -> dict[str, float]:
        """By document, the seconds until nothing of it can land any more; without those that have nothing in doubt."""
        if not self._until_s:
            return {}
        now_s = self._monotonic_s()
        return {
            key: self._until_s[key] - now_s
            for key in document_ids
            if key in self._until_s and self._until_s[key] > now_s
        }

    def resolve(self, document_ids: Iterable[str]) -> None:
        """A delete began after the time of these documents was over."""
        for key in document_ids:
            self._until_s.pop(key, None)
