"""After a 429: which limit refused, and how much of the rate to use from then on. Pure.

The configured limits may be too high, or another client may use the same key. So the rate is cut, and recovers on a
cubic like CUBIC's window: quickly to just below where it was refused, long near there, then further and further up.
Rejected: additive increase. It is refused as often when nothing has changed as when everything has.
"""

import math
from enum import StrEnum


class Throttle(StrEnum):
    """The limit that refused a request; a label of the metric."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    RATE = "rate"  # one of the two, unknown which
    CONCURRENCY = "concurrency"
    IP = "ip"


_CODES = {
    "RATE_REQUEST_LIMIT_EXCEEDED": Throttle.REQUESTS,
    "RATE_TOKEN_LIMIT_EXCEEDED": Throttle.TOKENS,
    "RATE_CONCURRENCY_LIMIT_EXCEEDED": Throttle.CONCURRENCY,
    "RATE_IP_LIMIT_EXCEEDED": Throttle.IP,
}
LOW_USE = 0.7  # of our share in the last minute: too little for the rate to be what was exceeded
CROWDED = 0.8  # of the requests that we may have under way

SATURATED_S = 60.0  # for so long we must have sent all we could: only then our use measures the limit
BELOW_MEASURED = 0.98
BELOW_UNKNOWN = 0.97
RISE = 0.02 / 60.0**3  # per s³: from the level of the refusal, two hundredths in the first minute, a sixth in two
AGAIN_S = 15.0  # servers' windows forget slowly: a 429 so soon after a cut does not show that the cut was too small
DEEPEST_CUT = 0.3  # of the former value, at once: one measurement may be wrong
LEAST = 0.02


def throttle_of(code: str | None, used: float, in_flight: int, slots: int) -> Throttle:
    """The limit behind a 429. `used`: part of our share that went in the last 60 s, of the fuller limit.

    Without a code: many requests under way at a low rate can only be too many at once. In doubt it is the rate, since a
    refusal for the rate stops everything for a moment, and that helps in both cases.
    """
    known = _CODES.get(code or "")
    if known is not None:
        return known
    return Throttle.CONCURRENCY if used < LOW_USE and in_flight >= CROWDED * slots else Throttle.RATE


class RateRecovery:
    """The part of the share to use, in (0, 1]: 1 until a 429 for the rate."""

    def __init__(self) -> None:
        self._level = 1.0  # where it was refused
        self._start = 1.0  # what it was cut to
        self._cut_at_s: float | None = None

    def at(self, now_s: float) -> float:
        """The part to use at this time."""
        if self._cut_at_s is None:
            return 1.0
        back_s = math.cbrt((self._level - self._start) / RISE)  # from the cut to when the level is reached again
        value = self._level + RISE * (now_s - self._cut_at_s - back_s) ** 3
        if value >= 1.0:
            self._cut_at_s = None
            return 1.0
        return value

    def refused(self, now_s: float, measured: float | None) -> None:
        """The service refused a request for the rate.

        `measured`: the part that was used of late, if that shows how much there is; None when we did not send all we
        could.
        """
        before = self.at(now_s)
        if self._cut_at_s is not None and now_s - self._cut_at_s < AGAIN_S:
            return
        unknown = BELOW_UNKNOWN * before
        if measured is None or measured >= before:
            self._level, start = before, unknown
        else:
            self._level = max(measured, DEEPEST_CUT * before)
            start = BELOW_MEASURED * self._level
        self._start = max(LEAST, min(start, unknown))
        self._level = max(self._level, self._start)
        self._cut_at_s = now_s
