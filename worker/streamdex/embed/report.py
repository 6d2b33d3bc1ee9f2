"""What is said of requests that failed: the health of the service, and bugs of ours."""

from streamdex.embed.http.errors import Throttled
from streamdex.embed.jobs import Attempt
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
USUAL_PROBES = 7  # refused with 429, half a second to 16 s apart: a minute is over by then


class FaultReport:
    """Tells the log, the metrics and whoever asks for the worker's health."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics

    def failed(self, attempt: Attempt, fault: Exception, failed_probes: int) -> None:
        """Say so when a failed probe proves that it is not one parcel's trouble, or when a person must act.

        `failed_probes`: in a row, with this one.
        """
        asked_s = fault.retry_after_s if isinstance(fault, ServiceFault) else None
        if asked_s is not None and asked_s > LONGEST_RETRY_AFTER_S:
            emit(RETRY_AFTER_CAPPED, asked_s=asked_s, capped_s=obeyed_s(asked_s))
        if isinstance(fault, AccountFault):
            self._health.hold(JINA, str(fault), ACCOUNT_REFUSED)
        elif isinstance(fault, ServiceFault):
            # A limit per minute is often waited out by two or three probes: that is pacing, not an outage.
            usual = isinstance(fault, Throttled) and failed_probes < USUAL_PROBES
            if attempt.probe and not usual:
                self._health.hold(JINA, fault.message, SERVICE_DOWN)
        elif isinstance(fault, SuspectFault):
            if attempt.probe and attempt.canary:
                fix = "Check jina.model, task, dimensions and base_url"
                self._health.hold(JINA, f"not even one word passes: {fault.message}. {fix}", ACCOUNT_REFUSED)
        else:
            self.bug(fault)

    def bug(self, bug: Exception) -> None:
        """Count a bug of ours; its text may quote the user's, so only its kind and place are told."""
        self._metrics.internal_faults.inc()
        emit(INTERNAL, stage=Stage.EMBED.value, kind=type(bug).__name__, trace=trace_hash(bug))
