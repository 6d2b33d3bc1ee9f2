"""One document's way, from its manifest to its outcome:

    plan → embed → write, and embed again what vanished meanwhile → wait out requests in doubt → outcome

`DocumentPath.run` is that way. The worker and `verify --repair` both take it, so both judge faults by the same rule.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamdex.embed import Embedder, EmbedJob
from streamdex.errors import RecordFault, Stage
from streamdex.index import WriteJob, WriteQueue
from streamdex.model import Chunk, DocumentWrite, Event, Manifest, Outcome, Rank, Record
from streamdex.plan import Planner, outcome_of
from streamdex.run.dead_letters import DeadLetterSender
from streamdex.run.suspects import RecordSuspects, Suspicion
from streamdex.settle import Ticket

LONG_CHARACTERS = 100_000  # of a text: to cut one takes less than 20 ms, which no other document notices


class Stale(NamedTuple):
    """What a repair found in the way of a write; each is deleted unless it has become newer than its rank."""

    manifest: Rank | None
    points: Mapping[str, Rank]


class Abandoned(Exception):  # no error: the partition's next owner will handle the record
    """The assignment has ended, and nothing more is to be done for the record here."""


class OpenRecord:
    """A record that has no outcome yet, with its ticket and the set that it is in while it is under way.

    `pausing` tells that it only waits for time to pass, `job` are its texts while the embedder has them: these two
    decide whether it may be cancelled when its partition leaves.
    """

    __slots__ = ("job", "open_records", "pausing", "record", "suspicion", "task", "ticket")

    def __init__(self, record: Record, ticket: Ticket, open_records: "set[OpenRecord]") -> None:
        self.record = record
        self.ticket = ticket
        self.open_records = open_records
        self.task: asyncio.Task[None] | None = None
        self.job: EmbedJob | None = None
        self.pausing = False
        self.suspicion: Suspicion | None = None

    def under_suspicion(self) -> Suspicion:
        """What stands against the record, from its first failure on."""
        self.suspicion = self.suspicion or Suspicion()
        return self.suspicion

    async def pause(self, delay_s: float) -> None:
        """Wait; nothing of the record is under way meanwhile."""
        self.pausing = True
        try:
            await asyncio.sleep(delay_s)
        finally:
            self.pausing = False


class Document(OpenRecord):
    """One event on its way.

    `coalesced` are older events of the same document that it has taken with it. `write` and `metadata` (as they will be
    stored) come from the plan, `vectors` by chunk id from the embedder. `stale` is deleted before the first write. Once
    `attempted`, some of its points may be in the store.
    """

    __slots__ = ("attempted", "coalesced", "document_id", "event", "metadata", "rank", "stale", "vectors", "write")

    def __init__(self, record: Record, ticket: Ticket, open_records: set[OpenRecord], event: Event, rank: Rank) -> None:
        super().__init__(record, ticket, open_records)
        self.event = event
        self.document_id = event.document_id
        self.rank = rank
        self.coalesced: list[Document] = []
        self.write: DocumentWrite | None = None
        self.metadata = b""
        self.vectors: dict[str, bytes] = {}
        self.stale: Stale | None = None
        self.attempted = False

    def __repr__(self) -> str:
        """The place alone: everything else belongs to the user."""
        return f"Document({self.ticket!r})"


class DocumentPath:
    """Takes documents to their outcomes, as many at once as there are coroutines in `run`.

    `together`: all texts of a document are embedded in one request (late chunking). `first_cutting`: no older
    deployment can have cut an event into other chunks, and events are ordered by their offsets.
    """

    def __init__(
        self,
        planner: Planner,
        embedder: Embedder,
        writes: WriteQueue,
        suspects: RecordSuspects,
        dead_letters: DeadLetterSender,
        *,
        together: bool,
        first_cutting: bool,
    ) -> None:
        self._planner = planner
        self.embedder = embedder
        self.writes = writes
        self.suspects = suspects
        self.dead_letters = dead_letters
        self._together = together
        self._first_cutting = first_cutting

    async def run(self, document: Document, manifest: Manifest | None) -> Outcome:
        """Take a document to its outcome, however often that must be tried.

        Raises Abandoned when its assignment ends meanwhile, and CancelledError.
        """
        while True:
            try:
                return await self._index(document, manifest)
            except RecordFault as fault:
                judged: RecordFault | float = fault
            except Abandoned:
                raise
            except Exception as error:  # noqa: BLE001  # our own bug must neither stop the worker nor lose the record
                stage = Stage.PLAN if document.write is None else Stage.INDEX
                judged = await self.suspects.judge(document.under_suspicion(), stage, error)
            if isinstance(judged, RecordFault):
                await self._dead_letter(document, judged)
                return Outcome.DEAD_LETTERED
            if judged:
                await document.pause(judged)

    async def _index(self, document: Document, manifest: Manifest | None) -> Outcome:
        """The way itself, once. Raises RecordFault, SuspectFault, Abandoned, and whatever bug of ours it meets."""
        write = document.write
        if write is None and len(document.event.text or "") < LONG_CHARACTERS:  # not of the record, which may be gzip
            write = self._plan(document, manifest)
        elif write is None:  # in a thread, so that polls and heartbeats go on
            write = await asyncio.to_thread(self._plan, document, manifest)
        needed: Sequence[Chunk] = write.to_embed
        if document.vectors:  # from an attempt before
            needed = [chunk for chunk in needed if chunk.id not in document.vectors]
        while True:
            if needed:
                if document.ticket.leaving:  # the next owner pays, or knows better: it may have deleted what is missing
                    raise Abandoned
                chunks = write.chunks if self._together else needed  # together, each vector depends on all of them
                document.job = self._embed_job(chunks)
                vectors = await self.embedder.embed(document.job)
                document.job = None
                document.vectors.update(zip([chunk.id for chunk in chunks], vectors, strict=True))
            if document.stale is not None:
                await self._delete_stale(document, document.stale)
            document.attempted = True
            written = await self.writes.put(self._write_job(document, write))
            if not written.missing:
                break
            needed = [chunk for chunk in write.chunks if chunk.id in written.missing]
        self.suspects.passed_index()
        if written.found is None:
            raise AssertionError("a document that was written has a manifest")
        if written.in_doubt_s is not None:  # a request was abandoned, and may still land
            await document.pause(written.in_doubt_s)
            await self.writes.delete_overtaken({document.document_id: written.found})
        return outcome_of(write, written.found)

    def _plan(self, document: Document, manifest: Manifest | None) -> DocumentWrite:
        write = self._planner.plan(document.event, document.rank, manifest, bool(document.coalesced))
        document.metadata = self.writes.writer.check(write)
        document.write = write
        self.suspects.plan.passed += 1
        return write

    def _embed_job(self, chunks: Sequence[Chunk]) -> EmbedJob:
        texts, tokens = tuple([chunk.text for chunk in chunks]), tuple([chunk.tokens for chunk in chunks])
        return EmbedJob(texts, tokens, together=self._together)

    async def _delete_stale(self, document: Document, stale: Stale) -> None:
        if stale.manifest is not None:
            await self.writes.delete_manifests({document.document_id: stale.manifest})
        await self.writes.delete_points(stale.points)
        document.stale = None

    def _write_job(self, document: Document, write: DocumentWrite) -> WriteJob:
        """Step 5 may be skipped where nobody can have left other chunks: no older event has, and no older cutting.

        Rejected: also in later generations, beyond the first records of an assignment. How far a former owner came
        cannot be told from where this one starts: commits lag, and a zombie goes on.
        """
        may_skip_delete = self._first_cutting and write.before is None and not document.coalesced
        return WriteJob(write, document.vectors, document.metadata, may_skip_delete)

    async def _dead_letter(self, document: Document, fault: RecordFault) -> None:
        """Send the record to the dead-letter topic, after what attempts at it have left is deleted.

        Attempts of a former owner count, too. When the partition has left, only our own are seen to: the next owner may
        be about to write the event.
        """
        write = document.write if document.attempted or document.ticket.alive else None
        if not await self.dead_letters.send(document.record, document.event.position, fault, document.ticket, write):
            raise Abandoned
