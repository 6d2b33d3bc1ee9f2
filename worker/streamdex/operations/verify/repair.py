"""Mends what a verification found, by the way that every write takes: guarded, at the event's own rank, purged behind.

Each document is read anew and judged anew before anything is done to it, so that a worker that runs meanwhile is never
undone. What a document needs is planned in `verify/fix.py`; its newest event is read from the log a second time.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import NamedTuple, Self

from streamdex.config import Settings
from streamdex.deadletter import DeadLetters
from streamdex.embed import Embedder, EmbedJob, resolve
from streamdex.errors import AccountFault, RecordFault, Service, Stage, SuspectFault
from streamdex.index import Index, WriteJob, Written
from streamdex.model import Chunk, DocumentWrite, Event, Manifest, Partition, Position, Rank, Record
from streamdex.operations.verify import RepairSteps, Report, Spot, Tombstone, Write, plan_repair
from streamdex.operations.verify.verification import (
    OnProgress,
    Verification,
    opened,
    records_in,
    told,
    verify_collection,
)
from streamdex.retry import retry_faults
from streamdex.telemetry import Health, Metrics

BATCH_DOCUMENTS = 64
LOWEST = Rank(-(2**63))
NO_GENERATION = -1  # of no deployment: every kept chunk gets its whole payload anew
NOWHERE = Position("", 0, 0, 0, 0)


@dataclass(slots=True)
class Repaired:
    """What was done: documents written again, deleted, and freed of points that are not theirs; letters sent."""

    written: int = 0
    deleted: int = 0
    cleaned: int = 0
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
    """Verify, mend what differs, and verify again. `folder` and `to_end` as in `verify_collection`.

    Waits out services that do not work, as the worker does. Raises ConfigurationError, AccountFault and ServiceFault.
    """
    repaired = Repaired()
    with TemporaryDirectory(dir=folder) as first:
        async with opened(settings, Path(first), on_progress, to_end=to_end, repairs=True) as verification:
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


@asynccontextmanager
async def _repairer(settings: Settings, verification: Verification, repaired: Repaired) -> AsyncIterator["Repairer"]:
    """A repairer with an embedder at work."""
    health, metrics = Health(), Metrics()
    dead_letters = Letters(settings, health, metrics)
    try:
        async with Texts(settings, health, metrics) as texts:
            yield Repairer(verification, texts, dead_letters, health, repaired)
    finally:
        await dead_letters.close()


class Texts:
    """Texts to vectors, within the key's limits. A context manager."""

    def __init__(self, settings: Settings, health: Health, metrics: Metrics) -> None:
        profile = resolve(settings.jina)
        self._together = profile.late_chunking
        self._done: dict[EmbedJob, asyncio.Event] = {}
        self._embedder = Embedder(settings.jina, profile, lambda job: self._done[job].set(), health, metrics)

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._embedder.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._embedder.close()

    async def embed(self, write: DocumentWrite, wanted: Sequence[Chunk]) -> dict[str, bytes]:
        """A vector for each of the wanted chunks, by its id. Raises RecordFault when one of them is refused."""
        if not wanted:
            return {}
        chunks = write.chunks if self._together else wanted  # late chunking: each vector depends on the whole document
        job = EmbedJob(tuple(c.text for c in chunks), tuple(c.tokens for c in chunks), together=self._together)
        self._done[job] = asyncio.Event()
        try:
            self._embedder.submit(job)
            await self._done[job].wait()
        finally:
            del self._done[job]
        if job.fault is not None:
            raise job.fault
        return dict(zip((chunk.id for chunk in chunks), job.vectors, strict=True))


class Letters:
    """Dead letters; connected when the first one is sent."""

    def __init__(self, settings: Settings, health: Health, metrics: Metrics) -> None:
        self._dead_letters = DeadLetters(settings.kafka, "verify", health, metrics)
        self._started = False
        self._health = health

    async def send(self, record: Record, fault: RecordFault, position: Position) -> None:
        """Send a record and wait for the acknowledgement, however long it takes."""
        if not self._started:
            await retry_faults(self._dead_letters.start, self._health)
            self._started = True
        now_ms = int(time.time() * 1000)
        await retry_faults(lambda: self._dead_letters.send(record, fault, position, now_ms), self._health)

    async def close(self) -> None:
        """Close the producer."""
        await self._dead_letters.close()


