"""Whether requests may go at all: not while the service or the account does not work, except one probe at a time.

Closed: all requests flow. Open: none does, until the time of the next probe. Half-open: one probe may go or is under
way, and the breaker closes when it passes.

The pacing decides how fast requests go, and the suspects whose fault a failure is; here only failures in a row, 429s
and account faults count. Requests sent before the breaker opened neither close it nor make the wait longer.
"""

import math
from collections.abc import Callable
from enum import Enum, auto

from streamdex.embed.http.errors import Busy, is_refusal
from streamdex.errors import AccountFault, ServiceFault
from streamdex.retry import backoff_s, obeyed_s

FAILURES_TO_OPEN = 4  # in a row, over all requests: fewer may be one request with a bad input
ACCOUNT_RETRY_S = 15.0
CALM = 16  # requests passed in a row: only then the next wait is a short one again


class Allowed(Enum):
    """What may go now."""

    ALL = auto()
    REQUEST = auto()  # one, as the probe
    CANARY = auto()  # one word, as the probe
    NOTHING = auto()


class CircuitBreaker:
    """Times are seconds of the caller's clock; `rng` gives numbers in [0, 1)."""

    def __init__(self, rng: Callable[[], float]) -> None:
        self._rng = rng
        self._probe: Allowed | None = None  # what may go as the probe; None: closed
        self.probe_at_s = math.inf  # when the next probe may go; infinite while closed, or while one is under way
        self.failed_probes = 0  # since `CALM` requests passed in a row
        self._last_sent = 0
        self._opened_after = 0  # requests up to this one were sent before the breaker last opened
        self._failures = 0
        self._passed = CALM  # requests in a row

    @property
    def closed(self) -> bool:
        """Whether all requests flow."""
        return self._probe is None

    def allowed(self, now_s: float) -> Allowed:
        """What may go at this time."""
        if self._probe is None:
            return Allowed.ALL
        return self._probe if now_s >= self.probe_at_s else Allowed.NOTHING

    def sent(self, number: int) -> bool:
        """A request goes; numbers grow. Returns whether it is the probe."""
        self._last_sent = number
        self.probe_at_s = math.inf
        return not self.closed

    def passed(self, *, probe: bool, canary: bool) -> None:
        """A request was answered well. A canary closes the breaker but keeps the backoff: others may still fail."""
        self._failures = 0
        if probe:
            self._probe = None
        self._passed += not canary
        if self._passed >= CALM:
            self.failed_probes = 0

    def failed(self, fault: Exception, number: int, now_s: float, *, probe: bool, canary: bool) -> bool:
        """The request of that number failed. False when it was sent before the breaker opened, which is no news.

        A refusal of a request with inputs shows that the service works, so the next canary comes soon, however long the
        waits before were. Otherwise a few bad inputs left over from an outage would take minutes to be isolated.
        """
        if number <= self._opened_after:
            return False
        self._failures += 1
        refused = is_refusal(fault) and not canary
        if not refused:
            soon_again = isinstance(fault, Busy) and self._passed < CALM
            self.failed_probes += probe or soon_again
            self._passed = 0
        asked_s = fault.retry_after_s if isinstance(fault, ServiceFault) else None
        if isinstance(fault, AccountFault):
            self._open(Allowed.REQUEST, now_s + ACCOUNT_RETRY_S * (0.8 + 0.4 * self._rng()))
        elif isinstance(fault, Busy) or asked_s is not None:
            # A canary would pass under a limit on tokens and prove nothing, so the next request itself is the probe.
            self._open(Allowed.REQUEST, now_s + self._wait_s(asked_s))
        elif probe or self._failures >= FAILURES_TO_OPEN:
            # The next request may hold a bad input; one word shows whether the service works.
            self._open(Allowed.CANARY, now_s + (backoff_s(0, self._rng) if refused else self._wait_s(None)))
        return True

    def retry_now(self, now_s: float) -> None:
        """Something was fixed: the next probe may go at once."""
        self.probe_at_s = min(self.probe_at_s, now_s)

    def _open(self, probe: Allowed, probe_at_s: float) -> None:
        self._probe = probe
        self.probe_at_s = probe_at_s
        self._opened_after = self._last_sent

    def _wait_s(self, asked_s: float | None) -> float:
        return max(backoff_s(self.failed_probes, self._rng), obeyed_s(asked_s))
