"""How the room stands, as values and as metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from streamdex.embed.http.answers import Answer
from streamdex.embed.pacing.pacer import PacerStatistics
from streamdex.embed.pacing.throttle import Throttle
from streamdex.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class Statistics:
    """How the room stands. `waiting` parcels have failed and wait for another try or a verdict."""

    queued_inputs: int
    queued_tokens: int
    queued_bytes: int
    in_flight_requests: int
    in_flight_inputs: int
    waiting_parcels: int
    shut: bool
    pacing: PacerStatistics


def export(metrics: Metrics, read: Callable[[], Statistics]) -> None:
    """Let the gauges of the pacing be read from the room at each scrape: they cost nothing in between."""

    def gauge(value: Callable[[PacerStatistics], float]) -> Callable[[], float]:
        return lambda: value(read().pacing)

    for limit, in_force, used in (
        (Throttle.REQUESTS, gauge(lambda at: at.requests_per_minute), gauge(lambda at: at.requests_used)),
        (Throttle.TOKENS, gauge(lambda at: at.tokens_per_minute), gauge(lambda at: at.tokens_used)),
        (Throttle.CONCURRENCY, gauge(lambda at: at.slots), lambda: float(read().in_flight_requests)),
    ):
        metrics.limit_in_force.labels(limit.value).set_function(in_force)
        metrics.limit_used.labels(limit.value).set_function(used)
    metrics.limit_share.set_function(gauge(lambda at: at.share))
    metrics.limit_recovery.set_function(gauge(lambda at: at.recovery))
    metrics.tokens_per_estimate.set_function(gauge(lambda at: at.tokens_per_estimate))
    metrics.batch_tokens.set_function(gauge(lambda at: at.batch_tokens))


class Tally:
    """Counts what happened, in the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._throttled = {throttle: metrics.throttled.labels(throttle.value) for throttle in Throttle}
        self._left_requests = metrics.quota_remaining.labels(Throttle.REQUESTS.value)
        self._left_tokens = metrics.quota_remaining.labels(Throttle.TOKENS.value)

    def passed(self, estimated_tokens: int, answer: Answer) -> None:
        """A request was answered well."""
        self._metrics.tokens_estimated.inc(estimated_tokens)
        if answer.total_tokens is not None:
            self._metrics.tokens_billed.inc(answer.total_tokens)
        if answer.quota.requests is not None:
            self._left_requests.set(answer.quota.requests)
        if answer.quota.tokens is not None:
            self._left_tokens.set(answer.quota.tokens)

    def throttled(self, throttle: Throttle) -> None:
        """A request was refused with 429."""
        self._throttled[throttle].inc()
