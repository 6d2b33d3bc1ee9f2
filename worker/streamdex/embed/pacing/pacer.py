"""The pacing of one key in one place: when the next request may go, how large it may be, how many at once. Pure.

It joins the modules that each decide one thing, and knows nothing of texts.
"""

import math
from dataclasses import dataclass

from streamdex.embed.pacing.batch_size import Batch, Bounds, next_batch, planned_tokens
from streamdex.embed.pacing.concurrency import Concurrency
from streamdex.embed.pacing.rate import MINUTE_S, KeyLimits, RateLimiter
from streamdex.embed.pacing.recovery import SATURATED_S, RateRecovery, Throttle, throttle_of
from streamdex.embed.pacing.usage import LatencyModel, TokenCalibration, Usage

ROUNDING = 1e-9  # three times a third is one
GATHERING_INTERVALS = 2  # of the rate, since the last request: then what waits goes, however little it is


@dataclass(frozen=True, slots=True)
class Charge:
    """What was counted for a request when it went: tokens as estimated, and as they should be billed."""

    estimated_tokens: float
    tokens: float
    at_s: float
    under_way: int  # with it


@dataclass(frozen=True, slots=True)
class PacerStatistics:
    """The pacing as it stands. Limits are those in force: after share, recovery and what must be left free."""

    requests_per_minute: float
    tokens_per_minute: float
    slots: int
    requests_used: float  # in the last 60 s
    tokens_used: float
    share: float
    recovery: float
    tokens_per_estimate: float
    batch_tokens: float


