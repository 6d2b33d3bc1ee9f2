"""Accepts records and starts one coroutine per document; `document.py` has the way that it takes from there.

accept: record → event → lane of its document
plan:   up to 256 documents at a time: their manifests, read in one request → those that the store knows already
        settle together, each of the others gets its coroutine
drain:  what is paid for is finished, everything else is left to the partition's next owner
"""

import asyncio
import sys
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Any

from streamdex.errors import RecordFault, Stage
from streamdex.index import Reader
from streamdex.intake import BackPressure, Decoder
from streamdex.kafka.position_headers import first_position
from streamdex.model import Ignored, Manifest, Order, Outcome, Partition, Record
from streamdex.plan import Lanes, Overtaken, Ranking, overtaken
from streamdex.retry import retry_forever
from streamdex.run.document import Abandoned, Document, DocumentPath, OpenRecord
from streamdex.settle import Ledger, Ticket, Tracker
from streamdex.telemetry import CROSS_PARTITION, DELETED_UNKNOWN, VERSION_IGNORED, Health, Metrics, Signal, emit

PLAN_DOCUMENTS = 256  # manifests read in one request: 64 cost 18 µs a document more. Planning never waits to fill it
EMBED_QUEUE_INPUTS = 4096  # planned texts that wait; past it planning waits
EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}  # spares a round of the loop
PLAN_BYTES = 2**20  # of records planned at once: a long one becomes thousands of chunks, each with a vector to come


