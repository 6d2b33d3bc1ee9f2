"""The three limits of a key: requests a minute, tokens a minute, concurrent requests. Pure: the time is an argument."""

import math
from dataclasses import dataclass
from enum import StrEnum

from streamdex.standins.jina.windows import Window, WindowKind, make_window


class LimitKind(StrEnum):
    """Which limit refused a request, by the code of its 429."""

    REQUESTS = "RATE_REQUEST_LIMIT_EXCEEDED"
    TOKENS = "RATE_TOKEN_LIMIT_EXCEEDED"
    CONCURRENCY = "RATE_CONCURRENCY_LIMIT_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may do; None is no limit. `count_rejected`: a rejected request uses up one request as well."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    window: WindowKind = WindowKind.FIXED
    phase_s: float = 0.0
    count_rejected: bool = False


@dataclass(frozen=True, slots=True)
class LimitRefusal:
    """A request that was over a limit. `wait_s` is infinite when it can never fit, 0 for concurrency: nobody knows."""

    kind: LimitKind
    used: int
    limit: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left for the next request; None where there is no limit."""

    requests: int | None
    tokens: int | None


class Limiter:
    """Admits or refuses requests. Each admitted one must `leave` when it has been answered."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests = self._window(limits.requests_per_minute)
        self._tokens = self._window(limits.tokens_per_minute)
        self.in_flight = 0

    def _window(self, limit: int | None) -> Window | None:
        return None if limit is None else make_window(self._limits.window, limit, self._limits.phase_s)

    def admit(self, now_s: float, tokens: int) -> LimitRefusal | None:
        """Charge one request of so many tokens and let it in, or say which limit it is over and charge no tokens."""
        refusal = self._refusal(now_s, tokens)
        if refusal is None:
            self.in_flight += 1
            if self._tokens:
                self._tokens.charge(now_s, tokens)
        if self._requests and (refusal is None or self._limits.count_rejected):
            self._requests.charge(now_s, 1)
        return refusal

    def leave(self) -> None:
        """An admitted request has been answered."""
        self.in_flight -= 1

    def remaining(self, now_s: float) -> Remaining:
        """What is left of both limits per minute at this moment."""
        limits = self._limits
        return Remaining(
            requests=_left(self._requests, limits.requests_per_minute, now_s),
            tokens=_left(self._tokens, limits.tokens_per_minute, now_s),
        )

    def _refusal(self, now_s: float, tokens: int) -> LimitRefusal | None:
        limits = self._limits
        if limits.concurrency is not None and self.in_flight >= limits.concurrency:
            return LimitRefusal(LimitKind.CONCURRENCY, self.in_flight, limits.concurrency, 0.0)
        return _over(LimitKind.REQUESTS, self._requests, limits.requests_per_minute, now_s, 1) or _over(
            LimitKind.TOKENS, self._tokens, limits.tokens_per_minute, now_s, tokens
        )


def _over(kind: LimitKind, window: Window | None, limit: int | None, now_s: float, amount: int) -> LimitRefusal | None:
    if window is None or limit is None or window.fits(now_s, amount):
        return None
    return LimitRefusal(kind, math.ceil(window.used(now_s)), limit, window.wait_s(now_s, amount))


def _left(window: Window | None, limit: int | None, now_s: float) -> int | None:
    if window is None or limit is None:
        return None
    return max(0, math.floor(limit - window.used(now_s)))
