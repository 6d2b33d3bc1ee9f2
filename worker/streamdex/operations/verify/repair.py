"""Repairs what a verification found, by the way that every write takes: guarded, at the event's own rank.

Each document is read and judged again before anything is done to it, so that a worker that runs meanwhile is never
undone. `repair_plan.py` decides what a document needs. Its newest event is read from the log a second time, and goes
through `run/document.py` as in the worker.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from streamdex.config import Settings
from streamdex.deadletter import DeadLetters
from streamdex.embed import Embedder, resolve
from streamdex.errors import AccountFault, Service, SuspectFault
from streamdex.index import WriteJob, WriteQueue
from streamdex.model import DocumentWrite, Event, Manifest, Outcome, Partition, Position, Rank, Record
from streamdex.operations.verify.differences import Report
from streamdex.operations.verify.evidence import Spot
from streamdex.operations.verify.repair_plan import RepairSteps, Tombstone, Write, plan_repair
from streamdex.operations.verify.verification import (
    OnProgress,
    Verification,
    open_verification,
    records_in,
    verify_collection,
    with_progress,
)
from streamdex.plan import Chunker, Planner
from streamdex.retry import retry_faults
from streamdex.run.dead_letters import DeadLetterSender
from streamdex.run.document import Document, DocumentPath, Stale
from streamdex.run.suspects import RecordSuspects
from streamdex.settle import Ledger, Ticket
from streamdex.telemetry import Health, Metrics

BATCH_DOCUMENTS = 64
LOWEST = Rank(-(2**63))
NO_GENERATION = -1  # of no deployment: every kept chunk gets its whole payload again
NOWHERE = Position("", 0, 0, 0, 0)
REPAIRED = "documents repaired"


@dataclass(slots=True)
class Repaired:
    """What was done: documents written again, deleted, and freed of points that are not theirs; dead letters sent."""

    written: int = 0
    deleted: int = 0
    leftovers_deleted: int = 0
    texts_embedded: int = 0
    dead_lettered: int = 0


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What was found, what was done (None: nothing was asked for), and what a second verification found afterwards."""

    before: Report
    repaired: Repaired | None
    after: Report


async def repair_collection(
    settings: Settings, folder: Path, on_progress: OnProgress = lambda *_: None, *, to_end: bool = False
) -> RepairResult:
    """Verify, repair what differs, and verify again. `folder` and `to_end` as in `verify_collection`.

    Waits out services that do not work, as the worker does. Raises ConfigurationError, AccountFault and ServiceFault.
    """
    repaired = Repaired()
    with TemporaryDirectory(dir=folder) as first:
        async with open_verification(settings, Path(first), on_progress, to_end=to_end, repairs=True) as verification:
            before = await verification.compare()
            if not before.equal:
                async with _repairer(settings, verification, repaired) as repairer:
                    await repairer.repair()
    if before.equal:
        return RepairResult(before, repaired, before)
    with TemporaryDirectory(dir=folder) as second:
        after = await verify_collection(
            settings, Path(second), lambda what, more, total: on_progress(f"{what}, again", more, total), to_end=to_end
        )
    return RepairResult(before, repaired, after)


class Ticketed(NamedTuple):
    """A record that was read again, and its ticket."""

    record: Record
    ticket: Ticket


@asynccontextmanager
async def _repairer(settings: Settings, verification: Verification, repaired: Repaired) -> AsyncIterator["Repairer"]:
    """A repairer whose embedder and writers are at work."""
    health, metrics = Health(), Metrics()
    profile, generation = resolve(settings.jina), max(0, verification.scope.generation)
    writer = verification.index.writer
    dead_letters = DeadLetters(settings.kafka, "verify", health, metrics)
    embedder = Embedder(settings.jina, profile, health, metrics)
    writes = WriteQueue(writer, health, metrics)
    sender = DeadLetterSender(dead_letters, writer, health, metrics)
    path = DocumentPath(
        Planner(settings, Chunker(settings), generation),
        embedder,
        writes,
        RecordSuspects(writer, health, metrics),
        sender,
        together=profile.late_chunking,
        first_cutting=False,
    )
    loops = [asyncio.create_task(loop) for loop in (embedder.run(), *writes.loops())]
    try:
        yield Repairer(verification, path, writes, sender, generation, health, repaired)
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await embedder.close()
        await dead_letters.close()


