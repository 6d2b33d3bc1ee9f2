"""How much of our share is really there: all of it until a 429 proves otherwise, and back on a cubic. Pure.

The limits may be configured too high, or another client may use the same key. Like CUBIC's window: back quickly to just
below where it failed, long there, then further and further up. Rejected: additive increase, which is refused as often
when nothing has changed as when everything has.
"""

import math

BACKLOG_S = 60.0  # so long must we have sent all we could for our use to be a measure of the limit
BELOW_MEASURED = 0.98
BELOW_UNKNOWN = 0.97
RISE = 0.02 / 60.0**3  # per s³: two hundredths in the first minute above the level of the refusal, a sixth in two
AGAIN_S = 15.0  # a window forgets slowly: refusals so soon after a cut do not say that it was too small
DEEPEST_CUT = 0.3  # of the former value, at once: one measurement may be wrong
LEAST = 0.02


class RateRecovery:
    """The part of the share to use, in (0, 1]."""

    def __init__(self) -> None:
        self._level = 1.0  # where it was refused
        self._start = 1.0  # what it was cut to
        self._cut_at_s: float | None = None

    def at(self, now_s: float) -> float:
        """The part to use at this time."""
        if self._cut_at_s is None:
            return 1.0
        back_s = math.cbrt((self._level - self._start) / RISE)  # so long from the cut to that level
        value = self._level + RISE * (now_s - self._cut_at_s - back_s) ** 3
        if value >= 1.0:
            self._cut_at_s = None
            return 1.0
        return value

    def refused(self, now_s: float, measured: float | None) -> None:
        """The service refused for the rate. `measured`: which part was used of late, if that says what is there."""
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