class Pacer:
    """Times are seconds of the caller's clock, which never goes back."""

    def __init__(self, limits: KeyLimits, bounds: Bounds) -> None:
        self._limits = limits
        self._bounds = bounds
        self._limiter = RateLimiter(limits, planned_tokens(limits, bounds))
        self._concurrency = Concurrency(limits.concurrency)
        self._recovery = RateRecovery()
        self._calibration = TokenCalibration()
        self._latency = LatencyModel()
        self._usage = Usage()
        self._idle_at_s: float | None = None  # None before the first request
        self._sent_at_s = -math.inf
        self._batch_tokens = planned_tokens(limits, bounds)

    # --- before a request

    def slots(self, now_s: float) -> int:
        """How many requests may be under way; 0 without a share."""
        return self._concurrency.limit(now_s) if self._limiter.share else 0

    def ready_at(self, now_s: float) -> float:
        """When the next request may go; `now_s` itself means now, infinite means that we have no share."""
        self._limiter.set_recovery(self._recovery.at(now_s), now_s)
        return self._limiter.ready_at(now_s)

    def gather_until(self, waiting_tokens: float, now_s: float) -> float:
        """Until when a request that may go waits for more texts; `now_s` or earlier: not at all.

        Suppose that ten documents come in the time from one request to the next. A request with the first of them alone
        spares that one a short wait, and makes the nine others wait a whole interval longer. So a request goes when as
        many tokens wait as came in one interval of late, or after two intervals. Where fewer documents come than
        requests may go, one is always enough; where more come than the limits allow, enough always waits.
        """
        requests_per_minute = self._limiter.requests_per_minute
        _, tokens = self._usage.last_minute(now_s)
        if waiting_tokens * self._calibration.tokens_per_estimate * requests_per_minute >= tokens:
            return now_s
        return self._sent_at_s + GATHERING_INTERVALS * MINUTE_S / requests_per_minute

    def batch(self, input_tokens: float, now_s: float) -> Batch:
        """How much a request may carry, in estimated tokens; inputs that wait have `input_tokens` each on average."""
        factor = self._calibration.tokens_per_estimate
        batch = next_batch(
            self._limits,
            self._bounds,
            self._limiter.share,
            self._limiter.tokens_per_minute,
            self.slots(now_s),
            self._latency.line,
            input_tokens * factor,
        )
        self._batch_tokens = batch.tokens
        return Batch(batch.inputs, batch.tokens / factor)

    def crowded(self) -> None:
        """A request waits for a slot."""
        self._concurrency.reached()

    def idle(self, now_s: float) -> None:
        """Nothing waits, or nothing may go for other reasons: what is used from now on does not measure the limits."""
        self._idle_at_s = now_s

    # --- a request and its end

    def charge(self, estimated_tokens: float, under_way: int, now_s: float) -> Charge:
        """A request goes now, and with it so many are under way."""
        if self._idle_at_s is None:
            self._idle_at_s = now_s
        charge = Charge(estimated_tokens, estimated_tokens * self._calibration.tokens_per_estimate, now_s, under_way)
        self._sent_at_s = now_s
        self._limiter.charge(charge.tokens, now_s)
        self._usage.add(1.0, charge.tokens, now_s)
        return charge

    def passed(self, charge: Charge, billed_tokens: float | None, now_s: float) -> None:
        """It was answered well."""
        tokens = charge.tokens
        if billed_tokens is not None:
            tokens = billed_tokens
            self._limiter.correct(tokens - charge.tokens, now_s)
            self._usage.add(0.0, tokens - charge.tokens, now_s)
            self._calibration.learn(charge.estimated_tokens, tokens)
        latency_s = now_s - charge.at_s
        self._latency.learn(tokens, latency_s)
        self._concurrency.answered(tokens, latency_s, charge.under_way, now_s)

    def unread(self, charge: Charge, now_s: float) -> None:
        """It was refused without being counted, or never arrived."""
        self._limiter.correct(-charge.tokens, now_s)
        self._usage.add(-1.0, -charge.tokens, now_s)

    def throttle(self, code: str | None, in_flight: int, now_s: float) -> Throttle:
        """The limit behind a 429 with this code; so many requests were under way, with it."""
        used = max(self._used(self._usage.last_minute(now_s)))
        throttle = throttle_of(code, used, in_flight, self.slots(now_s))
        if throttle is Throttle.CONCURRENCY:
            self._concurrency.refused(in_flight, now_s)
        return throttle

    def slow_down(self, throttle: Throttle, now_s: float) -> None:
        """A request was refused for the rate, the first since all went well."""
        busy_s = now_s - self._idle_at_s if self._idle_at_s is not None else 0.0
        requests, tokens = self._used(self._usage.sustained(now_s, busy_s))
        requests += 1 / self._own(self._limits.requests_per_minute)  # whole requests: one off at most
        tokens += self._batch_tokens / self._own(self._limits.tokens_per_minute)
        used = {Throttle.REQUESTS: requests, Throttle.TOKENS: tokens}.get(throttle, max(requests, tokens))
        self._recovery.refused(now_s, used if busy_s >= SATURATED_S else None)
        self._limiter.drop_tolerance(now_s)

    # --- settings that change while running

    def set_share(self, share: float, now_s: float, offset: float) -> None:
        """Another part of the key's limits is ours, from now on. `offset`, in [0, 1): see `RateLimiter.set_share`."""
        self._limiter.set_share(share, now_s, offset)
        self._concurrency.set_most(self._own_slots(share))

    def set_limits(self, limits: KeyLimits, now_s: float) -> None:
        """The key's limits have changed: the rate recovery starts again at the whole."""
        self._limits = limits
        self._limiter.set_limits(limits, planned_tokens(limits, self._bounds), now_s)
        self._recovery = RateRecovery()
        self._concurrency.set_most(self._own_slots(self._limiter.share))

    def _own_slots(self, share: float) -> int:
        return max(1, int(self._limits.concurrency * share + ROUNDING))

    def _used(self, usage: tuple[float, float]) -> tuple[float, float]:
        """Parts of our share of a minute: of the requests, of the tokens."""
        requests, tokens = usage
        limits = self._limits
        return requests / self._own(limits.requests_per_minute), tokens / self._own(limits.tokens_per_minute)

    def _own(self, limit_per_minute: float) -> float:
        return (self._limiter.share or 1.0) * limit_per_minute

    def statistics(self, now_s: float) -> PacerStatistics:
        """How it stands."""
        requests, tokens = self._usage.last_minute(now_s)
        return PacerStatistics(
            requests_per_minute=self._limiter.requests_per_minute,
            tokens_per_minute=self._limiter.tokens_per_minute,
            slots=self.slots(now_s),
            requests_used=requests,
            tokens_used=tokens,
            share=self._limiter.share,
            recovery=self._recovery.at(now_s),
            tokens_per_estimate=self._calibration.tokens_per_estimate,
            batch_tokens=self._batch_tokens,
        )