class Repairer:
    """Repairs the documents that a comparison has found to differ."""

    def __init__(
        self,
        verification: Verification,
        path: DocumentPath,
        writes: WriteQueue,
        dead_letters: DeadLetterSender,
        generation: int,
        health: Health,
        repaired: Repaired,
    ) -> None:
        self._verification = verification
        self._path = path
        self._writes = writes
        self._dead_letters = dead_letters
        self._generation = generation
        self._health = health
        self._repaired = repaired
        self._ledger = Ledger()

    async def repair(self) -> None:
        """First what takes no record; then a second pass over the log for the records that the others take."""
        fold = self._verification.fold
        self._verification.on_progress(REPAIRED, 0, fold.count_differing())
        after = ""
        while keys := fold.differing(after, BATCH_DOCUMENTS):
            after = keys[-1]
            await self._without_records(keys)
        for record in fold.no_events():
            fold.want(record.spot, "")
        await self._second_pass()

    async def _without_records(self, keys: Sequence[str]) -> None:
        fold = self._verification.fold
        repairs = await self._repairs(keys)
        for steps in repairs:
            for spot in steps.spots:
                fold.want(spot, steps.document_id)
        ready = [steps for steps in repairs if not steps.spots]
        await _all(self._repair_without_record(steps) for steps in ready)
        self._verification.on_progress(REPAIRED, len(keys) - (len(repairs) - len(ready)), None)

    async def _repairs(self, keys: Iterable[str]) -> list[RepairSteps]:
        """What the documents need as they are now; nothing for those that need nothing any more."""
        verification = self._verification
        known = verification.fold.evidence_of(keys)
        found = await retry_faults(lambda: verification.read_again(known), self._health)
        repairs = [plan_repair(evidence, verification.scope) for evidence in found]
        return [steps for steps in repairs if steps is not None]

    async def _repair_without_record(self, steps: RepairSteps) -> None:
        if steps.delete_manifest_at is not None:
            await self._writes.delete_manifests({steps.document_id: steps.delete_manifest_at})
        await self._writes.delete_points(steps.delete_points)
        if steps.tombstone is None:
            self._repaired.leftovers_deleted += 1
        else:
            await self._delete(steps.document_id, steps.tombstone)

    async def _delete(self, document_id: str, tombstone: Tombstone) -> None:
        event = Event(document_id, None, {}, None, tombstone.position)
        write = DocumentWrite(event, tombstone.rank, self._generation, (), frozenset(), "", None)
        try:
            await self._writes.put(WriteJob(write, {}, b""))
        except SuspectFault as fault:  # a delete holds nothing that could be refused
            raise AccountFault(Service.QDRANT, fault.message, "Check the collection and its settings.") from None
        self._repaired.deleted += 1

    # --- with records -------------------------------------------------------------------------------------------

    async def _second_pass(self) -> None:
        verification = self._verification
        ranges = {Partition(*log): offsets for log, offsets in verification.fold.wanted_ranges().items()}
        for partition, (begin, _) in ranges.items():
            self._ledger.assign(partition, begin)
        records = verification.reader.records(ranges)
        batch: dict[str, Ticketed] = {}
        async for record in with_progress(verification.on_progress, "records read again", records_in(ranges), records):
            key = verification.fold.wanted_by(Spot(record.topic, record.partition, record.offset))
            if key is None:
                continue
            ticketed = Ticketed(record, self._ticket(record))
            if key == "":
                await self._dead_letter(ticketed)
                continue
            if key in batch or len(batch) == BATCH_DOCUMENTS:  # a document's write and dead letter: one after the other
                await self._with_records(batch)
                batch = {}
            batch[key] = ticketed
        await self._with_records(batch)

    async def _with_records(self, records: Mapping[str, Ticketed]) -> None:
        """Repair documents with the records that they take, one each."""
        repairs = await self._repairs(records)
        await _all(self._repair_with(steps, records[steps.document_id]) for steps in repairs)
        self._verification.on_progress(REPAIRED, len(records), None)

    async def _repair_with(self, steps: RepairSteps, ticketed: Ticketed) -> None:
        record = ticketed.record
        spot = Spot(record.topic, record.partition, record.offset)
        if any(one.spot == spot for one in steps.dead_letters):
            await self._dead_letter(ticketed)
        elif steps.write is not None and steps.write.spot == spot:
            await self._write(steps, steps.write, ticketed)

    async def _write(self, steps: RepairSteps, wanted: Write, ticketed: Ticketed) -> None:
        """Write a record's event over what is really there, whatever the manifest says."""
        record, ticket = ticketed
        event = self._verification.interpreter.event(record)
        document = Document(record, ticket, set(), event, wanted.rank)
        document.stale = Stale(steps.delete_manifest_at, steps.delete_points)
        there = Manifest(event.document_id, LOWEST, NOWHERE, wanted.kept, "", NO_GENERATION)
        outcome = await self._path.run(document, there)
        self._repaired.texts_embedded += len(document.vectors)
        if outcome is Outcome.DEAD_LETTERED:
            self._repaired.dead_lettered += 1
        elif event.text is None:
            self._repaired.deleted += 1
        else:
            self._repaired.written += 1
        ticket.settle(outcome)

    async def _dead_letter(self, ticketed: Ticketed) -> None:
        """What cannot be indexed goes where the worker would have sent it."""
        record, ticket = ticketed
        interpreter = self._verification.interpreter
        await self._dead_letters.send(record, interpreter.position(record)[0], interpreter.fault(record), ticket)
        ticket.settle(Outcome.DEAD_LETTERED)
        self._repaired.dead_lettered += 1

    def _ticket(self, record: Record) -> Ticket:
        tracker = self._ledger.tracker(Partition(record.topic, record.partition))
        if tracker is None:
            raise AssertionError("only records of the wanted ranges are read")
        return tracker.open(record.offset, record.size_bytes, record.timestamp_ms)


async def _all(works: Iterable[Coroutine[object, object, None]]) -> None:
    """Do all at once; the first fault ends them all, and is raised as it is."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
