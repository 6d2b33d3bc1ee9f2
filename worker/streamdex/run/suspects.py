"""Whose fault? What happens to a record that could not be handled: a dead letter when proven, another try otherwise."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from streamdex.deadletter import DeadLetters
from streamdex.errors import Reason, RecordFault, Service, Stage, SuspectFault
from streamdex.index import Index
from streamdex.kafka.position_headers import first_position
from streamdex.model import Record
from streamdex.retry import backoff_s, retry_forever
from streamdex.run.items import Item, Letter
from streamdex.settle import Ticket
from streamdex.telemetry import DEAD_LETTERED, INTERNAL, Health, Metrics, emit, trace_hash

SENDERS = 8  # dead letters that wait for their acknowledgement at the same time
OWN_ATTEMPTS = 5  # an exception of ours is tried so often before the record is suspected
REFUSALS = 2  # times that Qdrant must refuse a document alone, each with a canary that passes afterwards
OTHERS_FAILING_BOUND = 0.1  # and only while fewer than this share of the other attempts fail as well


class Owner(Protocol):
    """Who moves the items: the flow."""

    def later(self, ticket: Ticket, delay_s: float, action: Callable[[], None]) -> None:
        """Do `action` for a ticket after a while, unless its partition leaves before."""

    def letter_sent(self, dead_letter: Letter) -> None:
        """The dead-letter topic has acknowledged a letter."""

    def letter_dropped(self, dead_letter: Letter) -> None:
        """A letter was not sent: its partition has left, and the next owner judges its record."""


@dataclass(slots=True)
class _Suspect:
    """A record that raised an exception of ours or was refused, and how the stage stood when it first did."""

    passed_before: int = 0
    failed_before: int = 0
    attempts: int = 0
    contrasts: int = 0  # refusals that a canary passed after


class Verdicts:
    """Judges and sends; the `owner` hears what becomes of the records."""

    def __init__(
        self,
        dead_letters: DeadLetters,
        index: Index,
        epoch: int,
        health: Health,
        metrics: Metrics,
        owner: Owner,
    ) -> None:
        self._dead_letters = dead_letters
        self._index = index
        self._epoch = epoch
        self._health = health
        self._metrics = metrics
        self._owner = owner
        self._condemned: asyncio.Queue[Letter] = asyncio.Queue()
        self._suspects: dict[Ticket, _Suspect] = {}
        self._passed: Counter[Stage] = Counter()
        self._failed: Counter[Stage] = Counter()
        self._all_refused = False
        self.waiting: set[Letter] = set()

    def passed(self, stage: Stage) -> None:
        """A record came through a stage: what others are contrasted with."""
        self._passed[stage] += 1
        if self._all_refused and stage is Stage.INDEX:
            self._note_writes(refused=False)

    def condemn(self, record: Record, ticket: Ticket, fault: RecordFault, item: Item | None = None) -> None:
        """The fault is proven: the record goes to the dead-letter topic, and settles when that has it."""
        position = item.event.position if item else first_position(record, self._epoch)
        dead_letter = Letter(record, ticket, position, fault, int(time.time() * 1000), item)
        self._suspects.pop(ticket, None)
        self.waiting.add(dead_letter)
        self._condemned.put_nowait(dead_letter)

    def own_bug(
        self,
        error: Exception,
        stage: Stage,
        record: Record,
        ticket: Ticket,
        item: Item | None,
        again: Callable[[], None],
    ) -> None:
        """An exception of ours met a record: try again, then suspect the record, by contrast with the others."""
        suspect = self._suspects.setdefault(ticket, _Suspect(self._passed[stage], self._failed[stage]))
        suspect.attempts += 1
        self._failed[stage] += 1
        trace = trace_hash(error)
        self._metrics.internal_faults.inc()
        emit(INTERNAL, stage=stage.value, kind=type(error).__name__, trace=trace, attempts=suspect.attempts)
        if suspect.attempts >= OWN_ATTEMPTS and self._stands_out(suspect, stage):
            message = f"{type(error).__name__} at {trace} in every of {suspect.attempts} attempts"
            self.condemn(record, ticket, RecordFault(stage, Reason.INTERNAL, message, suspect.attempts), item)
        else:
            self._owner.later(ticket, backoff_s(suspect.attempts - 1), again)

    def _stands_out(self, suspect: _Suspect, stage: Stage) -> bool:
        passed = self._passed[stage] - suspect.passed_before
        others_failed = self._failed[stage] - suspect.failed_before - suspect.attempts
        return passed > 0 and others_failed < OTHERS_FAILING_BOUND * (passed + others_failed)

    async def judge(self, item: Item, fault: SuspectFault, again: Callable[[], None]) -> None:
        """Refused alone by Qdrant: the record's fault only if a canary passes the same stage afterwards, and again.

        Once would not do: what refuses everything may end between the refusal and the canary, which waits out faults.
        """
        suspect = self._suspects.setdefault(item.ticket, _Suspect())
        suspect.attempts += 1
        if not await retry_forever(self._index.canary, self._health, self._metrics):
            suspect.contrasts = 0
            self._note_writes(refused=True)
            self._owner.later(item.ticket, backoff_s(suspect.attempts - 1), again)
            return
        self._note_writes(refused=False)
        suspect.contrasts += 1
        if suspect.contrasts < REFUSALS:
            again()
        else:
            proven = RecordFault(Stage.INDEX, fault.reason, fault.message, suspect.attempts)
            self.condemn(item.record, item.ticket, proven, item)

    def _note_writes(self, *, refused: bool) -> None:
        if refused:
            self._health.hold(Service.QDRANT, "every write is refused: the collection or its settings are at fault")
        elif self._all_refused:
            self._health.release(Service.QDRANT)
        self._all_refused = refused

    def forget(self, ticket: Ticket) -> None:
        """The ticket has its outcome, or its partition has left."""
        self._suspects.pop(ticket, None)

    async def send_for_ever(self) -> None:
        """One sender: a letter is done when the dead-letter topic has acknowledged it, however long that takes."""
        while True:
            dead_letter = await self._condemned.get()
            await self._clean(dead_letter)
            if dead_letter.ticket.alive:
                await self._send(dead_letter)
                self._owner.letter_sent(dead_letter)
            else:
                self._owner.letter_dropped(dead_letter)
            self.waiting.discard(dead_letter)

    async def _clean(self, dead_letter: Letter) -> None:
        """Attempts at the event, ours or a former owner's, may have left chunks that no manifest lists.

        Where the partition has left, only ours are seen to: the next owner may be about to write the event.
        """
        item = dead_letter.item
        if item is not None and item.write is not None and (item.attempted or dead_letter.ticket.alive):
            write = item.write
            await retry_forever(lambda: self._index.clean(write), self._health, self._metrics)

    async def _send(self, dead_letter: Letter) -> None:
        await retry_forever(
            lambda: self._dead_letters.send(
                dead_letter.record, dead_letter.fault, dead_letter.position, dead_letter.failed_at_ms
            ),
            self._health,
            self._metrics,
        )
        self._metrics.dead_letters.labels(dead_letter.fault.reason.value).inc()
        place = {
            "topic": dead_letter.record.topic,
            "partition": dead_letter.record.partition,
            "offset": dead_letter.record.offset,
        }
        emit(DEAD_LETTERED, stage=dead_letter.fault.stage.value, reason=dead_letter.fault.reason.value, **place)
