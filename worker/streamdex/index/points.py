"""Steps 1 and 2 of a write: new chunks, and the kept ones."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from qdrant_client import grpc as q

from streamdex.errors import ServiceFault, SuspectFault
from streamdex.index.bisect import bisect, send_all
from streamdex.index.client.store import CollectionStore
from streamdex.index.encoding.requests import payload_change, upsert
from streamdex.index.encoding.wire import UUID_BYTES
from streamdex.index.guards import Guards
from streamdex.index.in_doubt import InDoubtRequests
from streamdex.index.jobs import WriteJob, moved
from streamdex.index.schema.payload import CHUNK, PointFormat, indexed_at, place
from streamdex.model import Chunk, Rank

REQUEST_ENTRIES = 128  # points and payload changes in one request, as many as the flow writes at once
REQUEST_BYTES = 16 * 1024 * 1024  # the server was seen to take 64 MB


class NewPoint(NamedTuple):
    """A chunk that comes with a vector; `content` is the point's."""

    job: WriteJob
    id: str
    content: bytes

    def __repr__(self) -> str:
        """Without the content: it is the user's text."""
        return f"NewPoint({self.job!r}, {self.size_bytes} bytes)"

    @property
    def size_bytes(self) -> int:
        """About what it takes in a request."""
        return len(self.content)


class PayloadChange(NamedTuple):
    """Entries for the payload of kept chunks; `overwrite` deletes what they do not name.

    With `known`, only points of that rank, or already of the write's own, are changed: only of those it is certain that
    what the entries do not name is right.
    """

    job: WriteJob
    ids: tuple[str, ...]
    entries: Sequence[bytes]
    overwrite: bool = False
    known: Rank | None = None

    def __repr__(self) -> str:
        """Without the entries: they are the user's."""
        return f"PayloadChange({self.job!r}, {len(self.ids)} points, {self.size_bytes} bytes)"

    @property
    def size_bytes(self) -> int:
        """About what it takes in a request."""
        return sum(map(len, self.entries)) + UUID_BYTES * len(self.ids)


PointEntry = NewPoint | PayloadChange


