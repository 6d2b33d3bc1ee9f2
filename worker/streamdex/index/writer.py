"""Writes documents: steps 1 to 5 of the protocol, each one request for the whole batch.

1. upsert the chunks that come with a vector, guarded per point
2. give the kept chunks the event's rank, place and metadata, guarded; read back that each is there at that rank
3. upsert the manifests, guarded; those of new documents are inserted only
4. read the manifests' ranks back
5. delete each document's points below the rank that was found, unless its manifest is the first one

Why it holds: the losing writer inserts before it reads the manifest, and the winning writer deletes after it wrote the
manifest. So either the loser sees the winner and deletes its own points, or the winner's delete comes after the loser's
insert. Every step may be repeated, and a crash between any two is healed by redelivery. Each rule is a method of
its own, so that a test can remove it and show that it is needed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from streamdex.config import CapsSettings
from streamdex.errors import Service, ServiceFault
from streamdex.index.bisect import send_all
from streamdex.index.client.store import CollectionStore
from streamdex.index.guards import Guards
from streamdex.index.in_doubt import InDoubtRequests
from streamdex.index.jobs import WriteJob, Written, newest_by_document
from streamdex.index.points import PointWriter
from streamdex.index.schema.keys import CANARY_ID, manifest_id
from streamdex.index.schema.manifests import CHUNK_IDS, TOMBSTONE_UNTIL, ManifestFormat
from streamdex.index.schema.payload import check_payload
from streamdex.model import DocumentWrite, Order, Rank


class Writer:
    """Writes batches. Several writes may run at once; `clock_ms` gives epoch milliseconds."""

    def __init__(
        self,
        store: CollectionStore,
        guards: Guards,
        points: PointWriter,
        manifests: ManifestFormat,
        in_doubt: InDoubtRequests,
        caps: CapsSettings,
        clock_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._guards = guards
        self._points = points
        self._manifests = manifests
        self._in_doubt = in_doubt
        self._caps = caps
        self._clock_ms = clock_ms

    def check(self, write: DocumentWrite) -> bytes:
        """Make sure that Qdrant can take the document, before its texts are embedded. Raises RecordFault.

        Returns its metadata as they will be stored, for the `WriteJob`.
        """
        return check_payload(write, self._caps)

    async def write(self, jobs: Sequence[WriteJob]) -> list[Written]:
        """Write a batch; the results come in its order. After a ServiceFault or AccountFault write all of it again."""
        newest = newest_by_document(jobs)
        crowded = len(newest) < len(jobs)  # the points of older events in the batch must be deleted
        faulty = await self._points.write(list(newest.values()))
        sound = [job for key, job in newest.items() if key not in faulty]
        missing = await self._points.vanished(sound)
        whole = [job for job in sound if job.document_id not in missing] if missing else sound
        if crowded:
            self._in_doubt.require_delete(newest)
        found = await self._manifest_ranks(whole)
        waits_s = await self._delete_older(whole, found)
        return [
            Written(found.get(key), missing.get(key, ()), faulty.get(key), waits_s.get(key))
            for key in (job.document_id for job in jobs)
        ]

    # --- steps 3 and 4: manifests -------------------------------------------------------------------------------

    async def _manifest_ranks(self, jobs: Sequence[WriteJob]) -> dict[str, Rank]:
        """Steps 3 and 4: each document's rank afterwards.

        A document that had no manifest when it was planned may get one meanwhile, from an older event of another
        partition. Step 5 is skipped only for the first manifest of a document, so it is inserted and replaces none.
        """
        await self._write_manifests(jobs)
        found = await self._found_ranks(jobs)
        second = [job for job in jobs if found[job.document_id] < job.write.rank]
        if second:
            self._in_doubt.require_delete(job.document_id for job in second)
            await self._write_manifests(second)
            found.update(await self._found_ranks(second))
        return found

    async def _write_manifests(self, jobs: Sequence[WriteJob]) -> None:
        """Step 3. From here on nothing is a record's fault: Qdrant has taken its content."""
        await send_all(jobs, self._send_manifests)

    async def _send_manifests(self, jobs: Sequence[WriteJob]) -> None:
        now_ms = self._clock_ms()
        manifests = [self._manifests.manifest(job.write, now_ms) for job in jobs]
        await self._store.upsert(
            self._store.names.manifests, manifests, lambda guard: self._guard_manifests(guard, jobs)
        )

    def _guard_manifests(self, guard: Any, jobs: Sequence[WriteJob]) -> None:
        """The manifest guard: a newer event's manifest stays as it is, and that of a new document is not replaced."""
        ids_by_rank: dict[Rank, list[str]] = {}
        new: list[str] = []
        for job in jobs:
            same = new if self._is_first_write(job) else ids_by_rank.setdefault(job.write.rank, [])
            same.append(manifest_id(job.document_id))
        if new:
            self._guards.add_insert_guard(guard, new)
        if ids_by_rank:
            self._guards.add_write_guard(guard, ids_by_rank)

    async def _found_ranks(self, jobs: Sequence[WriteJob]) -> dict[str, Rank]:
        """Step 4: the rank that each document's manifest has now. Lower than its own for one that is not new at all."""
        ranks = await self._read_ranks([job.document_id for job in jobs])
        for job in jobs:
            rank = ranks.get(job.document_id)
            if rank is None or (rank < job.write.rank and not self._is_first_write(job)):
                raise ServiceFault(Service.QDRANT, "Qdrant does not show a manifest that it has just confirmed")
        return ranks

    async def _read_ranks(self, document_ids: Collection[str]) -> dict[str, Rank]:
        ids = {manifest_id(key): key for key in document_ids}
        found = await self._store.get(self._store.names.manifests, list(ids), self._guards.rank_fields)
        return {ids[point_id]: self._guards.get_rank(payload) for point_id, payload in found.items()}

    # --- step 5: deletes ----------------------------------------------------------------------------------------

    async def _delete_older(self, jobs: Sequence[WriteJob], found: Mapping[str, Rank]) -> dict[str, float]:
        """Step 5. Returns the seconds that documents with a request in doubt must wait before they settle."""
        below = {
            job.document_id: found[job.document_id]
            for job in jobs
            if not (self._is_first_write(job) and found[job.document_id] == job.write.rank)
        }
        waits = self._in_doubt.waits_s(below)
        await self.delete_below(below)
        self._in_doubt.resolve(key for key in below if key not in waits)
        return waits

    def _is_first_write(self, job: WriteJob) -> bool:
        """Whether the document cannot have older points, provided that its manifest is the first one.

        True for a new document without coalesced events, of which every request was answered.
        """
        write = job.write
        return (
            job.may_skip_delete
            and self._guards.order is Order.OFFSET
            and write.before is None
            and not write.coalesced
            and not self._in_doubt.includes(job.document_id)
        )

    async def delete_below(self, below: Mapping[str, Rank]) -> None:
        """Delete the documents' points whose rank is below the one given. Safe at any time: ranks only grow."""
        await send_all(list(below.items()), self._send_delete)

    async def _send_delete(self, below: Sequence[tuple[str, Rank]]) -> None:
        documents = dict(below)
        await self._store.delete(self._store.names.points, lambda which: self._guards.add_below(which, documents))

    async def delete_overtaken(self, below: Mapping[str, Rank]) -> None:
        """Delete the older points of documents that are not written now: overtaken or in doubt.

        For the latter the rank that the manifest has by now counts. A newer event may have done its delete before the
        request in doubt landed, and then its rank is the one to delete below.
        """
        late = [key for key in below if self._in_doubt.includes(key)]
        ranks = await self._read_ranks(late)
        waits_s = self._in_doubt.waits_s(late)
        await self.delete_below({key: max(rank, ranks.get(key, rank)) for key, rank in below.items()})
        self._in_doubt.resolve(key for key in late if key not in waits_s)

    async def delete_abandoned(self, document_id: str) -> float | None:
        """Delete a document's points below its manifest, if it has one.

        Returns the seconds after which to do so again, because a request in doubt may land until then; else None.
        """
        wait_s = self._in_doubt.waits_s((document_id,)).get(document_id)
        await self.delete_below(await self._read_ranks((document_id,)))
        if wait_s is None:
            self._in_doubt.resolve((document_id,))
        return wait_s

    async def delete_leftovers(self, write: DocumentWrite) -> None:
        """Before a dead letter: delete what attempts at this event have left outside the manifest.

        Waits until no request in doubt can land any more: a dead letter settles its record, and nothing may come after.
        """
        await self._delete_leftovers_once(write)
        wait_s = self._in_doubt.waits_s((write.event.document_id,)).get(write.event.document_id)
        if wait_s is not None:
            await self._in_doubt.sleep(wait_s)
            await self._delete_leftovers_once(write)
        self._in_doubt.resolve((write.event.document_id,))

    # --- probes and upkeep --------------------------------------------------------------------------------------

    async def canary(self) -> bool:
        """Whether an ordinary point passes now: written under a bookkeeping id, and deleted at once."""
        if await self._points.canary():
            await self._store.delete_ids(self._store.names.points, (CANARY_ID,))
            return True
        return False

    async def delete_expired_tombstones(self) -> None:
        """Delete the manifests of deleted documents whose time is over."""
        now_ms = self._clock_ms()

        def expired(which: Any) -> None:
            until = which.must.add().field
            until.key = TOMBSTONE_UNTIL
            until.range.lt = now_ms

        await self._store.delete(self._store.names.manifests, expired)

    # --- repair: what was found to be wrong, unless it has changed since ------------------------------------------

    async def delete_points(self, points: Mapping[str, Rank]) -> None:
        """Delete points by their ids, each unless it has become newer than the rank given."""
        await send_all(list(points.items()), lambda some: self._delete_found(self._store.names.points, some))

    async def delete_manifests(self, manifests: Mapping[str, Rank]) -> None:
        """Delete documents' manifests by their keys, each unless it has become newer than the rank given."""
        found = [(manifest_id(key), rank) for key, rank in manifests.items()]
        await send_all(found, lambda some: self._delete_found(self._store.names.manifests, some))

    async def _delete_found(self, collection: str, found: Sequence[tuple[str, Rank]]) -> None:
        ids_by_rank: dict[Rank, list[str]] = {}
        for point_id, rank in found:
            ids_by_rank.setdefault(rank, []).append(point_id)
        await self._store.delete(collection, lambda which: self._guards.add_not_newer(which, ids_by_rank))

    async def _delete_leftovers_once(self, write: DocumentWrite) -> None:
        key = write.event.document_id
        manifests = await self._store.get(self._store.names.manifests, [manifest_id(key)], (CHUNK_IDS,))
        listed = [
            item.string_value for manifest in manifests.values() for item in manifest[CHUNK_IDS].list_value.values
        ]
        await self._store.delete(
            self._store.names.points, lambda which: self._guards.add_leftovers(which, key, write.rank, listed)
        )