@dataclass(slots=True)
class Repairer:
    """Mends the documents that a comparison has found to differ."""

    _verification: Verification
    _texts: Texts
    _dead_letters: Letters
    _health: Health
    _repaired: Repaired
    _index: Index = field(init=False)

    def __post_init__(self) -> None:
        self._index = self._verification.index

    async def repair(self) -> None:
        """First what takes no record; then a second pass over the log for the records that the others take."""
        fold, on_progress = self._verification.fold, self._verification.on_progress
        on_progress("documents mended", 0, fold.count_differing())
        after = ""
        while keys := fold.differing(after, BATCH_DOCUMENTS):
            after = keys[-1]
            await self._without_records(keys)
        for record in fold.no_events():
            fold.want(record.spot, "")
        await self._second_pass()

    async def _without_records(self, keys: Sequence[str]) -> None:
        fold = self._verification.fold
        repairs = [fix for fix in await self._repairs(keys) if fix is not None]
        for fix in repairs:
            for spot in fix.spots:
                fold.want(spot, fix.document_key)
        ready = [fix for fix in repairs if not fix.spots]
        await self._prepare(ready)
        await self._delete([(fix, fix.tombstone) for fix in ready if fix.tombstone is not None])
        self._repaired.cleaned += sum(fix.tombstone is None for fix in ready)
        self._verification.on_progress("documents mended", len(keys) - (len(repairs) - len(ready)), None)

    async def _repairs(self, keys: Iterable[str]) -> list[RepairSteps | None]:
        """What each document needs as it is now."""
        verification = self._verification
        known = verification.fold.evidence_of(keys)
        found = await retry_faults(lambda: verification.look_again(known), self._health)
        return [plan_repair(evidence, verification.horizon) for evidence in found]

    async def _prepare(self, repairs: Sequence[RepairSteps]) -> None:
        """Clear away what stands in the way, unless it has become newer meanwhile."""
        forget = {fix.document_key: fix.forget for fix in repairs if fix.forget is not None}
        remove = {point_id: rank for fix in repairs for point_id, rank in fix.remove.items()}
        await retry_faults(lambda: self._index.forget(forget), self._health)
        await retry_faults(lambda: self._index.remove(remove), self._health)

    async def _delete(self, repairs: Sequence[tuple[RepairSteps, Tombstone]]) -> None:
        generation = max(0, self._verification.horizon.generation)
        for fix, tombstone in repairs:
            event = Event(fix.document_key, None, {}, None, tombstone.position)
            write = DocumentWrite(event, tombstone.rank, generation, (), frozenset(), "", None)
            await retry_faults(
                partial(self._index.write, [WriteJob(write, {}, self._index.check(write))]), self._health
            )
        self._repaired.deleted += len(repairs)

    # --- with records -------------------------------------------------------------------------------------------

    async def _second_pass(self) -> None:
        verification = self._verification
        ranges = {Partition(*log): offsets for log, offsets in verification.fold.wanted_ranges().items()}
        records = verification.reader.records(ranges)
        batch: dict[str, Record] = {}
        async for record in told(verification.on_progress, "records read again", records_in(ranges), records):
            key = verification.fold.wanted_by(Spot(record.topic, record.partition, record.offset))
            if key is None:
                continue
            if key == "":
                await self._dead_letter(record)
                continue
            if key in batch:  # a write and a letter of one document: one after the other
                await self._with_records(batch)
                batch = {}
            batch[key] = record
            if len(batch) == BATCH_DOCUMENTS:
                await self._with_records(batch)
                batch = {}
        await self._with_records(batch)

    async def _with_records(self, records: Mapping[str, Record]) -> None:
        """Mend documents with the records that they take, one each."""
        pairs = [(fix, records[fix.document_key]) for fix in await self._repairs(records) if fix is not None]
        jobs = []
        for fix, record in pairs:
            spot = Spot(record.topic, record.partition, record.offset)
            if any(dead_letter.spot == spot for dead_letter in fix.dead_letters):
                await self._dead_letter(record)
            elif fix.write is not None and fix.write.spot == spot:
                jobs.append(_Job(fix, record, self._plan(record, fix.write)))
        vectors = await asyncio.gather(*(self._embed(job) for job in jobs))
        ready = [(job, found) for job, found in zip(jobs, vectors, strict=True) if found is not None]
        await self._prepare([job.fix for job, _ in ready])
        await self._write(ready)
        self._verification.on_progress("documents mended", len(records), None)

    def _plan(self, record: Record, wanted: Write) -> DocumentWrite:
        """The write of an event into what is really there, whatever the manifest says."""
        interpreter = self._verification.interpreter
        event = interpreter.event(record)
        there = Manifest(event.document_key, LOWEST, NOWHERE, wanted.kept, "", NO_GENERATION)
        return interpreter.plan(event, wanted.rank, there)

    async def _embed(self, job: "_Job") -> dict[str, bytes] | None:
        """The vectors that the document lacks; None when its texts are refused, and it is a dead letter now."""
        try:
            vectors = await self._texts.embed(job.write, job.write.to_embed)
        except RecordFault as fault:
            await self._condemn(job, fault)
            return None
        self._repaired.texts_embedded += len(vectors)
        return vectors

    async def _write(self, ready: Sequence[tuple["_Job", dict[str, bytes]]]) -> None:
        """The guarded write of a batch; whatever does not go through with it is written alone."""
        if not ready:
            return
        batch = [WriteJob(job.write, vectors, self._index.check(job.write)) for job, vectors in ready]
        results = await retry_faults(lambda: self._index.write(batch), self._health)
        for (job, vectors), written in zip(ready, results, strict=True):
            try:
                await self._finish(job.write, vectors, written)
            except RecordFault as fault:
                await self._condemn(job, fault)
                continue
            if job.write.event.text is None:
                self._repaired.deleted += 1
            else:
                self._repaired.written += 1

    async def _finish(self, write: DocumentWrite, vectors: dict[str, bytes], written: Written) -> None:
        """See a write through, until it stands or something newer does. Raises RecordFault."""
        while (found := written.found) is None:
            if written.fault is not None:
                await self._judge(written.fault)
            gone = frozenset(written.missing)  # kept chunks that another writer deleted meanwhile
            vectors |= await self._texts.embed(write, [chunk for chunk in write.chunks if chunk.id in gone])
            batch = [WriteJob(write, vectors, self._index.check(write))]
            (written,) = await retry_faults(partial(self._index.write, batch), self._health)
        if written.settle_after_s is not None:  # a request was given up, and may land until then
            await asyncio.sleep(written.settle_after_s)
            await retry_faults(lambda: self._index.sweep({write.event.document_key: found}), self._health)

    async def _judge(self, fault: SuspectFault) -> None:
        """Refused alone: the record's fault if an ordinary point passes afterwards, else a person's to mend."""
        if await retry_faults(self._index.canary, self._health):
            raise RecordFault(Stage.INDEX, fault.reason, fault.message)
        raise AccountFault(Service.QDRANT, "every write is refused", "Check the collection and its settings.")

    # --- dead letters -------------------------------------------------------------------------------------------

    async def _condemn(self, job: "_Job", fault: RecordFault) -> None:
        """The event is refused: a dead letter, after what attempts at it have left is gone."""
        await retry_faults(lambda: self._index.clean(job.write), self._health)
        await self._dead_letters.send(job.record, fault, job.write.event.position)
        self._repaired.dead_lettered += 1

    async def _dead_letter(self, record: Record) -> None:
        """What cannot be indexed goes where the worker would have sent it."""
        interpreter = self._verification.interpreter
        await self._dead_letters.send(record, interpreter.fault(record), interpreter.position(record)[0])
        self._repaired.dead_lettered += 1


class _Job(NamedTuple):
    """A document on its way: what it needs, its event's record, and the write of it."""

    fix: RepairSteps
    record: Record
    write: DocumentWrite