class PointWriter:
    """Writes the points of a batch. `clock_ms` gives epoch milliseconds."""

    def __init__(
        self,
        store: CollectionStore,
        guards: Guards,
        points: PointFormat,
        in_doubt: InDoubtRequests,
        clock_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._guards = guards
        self._format = points
        self._in_doubt = in_doubt
        self._clock_ms = clock_ms

    async def write(self, jobs: Sequence[WriteJob]) -> dict[str, SuspectFault]:
        """Upsert new chunks and change kept ones; answers which documents Qdrant refuses alone, and why."""
        now = indexed_at(self._clock_ms())
        # New points first: a document whose points are refused must not have its kept chunks changed.
        changes: list[PointEntry] = []
        entries: list[PointEntry] = []
        for job in jobs:
            shared = self._format.shared(job.write, job.metadata, now)
            entries.extend([self._new_point(job, chunk, shared) for chunk in job.new])
            changes.extend(self._payload_changes(job, shared))
        faulty: dict[str, SuspectFault] = {}
        for part in in_requests([*entries, *changes]):
            await bisect(part, self._send, faulty)
        return faulty

    async def canary(self) -> bool:
        """Whether Qdrant takes an ordinary point now, which stays under CANARY_ID."""
        try:
            await self._store.update(self._store.names.points, [upsert([self._format.canary()])])
        except SuspectFault:
            return False
        return True

    def _new_point(self, job: WriteJob, chunk: Chunk, shared: Sequence[bytes]) -> NewPoint:
        return NewPoint(job, chunk.id, self._format.point(chunk, job.vectors[chunk.id], shared))

    async def vanished(self, jobs: Sequence[WriteJob]) -> dict[str, tuple[str, ...]]:
        """The kept check: by document, the ids of kept chunks that another writer has deleted meanwhile.

        What another writer has changed meanwhile, or an attempt at another event before it died, gets its whole payload
        again: the manifest does not say what is there. Then it is read once more.
        """
        kept = {chunk.id: (job, chunk) for job in jobs for chunk in job.kept}
        if not kept:
            return {}
        there = await self._there(kept)
        now = indexed_at(self._clock_ms())
        changes: list[PayloadChange] = []
        for chunk_id, payload in there.items():
            job, chunk = kept[chunk_id]
            rank = self._guards.get_rank(payload)
            if rank < job.write.rank:
                changes.append(self._whole(job, chunk, self._format.shared(job.write, job.metadata, now)))
            elif rank == job.write.rank and payload[CHUNK].integer_value != chunk.place:
                changes.append(_place(job, chunk))
        for part in in_requests(changes):
            await send_all(part, self._send)
        changed = [chunk_id for change in changes for chunk_id in change.ids]
        for chunk_id in changed:
            del there[chunk_id]
        there.update(await self._there(changed))
        missing: dict[str, list[str]] = {}
        for chunk_id, (job, _) in kept.items():
            if chunk_id not in there or self._guards.get_rank(there[chunk_id]) < job.write.rank:
                missing.setdefault(job.document_id, []).append(chunk_id)
        return {key: tuple(ids) for key, ids in missing.items()}

    async def _there(self, ids: Collection[str]) -> dict[str, Any]:
        """Rank and place of those points that exist."""
        fields = (*self._guards.rank_fields, CHUNK)
        return await self._store.get(self._store.names.points, list(ids), fields)

    def _payload_changes(self, job: WriteJob, shared: Sequence[bytes]) -> list[PayloadChange]:
        """One change for all kept chunks of a document, and one for each whose place moved.

        Another generation may store other payload keys: then each kept chunk gets its whole payload again.
        """
        kept, write = job.kept, job.write
        if not kept:
            return []
        if write.before is None or write.before.generation != write.generation:
            return [self._whole(job, chunk, shared) for chunk in kept]
        of_all = PayloadChange(job, tuple([chunk.id for chunk in kept]), shared, known=write.before.rank)
        return [of_all, *(_place(job, chunk) for chunk in moved(kept, write.before.chunk_ids))]

    def _whole(self, job: WriteJob, chunk: Chunk, shared: Sequence[bytes]) -> PayloadChange:
        return PayloadChange(job, (chunk.id,), self._format.whole(chunk, shared), overwrite=True)

    async def _send(self, entries: Sequence[PointEntry]) -> None:
        """One request: all new points under one guard, then the payload changes, each under its own."""
        new = [entry for entry in entries if isinstance(entry, NewPoint)]
        operations = [self._upsert(new)] if new else []
        operations += [self._change(entry) for entry in entries if isinstance(entry, PayloadChange)]
        try:
            await self._store.update(self._store.names.points, operations)
        except (ServiceFault, asyncio.CancelledError) as gone:
            # Only inserts matter: any other request that lands late meets points and manifests newer than itself.
            if isinstance(gone, asyncio.CancelledError) or gone.unanswered:
                self._in_doubt.add(entry.job.document_id for entry in new)
            raise

    def _upsert(self, new: Sequence[NewPoint]) -> list[bytes]:
        guard = q.Filter()
        self._guard_points(guard, new)
        return upsert([entry.content for entry in new], guard)

    def _change(self, change: PayloadChange) -> list[bytes]:
        which = q.Filter()
        self._guard_payload(which, change)
        return payload_change(change.entries, which, overwrite=change.overwrite)

    def _guard_points(self, guard: Any, new: Sequence[NewPoint]) -> None:
        """The upsert guard: a newer event's point stays as it is."""
        ids_by_rank: dict[Rank, list[str]] = {}
        for entry in new:
            ids_by_rank.setdefault(entry.job.write.rank, []).append(entry.id)
        self._guards.add_write_guard(guard, ids_by_rank)

    def _guard_payload(self, which: Any, change: PayloadChange) -> None:
        """The payload guard: a newer event's point stays as it is."""
        if change.known is None:
            self._guards.add_payload_guard(which, change.job.write.rank, change.ids)
        else:
            self._guards.add_ranked(which, (change.known, change.job.write.rank), change.ids)


def in_requests(entries: Sequence[PointEntry]) -> Iterator[list[PointEntry]]:
    """Cut the entries into requests of at most REQUEST_ENTRIES and about REQUEST_BYTES."""
    part: list[PointEntry] = []
    size_bytes = 0
    for entry in entries:
        entry_bytes = entry.size_bytes
        if part and (len(part) == REQUEST_ENTRIES or size_bytes + entry_bytes > REQUEST_BYTES):
            yield part
            part, size_bytes = [], 0
        part.append(entry)
        size_bytes += entry_bytes
    if part:
        yield part


def _place(job: WriteJob, chunk: Chunk) -> PayloadChange:
    return PayloadChange(job, (chunk.id,), (place(chunk),))
