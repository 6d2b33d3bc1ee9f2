"""Requests and tokens per minute, each kept by a leaky bucket that is used as a meter (GCRA). Pure.

A request may go when both buckets have run dry, but for a tolerance, and is then added to both whole. So requests go
evenly, with no burst that a server's window could catch at its worst moment. A large request makes the next one wait,
and never waits itself until it fits. The caller has one queue, first in, first out: nothing overtakes, and no request
is granted by one limit alone.

Rejected: a token bucket that may burst (a server with a sliding log refused 16 % of requests), a log of our own last
minute (a server with a small bucket refused 67 %), and a fixed reserve (it wastes what too small batches do not need).
"""

import math
from dataclasses import dataclass

MINUTE_S = 60.0
TOLERANCE = 0.002  # of a minute's share, 0.12 s, may go early, so that a late timer costs nothing
JITTER_S = 0.2  # requests of 60 s may reach the server within so much less: TCP repeats a lost packet after 0.2 s
BY_CHANCE = 1.25  # of √replicas largest requests may coincide: three standard deviations of what all have sent early
LEAST_USE = 0.5  # where a single request is most of a limit, the formula would leave nothing
AT_ONCE_S = 1e-6  # shorter waits are none: a timer cannot keep them


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """A key's limits, as all its users together have them."""

    requests_per_minute: float
    tokens_per_minute: float
    concurrency: int


def utilisation(limit_per_minute: float, share: float, largest: float) -> float:
    """Which part of a limit can be used without ever exceeding it, when requests take up to `largest` of it each.

    In the worst minute one more request begins than the rate brings. Of a few replicas, each may have that at once; of
    many, only some do: with 4 replicas 2.5 requests of the largest size are left free, with 16 they are 5.
    """
    if not share:
        return LEAST_USE
    coinciding = min(1 / share, BY_CHANCE / math.sqrt(share))
    use = (1 - coinciding * largest / limit_per_minute - TOLERANCE) * MINUTE_S / (MINUTE_S + JITTER_S)
    return max(LEAST_USE, use)


class _Bucket:
    """What was sent of one limit, in requests or tokens, and has not leaked out yet at `rate` per second."""

    __slots__ = ("_at_s", "_level", "per_minute", "rate", "tolerance")

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self.rate = 0.0
        self.tolerance = 0.0
        self._level = 0.0
        self._at_s = -math.inf

    def leak(self, now_s: float) -> float:
        """Leak up to now; returns the level. It is never below zero: a credit would be a burst."""
        self._level = max(0.0, self._level - self.rate * (now_s - self._at_s)) if self._level else 0.0
        self._at_s = now_s
        return self._level

    def add(self, amount: float, now_s: float) -> None:
        self._level = max(0.0, self.leak(now_s) + amount)

    def fill_to(self, level: float, now_s: float) -> None:
        """Raise the level to this one, if it is below."""
        self.add(max(0.0, level - self.leak(now_s)), now_s)

    def wait_s(self, now_s: float) -> float:
        over = self.leak(now_s) - self.tolerance
        if over <= 0:
            return 0.0
        return over / self.rate if self.rate else math.inf


class RateLimiter:
    """Grants requests within a share of the limits. Times are seconds of the caller's clock, which never goes back."""

    def __init__(self, limits: KeyLimits, largest_tokens: float) -> None:
        """`largest_tokens`: of one request, as planned; a larger one that goes is remembered for a while."""
        self._requests = _Bucket(limits.requests_per_minute)
        self._tokens = _Bucket(limits.tokens_per_minute)
        self.share = 1.0  # the part of the limits that is ours
        self._recovery = 1.0
        self._planned = largest_tokens
        self._largest = [largest_tokens, largest_tokens]  # of the minute before and of this one
        self._minute = -1.0
        self._renew(-math.inf)

    @property
    def requests_per_minute(self) -> float:
        """The rate in force: of the limit our share, of that what has recovered, and of that what is safe to use."""
        return self._requests.rate * MINUTE_S

    @property
    def tokens_per_minute(self) -> float:
        """The same for tokens."""
        return self._tokens.rate * MINUTE_S

    def ready_at(self, now_s: float) -> float:
        """When the next request may go; `now_s` itself means now. Whatever its size: it is counted afterwards."""
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

    def drop_tolerance(self, now_s: float) -> None:
        """Nothing may go early for once: a 429 has just proven that the limit is exhausted."""
        for bucket in (self._requests, self._tokens):
            bucket.fill_to(bucket.tolerance, now_s)

    def set_recovery(self, recovery: float, now_s: float) -> None:
        """Use only this part of the share."""
        if recovery != self._recovery:
            self._recovery = recovery
            self._renew(now_s)

    def set_share(self, share: float, now_s: float, offset: float = 0.0) -> None:
        """Another part of the limits is ours, from now on; 0 lets nothing go. The buckets keep their levels.

        The tokens' bucket is filled at least to its tolerance and `offset`, in [0, 1), of a planned request: replicas
        that get their shares at the same moment would otherwise send at the same moments ever after.
        """
        if share == self.share:
            return
        self.share = share
        self._renew(now_s)
        if share < 1:
            self._tokens.fill_to(self._tokens.tolerance + offset * self._planned, now_s)

    def set_limits(self, limits: KeyLimits, largest_tokens: float, now_s: float) -> None:
        """The key's limits have changed."""
        self._requests.per_minute, self._tokens.per_minute = limits.requests_per_minute, limits.tokens_per_minute
        self._planned = largest_tokens
        self._renew(now_s)

    def _remember(self, tokens: float, now_s: float) -> None:
        """The largest request of the last one to two minutes decides how much of the limit must be left free."""
        before = max(self._largest)
        minute = now_s // MINUTE_S
        if minute > self._minute:
            self._largest = [self._largest[1] if minute == self._minute + 1 else self._planned, self._planned]
            self._minute = minute
        self._largest[1] = max(self._largest[1], tokens)
        if max(self._largest) != before:
            self._renew(now_s)

    def _renew(self, now_s: float) -> None:
        """Leak at the old rates up to now, and at new ones from now on."""
        for bucket, largest in ((self._requests, 1.0), (self._tokens, max(self._largest))):
            bucket.leak(now_s)
            use = utilisation(bucket.per_minute, self.share, largest)
            bucket.rate = self.share * self._recovery * use * bucket.per_minute / MINUTE_S
            bucket.tolerance = TOLERANCE * self.share * bucket.per_minute
