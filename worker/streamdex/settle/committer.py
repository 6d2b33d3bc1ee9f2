"""Commits what is settled, to the collection and to Kafka, on a timer and on demand."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from streamdex.errors import AccountFault, ServiceFault
from streamdex.model import Outcome, Partition
from streamdex.settle.ledger import Ledger, Mark
from streamdex.settle.tracker import OnSettledTwice, Ticket
from streamdex.telemetry import COMMIT_FAILED, SETTLED_TWICE, Metrics, emit

TICK_S = 1.0  # a commit costs about 1 ms of CPU: on a timer, not per batch
PROGRESS_TIMEOUT_S = 10.0  # a store that hangs must not keep a revocation waiting

Commit = Callable[[Mapping[Partition, int]], Awaitable[None]]
WriteProgress = Callable[[Mapping[Partition, Mark]], Awaitable[None]]


class Committer:
    """Commits what moved every second, and everything at least every third of the session timeout.

    The latter because an accepted commit is the proof that this replica is still a member of its group.
    The collection's progress is written before Kafka's commit, so that the group never knows more than the collection.
    """

    def __init__(
        self,
        ledger: Ledger,
        commit: Commit,
        session_timeout_s: float,
        metrics: Metrics,
        write_progress: WriteProgress | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`commit` and `write_progress` raise ServiceFault or AccountFault when they fail; both may be repeated."""
        self._ledger = ledger
        self._commit = commit
        self._proof_every_s = session_timeout_s / 3
        self._write_progress = write_progress
        self._counts = metrics.counts
        self._clock = clock
        self._sleep = sleep
        self._one_at_a_time = asyncio.Lock()
        self._reported: set[str] = set()  # why commits failed since the last one that did not
        self.last_accepted_s: float | None = None
        """When the last commit that Kafka accepted was sent, by `clock`: the last proof of membership."""

    async def run(self) -> None:
        """Commit until cancelled. Faults are counted, logged and tried again at the next tick; never raised."""
        while True:
            await self._sleep(TICK_S)
            if self._proof_is_due() or self._ledger.moved():
                await self.commit_now()

    def _proof_is_due(self) -> bool:
        return self.last_accepted_s is None or self._clock() - self.last_accepted_s >= self._proof_every_s

    async def commit_now(self) -> bool:
        """Commit all that is settled, on revocation and on stop. False when that failed, which is logged."""
        async with self._one_at_a_time:
            try:
                await self._commit_marks()
            except (ServiceFault, AccountFault, TimeoutError) as fault:
                self._counts.commits_failed += 1
                self._report(str(fault) or "the store's progress took too long to write")
                return False
            self._reported.clear()
            return True

    def _report(self, reason: str) -> None:
        """Each reason once until a commit is accepted: an outage fails one a second."""
        if reason not in self._reported:
            self._reported.add(reason)
            emit(COMMIT_FAILED, reason=reason)

    async def _commit_marks(self) -> None:
        marks = self._ledger.marks()
        moved = self._ledger.moved()
        if moved and self._write_progress is not None:
            async with asyncio.timeout(PROGRESS_TIMEOUT_S):
                await self._write_progress(moved)
        living = self._ledger.living(marks.values())  # a revocation may have come while progress was written
        if not living:
            return
        sent_s = self._clock()
        await self._commit({partition: mark.offset for partition, mark in living.items()})
        self._ledger.noted(living.values())
        self.last_accepted_s = sent_s  # Kafka accepted it then or later
        self._counts.commits_ok += 1


def settled_twice_reporter(metrics: Metrics) -> OnSettledTwice:
    """For the ledger: counts and logs each ticket that is settled again, which must not happen."""

    def report(ticket: Ticket, outcome: Outcome) -> None:
        metrics.counts.internal_faults += 1
        topic, number = ticket.partition
        first = ticket.outcome.value if ticket.outcome else None
        emit(SETTLED_TWICE, topic=topic, partition=number, offset=ticket.offset, first=first, second=outcome.value)

    return report
