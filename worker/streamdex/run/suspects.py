"""Whose fault? One rule for a record that could not be handled: proven to be its own, or tried again.

A record is suspected when an exception of ours meets it, or when Qdrant refuses it alone. The fault is proven by
contrast: others pass the same stage meanwhile. (Refusals by the embedding service are judged in `embed/suspects.py`,
where requests carry many documents.)
"""

from dataclasses import dataclass

from streamdex.errors import Reason, RecordFault, Service, Stage, SuspectFault
from streamdex.index import Writer
from streamdex.retry import backoff_s, retry_forever
from streamdex.telemetry import INTERNAL, Health, Metrics, emit, trace_hash

OWN_ATTEMPTS = 5  # an exception of ours is tried so often before the record is suspected
REFUSALS = 2  # times that Qdrant must refuse a document alone, each with a canary that passes afterwards
OTHERS_FAILING_BOUND = 0.1  # and only while fewer than this share of the other attempts fail as well


@dataclass(slots=True)
class StageCounts:
    """How many attempts passed and failed at a stage, of all records."""

    passed: int = 0
    failed: int = 0


@dataclass(slots=True)
class Suspicion:
    """What stands against one record, and how its stage stood when the record first failed.

    `contrasts` are refusals that a canary passed after.
    """

    attempts: int = 0
    contrasts: int = 0
    passed_before: int = 0
    failed_before: int = 0


class RecordSuspects:
    """Judges records. The counts of the three stages are what they are contrasted with."""

    def __init__(self, writer: Writer, health: Health, metrics: Metrics) -> None:
        self._writer = writer
        self._health = health
        self._metrics = metrics
        self._all_refused = False
        self.decode = StageCounts()
        self.plan = StageCounts()
        self.index = StageCounts()

    def passed_index(self) -> None:
        """A document was written."""
        self.index.passed += 1
        if self._all_refused:
            self._note_writes(refused=False)

    async def judge(self, suspicion: Suspicion, stage: Stage, error: Exception) -> RecordFault | float:
        """The record's fault, if that is proven by now; else the seconds to wait before the next attempt."""
        counts = self._counts(stage)
        if not suspicion.attempts:
            suspicion.passed_before, suspicion.failed_before = counts.passed, counts.failed
        suspicion.attempts += 1
        if isinstance(error, SuspectFault):
            return await self._judge_refusal(suspicion, error)
        return self._judge_own(suspicion, stage, counts, error)

    def _judge_own(
        self, suspicion: Suspicion, stage: Stage, counts: StageCounts, error: Exception
    ) -> RecordFault | float:
        """An exception of ours: tried five times, then the record's fault if others pass and hardly any fails."""
        counts.failed += 1
        trace, attempts = trace_hash(error), suspicion.attempts
        self._metrics.counts.internal_faults += 1
        emit(INTERNAL, stage=stage.value, kind=type(error).__name__, trace=trace, attempts=attempts)
        if attempts < OWN_ATTEMPTS or not _stands_out(suspicion, counts):
            return backoff_s(attempts - 1)
        message = f"{type(error).__name__} at {trace} in every of {attempts} attempts"
        return RecordFault(stage, Reason.INTERNAL, message, attempts)

    async def _judge_refusal(self, suspicion: Suspicion, fault: SuspectFault) -> RecordFault | float:
        """Refused alone by Qdrant: the record's fault if a canary passes afterwards, and once more after a new try.

        Rejected: once. What refuses everything may end between the refusal and the canary, which waits out faults.
        """
        if not await retry_forever(self._writer.canary, self._health, self._metrics):
            suspicion.contrasts = 0
            self._note_writes(refused=True)
            return backoff_s(suspicion.attempts - 1)
        self._note_writes(refused=False)
        suspicion.contrasts += 1
        if suspicion.contrasts < REFUSALS:
            return 0.0
        return RecordFault(Stage.INDEX, fault.reason, fault.message, suspicion.attempts)

    def _note_writes(self, *, refused: bool) -> None:
        if refused:
            self._health.hold(Service.QDRANT, "every write is refused: the collection or its settings are at fault")
        elif self._all_refused:
            self._health.release(Service.QDRANT)
        self._all_refused = refused

    def _counts(self, stage: Stage) -> StageCounts:
        return {Stage.DECODE: self.decode, Stage.PLAN: self.plan}.get(stage, self.index)


def _stands_out(suspicion: Suspicion, counts: StageCounts) -> bool:
    passed = counts.passed - suspicion.passed_before
    others_failed = counts.failed - suspicion.failed_before - suspicion.attempts
    return passed > 0 and others_failed < OTHERS_FAILING_BOUND * (passed + others_failed)
