"""Two limits per minute, requests and tokens, kept as debts: GCRA, charged whole when a request goes. Pure.

A request may go when both debts are paid off, but for a slack; it is then charged to both. So sending is even, there is
no burst for a server's window to catch at its worst moment, and a large request delays the next instead of waiting for
room. The caller's one queue is the FIFO: nothing overtakes, and a request is never granted by one limit alone.

Rejected: a bucket that may burst (16 % of requests refused under a sliding log), a log of our own last minute (67 %
refused by a server with a small bucket), a fixed reserve (wastes what batches are too small to need).
"""

import math
from dataclasses import dataclass

MINUTE_S = 60.0
SLACK = 0.002  # of a minute's share, 0.12 s, may go early, so that a late timer costs nothing
JITTER_S = 0.2  # requests of 60 s may reach the server within so much less: TCP repeats a lost packet after 0.2 s
BY_CHANCE = 1.25  # of √replicas largest requests may meet: three standard deviations of what all have sent early
LEAST_USE = 0.5  # where a single request is most of a limit, the formula would leave nothing
AT_ONCE_S = 1e-6  # shorter waits are none: a timer cannot keep them


@dataclass(frozen=True, slots=True)
class Limits:
    """A key's limits, as all its users together have them."""

    requests_per_minute: float
    tokens_per_minute: float
    concurrency: int


def utilisation(limit_per_minute: float, share: float, largest: float) -> float:
    """Which part of a limit can be used without ever exceeding it, when requests take up to `largest` of it each.

    In the worst minute one request more begins than the rate brings: of each replica, if they are few; of many, not all
    do at once.
    """
    if not share:
        return LEAST_USE
    meeting = min(1 / share, BY_CHANCE / math.sqrt(share))
    use = (1 - meeting * largest / limit_per_minute - SLACK) * MINUTE_S / (MINUTE_S + JITTER_S)
    return max(LEAST_USE, use)


class _Debt:
    """What one limit is owed, in requests or tokens; paid off at `rate` per second."""

    __slots__ = ("_at_s", "_owed", "per_minute", "rate", "slack")

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self.rate = 0.0
        self.slack = 0.0
        self._owed = 0.0
        self._at_s = -math.inf

    def settle(self, now_s: float) -> float:
        """Pay off up to now; returns what is still owed. Nobody is ever owed anything: that would be a burst."""
        self._owed = max(0.0, self._owed - self.rate * (now_s - self._at_s)) if self._owed else 0.0
        self._at_s = now_s
        return self._owed

    def add(self, amount: float, now_s: float) -> None:
        self._owed = max(0.0, self.settle(now_s) + amount)

    def wait_s(self, now_s: float) -> float:
        over = self.settle(now_s) - self.slack
        if over <= 0:
            return 0.0
        return over / self.rate if self.rate else math.inf


class Limiter:
    """Grants requests within a share of the limits. Times are seconds of the caller's clock, which never goes back."""

    def __init__(self, limits: Limits, largest_tokens: float) -> None:
        """`largest_tokens`: of one request, as planned; larger ones that go are remembered for a while."""
        self._requests = _Debt(limits.requests_per_minute)
        self._tokens = _Debt(limits.tokens_per_minute)
        self._share = 1.0
        self._recovery = 1.0
        self._planned = largest_tokens
        self._largest = [largest_tokens, largest_tokens]  # of the minute before and of this one
        self._minute = -1.0
        self._derive()

    @property
    def share(self) -> float:
        """The part of the limits that is ours."""
        return self._share

    @property
    def requests_per_minute(self) -> float:
        """What may be sent now: of the limit, our share of it, and of that the part that can be used safely."""
        return self._requests.rate * MINUTE_S

    @property
    def tokens_per_minute(self) -> float:
        """The same for tokens."""
        return self._tokens.rate * MINUTE_S

    def ready_at(self, now_s: float) -> float:
        """When the next request may go; `now_s` itself means now. Independent of its size: it is charged after."""
        wait_s = max(self._requests.wait_s(now_s), self._tokens.wait_s(now_s))
        return now_s + wait_s if wait_s > AT_ONCE_S else now_s

    def charge(self, tokens: float, now_s: float) -> None:
        """A request of so many tokens goes now."""
        self._remember(tokens, now_s)
        self._requests.add(1.0, now_s)
        self._tokens.add(tokens, now_s)

    def correct(self, tokens: float, now_s: float) -> None:
        """So many tokens more (or less, negative) were taken than charged.

        A refused request gets its tokens back, but not its one request: servers may count what they refuse.
        """
        self._tokens.add(tokens, now_s)

    def drop_credit(self, now_s: float) -> None:
        """Nothing may go early for once: the limit has just been proven to be exhausted."""
        for debt in (self._requests, self._tokens):
            debt.add(max(0.0, debt.slack - debt.settle(now_s)), now_s)

    def set_recovery(self, recovery: float, now_s: float) -> None:
        """Use only this part of the share."""
        if recovery != self._recovery:
            self._recovery = recovery
            self._renew(now_s)

    def set_share(self, share: float, now_s: float, offset: float = 0.0) -> None:
        """Another part of the limits is ours, from now on; 0 lets nothing go. What is owed stays owed.

        `offset`, in [0, 1), of a request as planned is owed at least: replicas that get their shares at the same moment
        would send at the same moments ever after.
        """
        if share == self._share:
            return
        self._share = share
        self._renew(now_s)
        if share < 1:
            self._tokens.add(max(0.0, self._tokens.slack + offset * self._planned - self._tokens.settle(now_s)), now_s)

    def set_limits(self, limits: Limits, largest_tokens: float, now_s: float) -> None:
        """The key's limits have changed."""
        self._requests.settle(now_s)
        self._tokens.settle(now_s)
        self._requests.per_minute, self._tokens.per_minute = limits.requests_per_minute, limits.tokens_per_minute
        self._planned = largest_tokens
        self._derive()

    def _remember(self, tokens: float, now_s: float) -> None:
        """The largest request of the last one to two minutes decides how much must be left free."""
        before = max(self._largest)
        minute = now_s // MINUTE_S
        if minute > self._minute:
            self._largest = [self._largest[1] if minute == self._minute + 1 else self._planned, self._planned]
            self._minute = minute
        self._largest[1] = max(self._largest[1], tokens)
        if max(self._largest) != before:
            self._renew(now_s)

    def _renew(self, now_s: float) -> None:
        self._requests.settle(now_s)
        self._tokens.settle(now_s)
        self._derive()

    def _derive(self) -> None:
        for debt, largest in ((self._requests, 1.0), (self._tokens, max(self._largest))):
            use = utilisation(debt.per_minute, self._share, largest)
            debt.rate = self._share * self._recovery * use * debt.per_minute / MINUTE_S
            debt.slack = SLACK * self._share * debt.per_minute
