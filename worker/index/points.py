"""Steps 1 and 2 of a write: new chunks, and the kept ones."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from worker.errors import ServiceFault, SuspectFault
from worker.index.guards import Guards
from worker.index.halving import name_the_faulty, send_all
from worker.index.horizon import Horizon
from worker.index.jobs import WriteJob, moved
from worker.index.payload import CHUNK, OWN_FIELDS_BYTES, PointFormat, rfc3339, text_bytes
from worker.index.store import Store
from worker.model import Chunk, Rank

REQUEST_ENTRIES = 64  # points and payload changes in one request: as fast as 256, at a quarter of the latency
REQUEST_BYTES = 16 * 1024 * 1024  # by estimate; the server was seen to take 64 MB


class NewPoint(NamedTuple):
    """A chunk that comes with a vector. `size_bytes` is an estimate, as below."""

    job: WriteJob
    chunk: Chunk
    size_bytes: int


class PayloadChange(NamedTuple):
    """What `fill` puts into the payload of kept chunks; `overwrite` removes what it does not name.

    With `known`, only points of that rank, or already of the write's own, are changed: only of those it is certain that
    what `fill` does not name is right.
    """

    job: WriteJob
    ids: tuple[str, ...]
    fill: Callable[[Any], None]
    size_bytes: int
    overwrite: bool = False
    known: Rank | None = None


Entry = NewPoint | PayloadChange


class PointWriter:
    """Writes the points of a batch. `clock_ms` gives epoch milliseconds."""

    def __init__(
        self, store: Store, guards: Guards, points: PointFormat, horizon: Horizon, clock_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._guards = guards
        self._points = points
        self._horizon = horizon
        self._clock_ms = clock_ms

    async def write(self, jobs: Sequence[WriteJob]) -> dict[str, SuspectFault]:
        """Upsert new chunks and change kept ones; answers which documents Qdrant refuses alone, and why."""
        now = rfc3339(self._clock_ms())
        # New points first: a document whose points are refused must not have its kept chunks changed.
        changes: list[Entry] = []
        entries: list[Entry] = []
        for job in jobs:
            shared_bytes = _shared_bytes(job)
            entries.extend([new_point(job, chunk, shared_bytes) for chunk in job.new])
            changes.extend(self._payload_changes(job, shared_bytes, now))
        faulty: dict[str, SuspectFault] = {}
        for part in in_requests([*entries, *changes]):
            await name_the_faulty(part, lambda some: self._send(some, now), faulty)
        return faulty

    async def vanished(self, jobs: Sequence[WriteJob]) -> dict[str, tuple[str, ...]]:
        """The kept check: by document, the ids of kept chunks that another writer has deleted meanwhile.

        What another writer has changed meanwhile, or an attempt at another event before it died, gets its whole payload
        anew: the manifest could not tell what is there. Then it is looked at again.
        """
        kept = {chunk.id: (job, chunk) for job in jobs for chunk in job.kept}
        there = await self._there(kept)
        now = rfc3339(self._clock_ms())
        changes: list[PayloadChange] = []
        for chunk_id, payload in there.items():
            job, chunk = kept[chunk_id]
            rank = self._guards.get_rank(payload)
            if rank < job.write.rank:
                changes.append(self._whole(job, chunk, _shared_bytes(job), now))
            elif rank == job.write.rank and payload[CHUNK].integer_value != chunk.place:
                changes.append(_place(job, chunk))
        for part in in_requests(changes):
            await send_all(part, lambda some: self._send(some, now))
        changed = [chunk_id for change in changes for chunk_id in change.ids]
        for chunk_id in changed:
            del there[chunk_id]
        there.update(await self._there(changed))
        missing: dict[str, list[str]] = {}
        for chunk_id, (job, _) in kept.items():
            if chunk_id not in there or self._guards.get_rank(there[chunk_id]) < job.write.rank:
                missing.setdefault(job.document_key, []).append(chunk_id)
        return {key: tuple(ids) for key, ids in missing.items()}

    async def _there(self, ids: Collection[str]) -> dict[str, Any]:
        """Rank and place of those points that exist."""
        fields = (*self._guards.rank_fields, CHUNK)
        points = await self._store.get(self._store.names.points, list(ids), fields)
        return {point.id.uuid: point.payload for point in points}

    def _payload_changes(self, job: WriteJob, shared_bytes: int, now: str) -> list[PayloadChange]:
        """One change for all kept chunks of a document, and one for each whose place moved.

        Another generation may store other payload keys: then each kept chunk gets its whole payload anew.
        """
        kept, write = job.kept, job.write
        if not kept:
            return []
        if write.before is None or write.before.generation != write.generation:
            return [self._whole(job, chunk, shared_bytes, now) for chunk in kept]
        shared = PayloadChange(
            job,
            tuple([chunk.id for chunk in kept]),
            lambda payload: self._points.fill_shared(payload, write, now),
            shared_bytes,
            known=write.before.rank,
        )
        return [shared, *(_place(job, chunk) for chunk in moved(kept, write.before.chunk_ids))]

    def _whole(self, job: WriteJob, chunk: Chunk, shared_bytes: int, now: str) -> PayloadChange:
        return PayloadChange(
            job,
            (chunk.id,),
            lambda payload: self._points.fill_chunk(payload, job.write, chunk, now),
            shared_bytes + text_bytes(chunk.text),
            overwrite=True,
        )

    async def _send(self, entries: Sequence[Entry], now: str) -> None:
        """One request: all new points under one guard, then the payload changes, each under its own."""
        new = [entry for entry in entries if isinstance(entry, NewPoint)]

        def fill(request: Any) -> None:
            if new:
                upsert = request.operations.add().upsert
                for job, chunk, _ in new:
                    self._points.fill_point(upsert.points.add(), job.write, chunk, job.vectors[chunk.id], now)
                self._guard_points(upsert.update_filter, new)
            for entry in entries:
                if isinstance(entry, PayloadChange):
                    operation = request.operations.add()
                    change = operation.overwrite_payload if entry.overwrite else operation.set_payload
                    entry.fill(change.payload)
                    self._guard_payload(change.points_selector.filter, entry)

        try:
            await self._store.update(self._store.names.points, fill)
        except (ServiceFault, asyncio.CancelledError) as gone:
            # Only inserts matter: any other request that lands late meets points and manifests newer than itself.
            if isinstance(gone, asyncio.CancelledError) or gone.unanswered:
                self._horizon.given_up(entry.job.document_key for entry in new)
            raise

    def _guard_points(self, guard: Any, new: Sequence[NewPoint]) -> None:
        """The upsert guard: a newer event's point stays as it is."""
        ids_by_rank: dict[Rank, list[str]] = {}
        for job, chunk, _ in new:
            ids_by_rank.setdefault(job.write.rank, []).append(chunk.id)
        self._guards.add_write_guard(guard, ids_by_rank)

    def _guard_payload(self, which: Any, change: PayloadChange) -> None:
        """The payload guard: a newer event's point stays as it is."""
        if change.known is None:
            self._guards.add_payload_guard(which, change.job.write.rank, change.ids)
        else:
            self._guards.add_ranked(which, (change.known, change.job.write.rank), change.ids)


def _shared_bytes(job: WriteJob) -> int:
    """What every point of a document takes beside its text and vector, by estimate."""
    return len(orjson.dumps(job.write.event.metadata)) + OWN_FIELDS_BYTES


def new_point(job: WriteJob, chunk: Chunk, shared_bytes: int) -> NewPoint:
    """The entry of a chunk with a vector; `shared_bytes` is what every point of its document carries."""
    return NewPoint(job, chunk, shared_bytes + text_bytes(chunk.text) + len(job.vectors[chunk.id]))


def in_requests(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut the entries into requests of at most REQUEST_ENTRIES and about REQUEST_BYTES."""
    part: list[Entry] = []
    size_bytes = 0
    for entry in entries:
        if part and (len(part) == REQUEST_ENTRIES or size_bytes + entry.size_bytes > REQUEST_BYTES):
            yield part
            part, size_bytes = [], 0
        part.append(entry)
        size_bytes += entry.size_bytes
    if part:
        yield part


def _place(job: WriteJob, chunk: Chunk) -> PayloadChange:
    def fill(payload: Any) -> None:
        payload[CHUNK].integer_value = chunk.place

    return PayloadChange(job, (chunk.id,), fill, OWN_FIELDS_BYTES)
