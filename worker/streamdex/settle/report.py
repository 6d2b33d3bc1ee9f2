"""Telemetry of the one thing that must not happen here."""

from streamdex.model import Outcome
from streamdex.settle.tracker import OnSettledTwice, Ticket
from streamdex.telemetry import SETTLED_TWICE, Metrics, emit


def settled_twice_reporter(metrics: Metrics) -> OnSettledTwice:
    """For the ledger: counts and logs each ticket that is settled again."""

    def report(ticket: Ticket, outcome: Outcome) -> None:
        metrics.counts.internal_faults += 1
        topic, number = ticket.partition
        first = ticket.outcome.value if ticket.outcome else None
        emit(SETTLED_TWICE, topic=topic, partition=number, offset=ticket.offset, first=first, second=outcome.value)

    return report
