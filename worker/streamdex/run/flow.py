"""The flow of one worker: take in → plan → embed → write → settle, each stage a bounded queue away from the next.

Read from top to bottom in the order the data flows. The rooms decide; this module moves items between them and sees to
it that each one ends in exactly one outcome, or stays unsettled and is read again by the partition's next owner.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from itertools import chain
from typing import cast

from streamdex.embed import Embedder, EmbedJob
from streamdex.errors import RecordFault, Stage
from streamdex.index import WriteJob, Written
from streamdex.model import Chunk, DocumentWrite, Manifest, Order, Outcome, Partition, Record
from streamdex.plan import Lanes, Overtaken, outcome_of, rank_of
from streamdex.retry import retry_faults, retry_forever
from streamdex.run.delays import Delays
from streamdex.run.items import Item, Letter, WriteQueue
from streamdex.run.rooms import Rooms, Standing
from streamdex.run.suspects import SENDERS, Verdicts
from streamdex.run.sweeps import Sweeps
from streamdex.settle import Ticket
from streamdex.telemetry import CROSS_PARTITION, VERSION_IGNORED, emit

PLAN_DOCUMENTS = 256  # manifests read in one request: 64 cost 18 µs a document more. It never waits to fill
WRITE_POINTS = 128  # 64 cost 5 µs a document more; beyond, little is gained for more latency
WRITERS = 4  # writes in flight; apart from the embedding slots, so that neither waits for the other
EMBED_QUEUE_INPUTS = 4096  # planned texts that wait; past it planning waits
PLAN_BYTES = 2**20  # of records planned at once: a long one becomes thousands of chunks, each with a vector to come


class Flow:
    """Moves items through the rooms. `tasks` run the stages, `accept` feeds them, `drain` ends them by partition.

    `together`: the texts of a document are embedded in one request (late chunking).
    """

    def __init__(self, rooms: Rooms, standing: Standing, *, together: bool) -> None:
        self._rooms = rooms
        self._standing = standing
        self._together = together
        self._lanes: Lanes[Item] = Lanes()
        self._to_write = WriteQueue()
        self._sweeps = Sweeps(rooms, self._settle)
        self._open: set[Item] = set()  # planned or further: paid for, or about to be
        self._delays = Delays()
        self._leaving: set[Partition] = set()
        self._changed = asyncio.Event()
        self._hurrying = False
        self._outcomes = {outcome: rooms.metrics.records.labels(outcome.value) for outcome in Outcome}
        self._said: set[str] = set()

    def connect(self, embedder: Embedder, verdicts: Verdicts) -> None:
        """The two rooms that call back: the embedder to `embedded`, the verdicts to `later` and `letter_sent`."""
        self._embedder = embedder
        self._verdicts = verdicts

    def tasks(self) -> list[Coroutine[object, object, None]]:
        """The loops of the stages; each runs until it is cancelled."""
        return [
            self._plan_for_ever(),
            *self._sweeps.tasks(),
            self._embedder.run(),
            *(self._write_for_ever() for _ in range(WRITERS)),
            *(self._verdicts.send_for_ever() for _ in range(SENDERS)),
        ]

    def queues(self) -> dict[str, tuple[int, int]]:
        """What waits before a stage, as (how many, bytes): events to plan, documents with vectors to write, letters."""
        planning = [item.record.size_bytes for item in self._lanes.waiting]
        writing = [item.vector_bytes for item in self._open if item.vectors]
        dead_letters = [dead_letter.record.size_bytes for dead_letter in self._verdicts.waiting]
        return {
            name: (len(sizes), sum(sizes))
            for name, sizes in (("plan", planning), ("write", writing), ("dead_letter", dead_letters))
        }

    # --- take in: records become items in lanes -----------------------------------------------------------------

    def accept(self, partition: Partition, records: Sequence[Record], position: int) -> None:
        """Open a ticket for each record and queue its event; `position` is where the partition is read next."""
        tracker = self._rooms.ledger.tracker(partition)
        if tracker is None:
            return  # revoked meanwhile: the next owner reads these again
        sizes_bytes = [record.size_bytes for record in records]
        self._rooms.back_pressure.took(partition, len(records), sum(sizes_bytes))
        for record, size_bytes in zip(records, sizes_bytes, strict=True):
            self._decode(record, tracker.open(record.offset, size_bytes, record.timestamp_ms))
        tracker.advance(position)
        self._changed.set()

    def _decode(self, record: Record, ticket: Ticket) -> None:
        if not ticket.alive:
            return
        standing = self._standing
        try:
            event = self._rooms.decoder.decode(record, standing.epoch)
            rank = rank_of(event, standing.order, standing.bases, standing.generation)
        except RecordFault as fault:
            self._verdicts.condemn(record, ticket, fault)
        except Exception as error:  # noqa: BLE001  # our own bug must neither stop the worker nor lose the record
            self._verdicts.own_bug(error, Stage.DECODE, record, ticket, None, self._decode_again(record, ticket))
        else:
            self._verdicts.passed(Stage.DECODE)
            if event.version is not None and standing.order is Order.OFFSET:
                self._say_once("version", lambda: emit(VERSION_IGNORED, topic=record.topic))
            self._lanes.offer(Item(record, ticket, event, rank))

    def _decode_again(self, record: Record, ticket: Ticket) -> Callable[[], None]:
        def again() -> None:
            self._decode(record, ticket)
            self._changed.set()

        return again

    # --- plan: manifests tell what is new -----------------------------------------------------------------------

    async def _plan_for_ever(self) -> None:
        while True:
            await self._until(self._may_plan)
            items = self._lanes.take(PLAN_DOCUMENTS, PLAN_BYTES, lambda item: item.ticket.size_bytes)
            self._open.update(items)
            await self._plan_batch(items)

    async def _plan_batch(self, items: Sequence[Item]) -> None:
        keys = [item.document_key for item in items]
        rooms = self._rooms
        manifests = await retry_forever(lambda: rooms.index.read_manifests(keys), rooms.health, rooms.metrics)
        overtaken = [pair for item in items if (pair := self._plan(item, manifests.get(item.document_key)))]
        if overtaken:
            await self._sweeps.sweep(overtaken)

    def _may_plan(self) -> bool:
        return self._lanes.ready > 0 and self._embedder.queued_inputs < EMBED_QUEUE_INPUTS and not self._to_write.full

    def _plan(self, item: Item, manifest: Manifest | None) -> tuple[Item, Overtaken] | None:
        """Send the item on its way; returned when the store knows its event or a newer one already."""
        if item.partition in self._leaving or not item.ticket.alive:
            self._give_up(item)
            return None
        try:
            decision = self._rooms.planner.decide(item.event, item.rank, manifest, bool(item.coalesced))
            if isinstance(decision, DocumentWrite):
                item.metadata = self._rooms.index.check(decision)
        except RecordFault as fault:
            self._verdicts.condemn(item.record, item.ticket, fault, item)
        except Exception as error:  # noqa: BLE001  # our own bug, as in `_decode`
            again = self._plan_again(item)
            self._verdicts.own_bug(error, Stage.PLAN, item.record, item.ticket, item, again)
        else:
            self._verdicts.passed(Stage.PLAN)
            if isinstance(decision, Overtaken):
                self._note_crossing(item, manifest)
                return item, decision
            item.write = decision
            self._embed(item, decision.to_embed)
        return None

    def _plan_again(self, item: Item) -> Callable[[], None]:
        def again() -> None:
            self._open.discard(item)
            self._lanes.finish(item)
            self._lanes.offer(item)
            self._changed.set()

        return again

    # --- embed: texts become vectors ----------------------------------------------------------------------------

    def _embed(self, item: Item, chunks: tuple[Chunk, ...]) -> None:
        """Queue the chunks that need a vector; a document that needs none goes straight to the writers."""
        if not chunks:
            self._to_write.put(item)
            return
        if self._together:
            chunks = item.planned.chunks  # each vector depends on all of its document
        item.embedding = chunks
        texts = tuple([chunk.text for chunk in chunks])
        tokens = tuple([chunk.tokens for chunk in chunks])
        self._embedder.submit(EmbedJob(texts, tokens, together=self._together, owner=item))

    def embedded(self, job: EmbedJob) -> None:
        """The embedder's answer for one document: all of its vectors, or a proven fault."""
        item = cast("Item", job.owner)
        if job.fault is not None:
            self._verdicts.condemn(item.record, item.ticket, job.fault, item)
            return
        for chunk, vector in zip(item.embedding, job.vectors, strict=True):
            item.vectors[chunk.id] = vector
        self._to_write.put(item)

    # --- write: points, manifests, purges -----------------------------------------------------------------------

    async def _write_for_ever(self) -> None:
        while True:
            batch = await self._to_write.take(WRITE_POINTS)
            self._changed.set()
            await self._write(batch)

    async def _write(self, batch: list[Item]) -> None:
        rooms = self._rooms
        documents = [
            WriteJob(item.planned, item.vectors, item.metadata, may_skip_purge=self._may_skip_purge(item))
            for item in batch
        ]
        for item in batch:
            item.attempted = True
        try:
            results = await retry_faults(lambda: rooms.index.write(documents), rooms.health, rooms.metrics)
        except Exception as error:  # noqa: BLE001  # our own bug, as in `_decode`; one by one it names its record
            if len(batch) > 1:
                for item in batch:
                    await self._write([item])
            else:
                item = batch[0]
                again = self._write_again(item)
                self._verdicts.own_bug(error, Stage.INDEX, item.record, item.ticket, item, again)
            return
        for item, written in zip(batch, results, strict=True):
            if written.fault is None:
                self._written(item, written)
            else:
                await self._verdicts.judge(item, written.fault, self._write_again(item))

    def _write_again(self, item: Item) -> Callable[[], None]:
        return lambda: self._to_write.put(item)

    def _written(self, item: Item, written: Written) -> None:
        if written.missing and not item.ticket.alive:
            self._give_up(item)  # the next owner, who deleted them, knows better; they would be paid for in vain
        elif written.missing:
            vanished = frozenset(written.missing)
            self._embed(item, tuple(chunk for chunk in item.planned.chunks if chunk.id in vanished))
        elif (found := written.found) is not None:
            self._verdicts.passed(Stage.INDEX)
            outcome = outcome_of(item.planned, found)
            if written.settle_after_s is None:
                self._settle(item, outcome)
            else:
                ended = Overtaken(outcome, found)
                self.later(item.ticket, written.settle_after_s, lambda: self._sweeps.once_more(item, ended))

    def _may_skip_purge(self, item: Item) -> bool:
        """Nobody can have left other chunks of this document: no older event has, and no older generation of this one.

        Rejected: later generations beyond the first records of an assignment, too. How far a former owner came cannot
        be told from where this one starts: commits lag, and a zombie goes on.
        """
        return (
            self._standing.order is Order.OFFSET
            and self._standing.generation == 0
            and item.planned.before is None
            and not item.coalesced
        )

    # --- settle: the one outcome of each event ------------------------------------------------------------------

    def _settle(self, item: Item, outcome: Outcome) -> None:
        """The event has its outcome; those it swallowed are superseded with it, and its document's lane is free."""
        for coalesced in item.coalesced:
            self._settle_ticket(coalesced.record, coalesced.ticket, Outcome.SUPERSEDED)
        self._settle_ticket(item.record, item.ticket, outcome)
        self._open.discard(item)
        self._lanes.finish(item)
        self._changed.set()

    def _settle_ticket(self, record: Record, ticket: Ticket, outcome: Outcome) -> None:
        self._verdicts.forget(ticket)
        if ticket.settle(outcome):
            self._rooms.back_pressure.settled(ticket.partition, ticket.size_bytes, ticket.span)
            self._outcomes[outcome].inc()
            self._rooms.metrics.searchable_seconds.observe(max(0.0, time.time() - record.timestamp_ms / 1000))

    def letter_sent(self, dead_letter: Letter) -> None:
        """The dead-letter topic has it. It counts as not written, so the events it had swallowed are next."""
        item = dead_letter.item
        if item is None:
            self._settle_ticket(dead_letter.record, dead_letter.ticket, Outcome.DEAD_LETTERED)
            self._changed.set()
            return
        returning, item.coalesced = item.coalesced, []
        self._settle(item, Outcome.DEAD_LETTERED)
        for coalesced in returning:
            self._lanes.offer(coalesced)

    def letter_dropped(self, dead_letter: Letter) -> None:
        """The next owner judges the record; here its document's lane is free for when the partition comes back."""
        if dead_letter.item is not None:
            self._give_up(dead_letter.item)

    def _note_crossing(self, item: Item, manifest: Manifest | None) -> None:
        """In offset order a document's events should share a partition: one overtaken from another is counted."""
        crossed = (
            manifest is not None
            and manifest.position.topic == item.event.position.topic
            and manifest.position.partition != item.event.position.partition
        )
        if crossed and self._standing.order is Order.OFFSET:
            self._rooms.metrics.superseded_across.inc()
            self._say_once("across", lambda: emit(CROSS_PARTITION, topic=item.record.topic))

    def _say_once(self, what: str, say: Callable[[], None]) -> None:
        if what not in self._said:
            self._said.add(what)
            say()

    # --- leave: partitions go to another replica, or the worker stops -------------------------------------------

    def abort(self) -> None:
        """Do not wait for anything any more: a drain that is under way ends now."""
        self._hurrying = True
        self._changed.set()

    async def drain(self, partitions: Collection[Partition], timeout_s: float) -> int:
        """Stop dispatching for these partitions and wait for what is paid for; the number of records left undone."""
        leaving = set(partitions)
        self._leaving |= leaving
        try:
            self._lanes.withdraw(lambda item: item.partition in leaving)
            self._take_back(leaving, paid_for=False)
            waited = self._delays.drop(leaving)
            for item in [item for item in self._open if item.ticket in waited]:
                self._give_up(item)
            with suppress(TimeoutError):  # the count tells what is left: it will be read again
                async with asyncio.timeout(timeout_s):
                    await self._until(lambda: self._hurrying or not self._unfinished(leaving))
            left = self._unfinished(leaving)
            self._take_back(leaving, paid_for=True)  # else its texts would be sent again and again, for nobody
            return left
        finally:
            self._leaving -= leaving

    def _take_back(self, leaving: Collection[Partition], *, paid_for: bool) -> None:
        """From the embedder: what it has not begun, or with `paid_for` all that has not its vectors."""
        for job in self._embedder.withdraw(lambda job: cast("Item", job.owner).partition in leaving, paid_for=paid_for):
            self._give_up(cast("Item", job.owner))

    def _unfinished(self, leaving: Collection[Partition]) -> int:
        """Of these partitions and of this assignment; what a former one has left in flight is nobody's wait."""
        return sum(
            one.ticket.alive and one.partition in leaving
            for one in chain[Item | Letter](self._open, self._verdicts.waiting)
        )

    def _give_up(self, item: Item) -> None:
        """Leave the item to its partition's next owner. What it swallowed of partitions that stay returns."""
        if item.attempted:
            self._sweeps.abandon(item.document_key)
        self._verdicts.forget(item.ticket)
        self._open.discard(item)
        self._lanes.finish(item)
        for coalesced in item.coalesced:
            if coalesced.ticket.alive and coalesced.partition not in self._leaving:
                self._lanes.offer(coalesced)
        self._changed.set()

    def later(self, ticket: Ticket, delay_s: float, action: Callable[[], None]) -> None:
        """Do `action` for the ticket after a while, unless its partition leaves before."""
        self._delays.later(ticket, delay_s, action)

    async def _until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()
