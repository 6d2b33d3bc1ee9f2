"""Whether anything may be sent at all: shut while the service or the account does not work, with one probe at a time.

Separate from the pacing (how fast) and from the blame (whose fault): here only consecutive failures, 429s and account
faults count. Requests sent before it shut neither reopen it nor make the wait longer.
"""

import math
from collections.abc import Callable
from enum import Enum, auto

from streamdex.embed.http.errors import Busy, is_refusal
from streamdex.errors import AccountFault, ServiceFault
from streamdex.retry import backoff_s, obeyed_s

FAILURES_TO_SHUT = 4  # in a row, over all requests: fewer may be one poisoned parcel
ACCOUNT_RETRY_S = 15.0
CALM = 16  # parcels passed in a row: only then the next wait is a short one again


class Opening(Enum):
    """What the valve lets through now."""

    ALL = auto()
    PARCEL = auto()  # one, as the probe
    CANARY = auto()  # one word, as the probe
    NOTHING = auto()


class CircuitBreaker:
    """Open, or shut until a probe passes. Times are seconds of the caller's clock; `rng` gives numbers in [0, 1)."""

    def __init__(self, rng: Callable[[], float]) -> None:
        self._rng = rng
        self._probe: Opening | None = None  # what may go as the probe; None: open
        self._probe_at_s = math.inf
        self._last_sent = 0
        self._shut_after = 0  # requests up to this one were sent before it last shut
        self._failures = 0
        self._failed_probes = 0
        self._passed = CALM  # parcels in a row

    @property
    def shut(self) -> bool:
        """Whether only probes may go."""
        return self._probe is not None

    @property
    def failed_probes(self) -> int:
        """How many probes have failed since all was calm."""
        return self._failed_probes

    @property
    def probe_at_s(self) -> float:
        """When the next probe may go; infinite while open, or while one is under way."""
        return self._probe_at_s

    def opening(self, now_s: float) -> Opening:
        """What may go at this time."""
        if self._probe is None:
            return Opening.ALL
        return self._probe if now_s >= self._probe_at_s else Opening.NOTHING

    def sent(self, number: int) -> bool:
        """A request goes; numbers grow. Returns whether it is the probe."""
        self._last_sent = number
        self._probe_at_s = math.inf
        return self.shut

    def passed(self, *, probe: bool, canary: bool) -> None:
        """A request was answered well. A canary opens it, but keeps the backoff: larger requests may fail still."""
        self._failures = 0
        if probe:
            self._probe = None
        self._passed += not canary
        if self._passed >= CALM:
            self._failed_probes = 0

    def failed(self, fault: Exception, number: int, now_s: float, *, probe: bool, canary: bool) -> bool:
        """The request of that number failed. False when that says nothing new: it was sent before this last shut.

        A parcel refused says no more than that the service works: however long the waits before were, one word is asked
        soon. Else a few poisoned texts that are left over from an outage would take minutes to be told apart.
        """
        if number <= self._shut_after:
            return False
        self._failures += 1
        refused = is_refusal(fault) and not canary
        if not refused:
            soon_again = isinstance(fault, Busy) and self._passed < CALM
            self._failed_probes += probe or soon_again
            self._passed = 0
        asked_s = fault.retry_after_s if isinstance(fault, ServiceFault) else None
        if isinstance(fault, AccountFault):
            self._shut(Opening.PARCEL, now_s + ACCOUNT_RETRY_S * (0.8 + 0.4 * self._rng()))
        elif isinstance(fault, Busy) or asked_s is not None:
            # A canary would pass under a limit on tokens, and tell nothing: the next parcel itself is the probe.
            self._shut(Opening.PARCEL, now_s + self._wait_s(asked_s))
        elif probe or self._failures >= FAILURES_TO_SHUT:
            # The next parcel may be poison: one word tells whether the service works.
            self._shut(Opening.CANARY, now_s + (backoff_s(0, self._rng) if refused else self._wait_s(None)))
        return True

    def abort(self, now_s: float) -> None:
        """Something was mended: the next probe may go at once."""
        self._probe_at_s = min(self._probe_at_s, now_s)

    def _shut(self, probe: Opening, probe_at_s: float) -> None:
        self._probe = probe
        self._probe_at_s = probe_at_s
        self._shut_after = self._last_sent

    def _wait_s(self, asked_s: float | None) -> float:
        return max(backoff_s(self._failed_probes, self._rng), obeyed_s(asked_s))