class Dispatcher:
    """Owns the coroutines of all documents. `run` plans and starts them, until it is cancelled."""

    def __init__(  # noqa: PLR0913, PLR0917  # the stages that a record passes through
        self,
        decoder: Decoder,
        ranking: Ranking,
        reader: Reader,
        path: DocumentPath,
        ledger: Ledger,
        back_pressure: BackPressure,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._decoder = decoder
        self._ranking = ranking
        self._reader = reader
        self._path = path
        self._embedder = path.embedder
        self._writes = path.writes
        self._suspects = path.suspects
        self._dead_letters = path.dead_letters
        self._ledger = ledger
        self._back_pressure = back_pressure
        self._health = health
        self._metrics = metrics
        self._lanes: Lanes[Document] = Lanes()
        self._open: dict[Tracker, set[OpenRecord]] = {}  # what is under way, by assignment
        self._context = copy_context()  # one for all: a copy for each costs 70 bytes, a name of its own 60
        self._changed = asyncio.Event()
        self._aborting = False
        self._bug: BaseException | None = None  # of a coroutine that should have none
        self._reported: set[Signal] = set()

    def queues(self) -> dict[str, tuple[int, int]]:
        """What waits before a stage, as (how many, bytes): events to plan, documents to write, dead letters to send."""
        planning = [document.record.size_bytes for document in self._lanes.waiting]
        return {
            "plan": (len(planning), sum(planning)),
            "write": self._writes.open,
            "dead_letter": (self._dead_letters.waiting, self._dead_letters.waiting_bytes),
        }

    async def run(self) -> None:
        """Plan and start documents until cancelled, which cancels them all. Raises what a coroutine raises.

        Rejected: an asyncio.TaskGroup for the documents, which costs 1.4 µs and 300 bytes each.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for loop in self._writes.loops():
                    group.create_task(loop)
                while True:
                    await self._until(self._may_plan)
                    await self._plan(self._lanes.take(PLAN_DOCUMENTS, PLAN_BYTES, lambda one: one.ticket.size_bytes))
        finally:
            await _cancel([one for records in self._open.values() for one in records])

    # --- accept: records become documents in lanes --------------------------------------------------------------

    def accept(self, partition: Partition, records: Sequence[Record], position: int) -> None:
        """Open a ticket for each record and queue its event; `position` is where the partition is read next."""
        tracker = self._ledger.tracker(partition)
        if tracker is None:
            return  # revoked meanwhile: the next owner reads these again
        open_records = self._open_records(tracker)
        sizes_bytes = [record.size_bytes for record in records]
        self._back_pressure.accepted(partition, len(records), sum(sizes_bytes))
        for record, size_bytes in zip(records, sizes_bytes, strict=True):
            ticket = tracker.open(record.offset, size_bytes, record.timestamp_ms)
            try:
                self._decode(record, ticket, open_records)
            except Exception as error:  # noqa: BLE001  # the record's fault, or a bug of ours, which must not stop us
                unread = OpenRecord(record, ticket, open_records)
                self._start(unread, self._handle_unread(unread, error))
        tracker.advance(position)
        self._changed.set()

    def _open_records(self, tracker: Tracker) -> set[OpenRecord]:
        """What is under way of a partition, during one assignment."""
        if tracker not in self._open:
            self._open = {known: records for known, records in self._open.items() if records or not known.dead}
            self._open[tracker] = set()
        return self._open[tracker]

    def _decode(self, record: Record, ticket: Ticket, open_records: set[OpenRecord]) -> None:
        """Queue the event of a record. Raises RecordFault, and whatever bug of ours it meets."""
        event = self._decoder.decode(record, self._ranking.epoch)
        if isinstance(event, Ignored):
            self._settle_ticket(ticket, Outcome.IGNORED)
            return
        document = Document(record, ticket, open_records, event, self._ranking.rank_of(event))
        self._suspects.decode.passed += 1
        if event.version is not None and self._ranking.order is Order.OFFSET:
            self._report_once(VERSION_IGNORED, record.topic)
        self._lanes.offer(document)

    async def _handle_unread(self, unread: OpenRecord, error: Exception) -> None:
        """A record that is no event: a dead letter, or decoded again after a bug of ours."""
        try:
            while not isinstance(error, RecordFault):
                judged = await self._suspects.judge(unread.under_suspicion(), Stage.DECODE, error)
                if isinstance(judged, RecordFault):
                    error = judged
                    break
                await unread.pause(judged)
                try:
                    return self._decode(unread.record, unread.ticket, unread.open_records)
                except Exception as next_error:  # noqa: BLE001  # as in `accept`
                    error = next_error
            position = first_position(unread.record, self._ranking.epoch)
            if await self._dead_letters.send(unread.record, position, error, unread.ticket):
                self._settle_ticket(unread.ticket, Outcome.DEAD_LETTERED)
        except Exception as bug:  # noqa: BLE001  # nobody awaits this task
            self._failed(bug)
        finally:
            self._ended(unread)

    # --- plan: manifests tell what is new -----------------------------------------------------------------------

    def _may_plan(self) -> bool:
        return self._lanes.ready > 0 and self._embedder.queued_inputs < EMBED_QUEUE_INPUTS and not self._writes.full

    async def _plan(self, documents: Sequence[Document]) -> None:
        """Read the manifests of a batch, and start its documents."""
        for document in documents:
            document.open_records.add(document)
        keys = [document.document_id for document in documents]
        manifests = await retry_forever(lambda: self._reader.manifests(keys), self._health, self._metrics)
        known: list[tuple[Document, Overtaken]] = []
        for document in documents:
            manifest = manifests.get(document.document_id)
            done = None if document.ticket.leaving else overtaken(document.rank, manifest)
            if done is None:
                self._start(document, self._handle(document, manifest))
            else:
                self._note_crossing(document, manifest)
                known.append((document, done))
        if known:
            await self._settle_known(known)

    async def _settle_known(self, known: Sequence[tuple[Document, Overtaken]]) -> None:
        """The store has these events or newer ones. A crash may have left points below, which are deleted first."""
        await self._writes.delete_overtaken({document.document_id: done.rank for document, done in known})
        for document, done in known:
            self._settle(document, done.outcome)
            self._ended(document)

    async def _handle(self, document: Document, manifest: Manifest | None) -> None:
        """One document's coroutine: its way, then its settlement."""
        try:
            if document.ticket.leaving:
                raise Abandoned
            self._settle(document, await self._path.run(document, manifest))
        except Abandoned:
            self._abandon(document)
        except asyncio.CancelledError:
            self._abandon(document)
            raise
        except Exception as bug:  # noqa: BLE001  # nobody awaits this task
            self._failed(bug)
        finally:
            self._ended(document)

    # --- settle: the one outcome of each record -----------------------------------------------------------------

    def _settle(self, document: Document, outcome: Outcome) -> None:
        """The event has its outcome, and its document's lane is free.

        Coalesced events are superseded with it. A dead letter counts as not written: then they are next.
        """
        if outcome is Outcome.DELETED and not document.coalesced:
            self._note_unknown(document)
        coalesced, document.coalesced = document.coalesced, []
        dead_lettered = outcome is Outcome.DEAD_LETTERED
        if not dead_lettered:
            for one in coalesced:
                self._settle_ticket(one.ticket, Outcome.SUPERSEDED)
        self._settle_ticket(document.ticket, outcome)
        self._lanes.finish(document)
        if dead_lettered:
            for one in coalesced:
                self._lanes.offer(one)

    def _settle_ticket(self, ticket: Ticket, outcome: Outcome) -> None:
        if ticket.settle(outcome):
            self._back_pressure.settled(ticket.partition, ticket.size_bytes, ticket.span)
            self._metrics.counts.settled(outcome, max(0.0, time.time() - ticket.timestamp_ms / 1000))

    def _abandon(self, document: Document) -> None:
        """Leave the document to its partition's next owner. Coalesced events of partitions that stay return."""
        if document.attempted:
            self._writes.abandon(document.document_id)
        self._lanes.finish(document)
        for one in document.coalesced:
            if not one.ticket.leaving:
                self._lanes.offer(one)

    def _note_crossing(self, document: Document, manifest: Manifest | None) -> None:
        """In offset order a document's events should share a partition: one overtaken from another is counted."""
        if manifest is None or self._ranking.order is not Order.OFFSET:
            return
        here, there = document.event.position, manifest.position
        if there.topic == here.topic and there.partition != here.partition:
            self._metrics.counts.superseded_across += 1
            self._report_once(CROSS_PARTITION, document.record.topic)

    def _note_unknown(self, document: Document) -> None:
        """A delete of a document that the collection never had is counted: often its key is not the id of its value."""
        if document.write is not None and document.write.before is None:
            self._metrics.counts.deleted_unknown += 1
            self._report_once(DELETED_UNKNOWN, document.record.topic)

    def _report_once(self, signal: Signal, topic: str) -> None:
        if signal not in self._reported:
            self._reported.add(signal)
            emit(signal, topic=topic)

    # --- drain: partitions go to another replica, or the worker stops -------------------------------------------

    def abort(self) -> None:
        """Wait for nothing any more: a drain that is under way ends now."""
        self._aborting = True
        self._changed.set()

    async def drain(self, partitions: Collection[Partition], timeout_s: float) -> int:
        """Finish what is paid for of these partitions, and cancel the rest; the number of records left undone.

        From now on nothing new is begun for them, also while their last commit is under way.
        """
        trackers = [tracker for one in partitions if (tracker := self._ledger.tracker(one)) is not None]
        for tracker in trackers:
            tracker.leaving = True
        self._lanes.withdraw(lambda document: document.ticket.leaving)
        open_records = [self._open[tracker] for tracker in trackers if tracker in self._open]
        await _cancel(self._unpaid([one for records in open_records for one in records]))
        with suppress(TimeoutError):  # the count tells what is left: it will be read again
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: self._aborting or not any(open_records))
        left = [one for records in open_records for one in records]
        await self._cancel_embedding(left)
        return len(left)

    def _unpaid(self, records: Sequence[OpenRecord]) -> list[OpenRecord]:
        """Those of which nothing is under way or paid for."""
        not_begun = set(self._embedder.not_begun([one.job for one in records if one.job is not None]))
        return [one for one in records if one.pausing or one.job in not_begun]

    async def _cancel_embedding(self, records: Sequence[OpenRecord]) -> None:
        """What a drain could not finish: else its texts would be sent again and again, for nobody."""
        await _cancel([one for one in records if one.job is not None and not one.job.closed])

    # --- coroutines ---------------------------------------------------------------------------------------------

    def _start(self, record: OpenRecord, work: Coroutine[object, object, None]) -> None:
        record.open_records.add(record)
        record.task = asyncio.Task(work, name="document", context=self._context, **EAGER)

    def _ended(self, record: OpenRecord) -> None:
        record.open_records.discard(record)
        self._changed.set()

    def _failed(self, bug: Exception) -> None:
        """A coroutine met a bug outside of its document's way: `run` raises it, and the worker ends."""
        self._bug = self._bug or bug

    async def _until(self, condition: Callable[[], object]) -> None:
        while self._bug is None:
            if condition():
                return
            self._changed.clear()
            await self._changed.wait()
        raise self._bug


async def _cancel(records: Iterable[OpenRecord]) -> None:
    """Cancel these coroutines, and wait for their ends: nothing of them comes later."""
    tasks = [one.task for one in records if one.task is not None]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
