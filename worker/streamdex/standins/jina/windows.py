"""The five ways in which a server may count "per minute". Pure: the time is an argument, nothing reads a clock.

Which of them the hosted service uses is not documented, so a client must be safe under each. All share `Window`:
ask `fits` or `wait_s`, then `charge`. Time must not go backwards; its origin does not matter.
"""

import math
from collections import deque
from enum import StrEnum
from typing import Protocol

MINUTE_S = 60.0
_ROUNDING = 1e-9  # a bucket's level is a float: 0.9999999999 of a request is a request


class WindowKind(StrEnum):
    """How a limit per minute is counted."""

    FIXED = "fixed"
    SLIDING_LOG = "sliding-log"
    SLIDING_COUNTER = "sliding-counter"
    BUCKET_60S = "bucket-60s"
    BUCKET_2S = "bucket-2s"


class Window(Protocol):
    """One limit per minute, counted in one of the five ways. Amounts are requests or tokens."""

    def used(self, now_s: float) -> float:
        """How much of the limit is taken at this moment."""

    def fits(self, now_s: float, amount: int) -> bool:
        """Whether the amount may be charged now."""

    def wait_s(self, now_s: float, amount: int) -> float:
        """Seconds until the amount would fit if nothing else came: 0 when it fits now, infinite when it never can."""

    def charge(self, now_s: float, amount: int) -> None:
        """Take the amount, also when it does not fit (a server that counts what it rejects)."""


class FixedWindow:
    """A counter that starts again each minute. `phase_s` says where the minutes begin."""

    def __init__(self, limit: int, phase_s: float = 0.0) -> None:
        self._limit = limit
        self._phase_s = phase_s
        self._minute = -math.inf
        self._used = 0

    def _turn(self, now_s: float) -> None:
        minute = math.floor((now_s - self._phase_s) / MINUTE_S)
        if minute > self._minute:
            self._minute, self._used = minute, 0

    def used(self, now_s: float) -> float:
        self._turn(now_s)
        return self._used

    def fits(self, now_s: float, amount: int) -> bool:
        return self.used(now_s) + amount <= self._limit

    def wait_s(self, now_s: float, amount: int) -> float:
        if self.fits(now_s, amount):
            return 0.0
        if amount > self._limit:
            return math.inf
        return (self._minute + 1) * MINUTE_S + self._phase_s - now_s

    def charge(self, now_s: float, amount: int) -> None:
        self._turn(now_s)
        self._used += amount


class SlidingLog:
    """Remembers each charge for a minute: no 60 seconds, wherever they begin, hold more than the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._log: deque[tuple[float, int]] = deque()
        self._used = 0

    def used(self, now_s: float) -> float:
        while self._log and self._log[0][0] + MINUTE_S <= now_s:
            self._used -= self._log.popleft()[1]
        return self._used

    def fits(self, now_s: float, amount: int) -> bool:
        return self.used(now_s) + amount <= self._limit

    def wait_s(self, now_s: float, amount: int) -> float:
        if amount > self._limit:
            return math.inf
        too_much = self.used(now_s) + amount - self._limit
        if too_much <= 0:
            return 0.0
        for charged_s, charged in self._log:
            too_much -= charged
            if too_much <= 0:
                return charged_s + MINUTE_S - now_s
        return math.inf  # unreachable: the whole log is what is used

    def charge(self, now_s: float, amount: int) -> None:
        self.used(now_s)
        self._log.append((now_s, amount))
        self._used += amount


class SlidingCounter:
    """Two fixed minutes: the present one whole, and of the one before the part that still overlaps the last 60 s."""

    def __init__(self, limit: int, phase_s: float = 0.0) -> None:
        self._limit = limit
        self._phase_s = phase_s
        self._minute = -math.inf
        self._before = 0
        self._present = 0

    def _turn(self, now_s: float) -> float:
        """Bring the counters to this moment; the part of the present minute that has passed."""
        minute = math.floor((now_s - self._phase_s) / MINUTE_S)
        if minute > self._minute:
            self._before = self._present if minute == self._minute + 1 else 0
            self._minute, self._present = minute, 0
        return (now_s - self._phase_s) / MINUTE_S - self._minute

    def used(self, now_s: float) -> float:
        passed = self._turn(now_s)
        return self._before * (1 - passed) + self._present

    def fits(self, now_s: float, amount: int) -> bool:
        return self.used(now_s) + amount <= self._limit

    def wait_s(self, now_s: float, amount: int) -> float:
        if self.fits(now_s, amount):
            return 0.0
        free = self._limit - amount
        if free < 0:
            return math.inf
        passed = self._turn(now_s)
        if self._present <= free:
            return (1 - (free - self._present) / self._before - passed) * MINUTE_S
        # Not in this minute; in the next one the present count is the one that fades.
        return (2 - free / self._present - passed) * MINUTE_S

    def charge(self, now_s: float, amount: int) -> None:
        self._turn(now_s)
        self._present += amount


class TokenBucket:
    """Refills evenly; holds what `capacity_s` seconds bring (at least 1), and starts full.

    An amount above the capacity never fits: that is what "burst" means in the buckets of gateways.
    """

    def __init__(self, limit: int, capacity_s: float) -> None:
        self._per_s = limit / MINUTE_S
        self._capacity = max(1.0, self._per_s * capacity_s)
        self._level = self._capacity
        self._at_s = -math.inf

    def _refill(self, now_s: float) -> float:
        self._level = min(self._capacity, self._level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return self._level

    def used(self, now_s: float) -> float:
        return self._capacity - self._refill(now_s)

    def fits(self, now_s: float, amount: int) -> bool:
        return amount <= self._refill(now_s) + _ROUNDING

    def wait_s(self, now_s: float, amount: int) -> float:
        if self.fits(now_s, amount):
            return 0.0
        if amount > self._capacity + _ROUNDING:
            return math.inf
        return (amount - self._level) / self._per_s

    def charge(self, now_s: float, amount: int) -> None:
        self._level = max(0.0, self._refill(now_s) - amount)


def make_window(kind: WindowKind, limit: int, phase_s: float = 0.0) -> Window:
    """A window for `limit` per minute. `phase_s` moves the minutes of the two that have any; it may be random."""
    match kind:
        case WindowKind.FIXED:
            return FixedWindow(limit, phase_s)
        case WindowKind.SLIDING_LOG:
            return SlidingLog(limit)
        case WindowKind.SLIDING_COUNTER:
            return SlidingCounter(limit, phase_s)
        case WindowKind.BUCKET_60S:
            return TokenBucket(limit, capacity_s=60.0)
        case WindowKind.BUCKET_2S:
            return TokenBucket(limit, capacity_s=2.0)
