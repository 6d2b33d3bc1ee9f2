"""What the embedder reports: metrics, the service's health, log lines, and its statistics."""

from collections.abc import Callable
from dataclasses import dataclass

from streamdex.embed.http.answers import Answer
from streamdex.embed.http.errors import Throttled
from streamdex.embed.jobs import Attempt
from streamdex.embed.pacing.pacer import PacerStatistics
from streamdex.embed.pacing.recovery import Throttle
from streamdex.errors import AccountFault, Service, ServiceFault, Stage, SuspectFault
from streamdex.retry import LONGEST_RETRY_AFTER_S, obeyed_s
from streamdex.telemetry import (
    ACCOUNT_REFUSED,
    INTERNAL,
    RETRY_AFTER_CAPPED,
    SERVICE_DOWN,
    Health,
    Metrics,
    emit,
    trace_hash,
)

JINA = Service.JINA.value
USUAL_PROBES = 7  # refused with 429, half a second to 16 s apart: by then a minute has passed


@dataclass(frozen=True, slots=True)
class Statistics:
    """How the embedder stands. `waiting_requests` have failed and wait for another try or a decision."""

    queued_inputs: int
    queued_tokens: int
    queued_bytes: int
    in_flight_requests: int
    in_flight_inputs: int
    waiting_requests: int
    circuit_breaker_open: bool  # half-open included: at most a probe may go
    pacing: PacerStatistics


def export(metrics: Metrics, read: Callable[[], Statistics]) -> None:
    """Let each scrape read the gauges of the pacing from the statistics: they cost nothing in between."""

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


class RequestReport:
    """Reports how requests end to the metrics, the log and the health."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
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

    def failed(self, attempt: Attempt, fault: Exception, failed_probes: int) -> None:
        """Change the health when a failed probe proves that more than one request is in trouble, or a person must act.

        `failed_probes`: in a row, with this one. Of a bug only kind and place are logged: its text may quote a user.
        """
        asked_s = fault.retry_after_s if isinstance(fault, ServiceFault) else None
        if asked_s is not None and asked_s > LONGEST_RETRY_AFTER_S:
            emit(RETRY_AFTER_CAPPED, asked_s=asked_s, capped_s=obeyed_s(asked_s))
        if isinstance(fault, AccountFault):
            self._health.hold(JINA, str(fault), ACCOUNT_REFUSED)
        elif isinstance(fault, ServiceFault):
            # Two or three probes often wait out a limit per minute: that is pacing, not an outage.
            usual = isinstance(fault, Throttled) and failed_probes < USUAL_PROBES
            if attempt.probe and not usual:
                self._health.hold(JINA, fault.message, SERVICE_DOWN)
        elif isinstance(fault, SuspectFault):
            if attempt.probe and attempt.request.is_canary:
                fix = "Check jina.model, task, dimensions and base_url"
                self._health.hold(JINA, f"not even one word passes: {fault.message}. {fix}", ACCOUNT_REFUSED)
        else:
            self._metrics.counts.internal_faults += 1
            emit(INTERNAL, stage=Stage.EMBED.value, kind=type(fault).__name__, trace=trace_hash(fault))
