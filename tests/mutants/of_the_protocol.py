"""Bugs in the write protocol: each of its rules taken out, and its steps in another order."""

from collections.abc import Callable
from typing import Any

from harness.protocol.world import World
from mutants import schedules
from mutants.mutant import Mutant, Plant, Planting, Wrong
from mutants.schedules import played
from streamdex.index import WriteJob
from streamdex.index.conditions import add, has_id, holds
from streamdex.index.in_doubt import InDoubtRequests
from streamdex.index.points import PointWriter
from streamdex.index.schema.keys import manifest_id
from streamdex.index.writer import Writer
from streamdex.model import DocumentWrite, Order, Outcome
from streamdex.run.dispatch import Dispatcher
from streamdex.run.document import Document, DocumentPath


def no_upsert_guard(plant: Planting) -> None:
    """A point is replaced whatever its rank."""
    plant.setattr(PointWriter, "_guard_points", lambda *_: None)


def no_payload_guard(plant: Planting) -> None:
    """A kept point's payload is changed whatever its rank."""
    plant.setattr(PointWriter, "_guard_payload", lambda _, which, change: add(which, must=(has_id(change.ids),)))


def no_manifest_guard(plant: Planting) -> None:
    """A manifest is replaced whatever its rank."""
    plant.setattr(Writer, "_guard_manifests", lambda *_: None)


def no_purge_bound(plant: Planting) -> None:
    """What this event does not list is deleted, whatever its rank."""

    async def purge(self: Writer, jobs: Any, *_: Any, **__: Any) -> dict[str, float]:
        for job in jobs:

            def choose(which: Any, job: Any = job) -> None:
                listed = has_id([chunk.id for chunk in job.write.chunks])
                add(which, must=(holds("document_id", job.document_id),), must_not=(listed,))

            await self._store.delete(self._store.names.points, choose)
        return {}

    plant.setattr(Writer, "_delete_older", purge)


def manifest_first(plant: Planting) -> None:
    """The manifest is written before the chunks that it lists."""
    shipped = Writer.write

    async def write(self: Writer, jobs: Any) -> Any:
        await self._write_manifests(jobs)
        return await shipped(self, jobs)

    plant.setattr(Writer, "write", write)


def no_kept_check(plant: Planting) -> None:
    """Whether kept chunks are still there is not looked at."""

    async def nothing(*_: Any) -> dict[str, tuple[str, ...]]:
        return {}

    plant.setattr(PointWriter, "vanished", nothing)


def no_manifest_read_back(plant: Planting) -> None:
    """The manifest's rank is taken to be the event's own."""

    async def own(_: Writer, jobs: Any) -> dict[str, Any]:
        return {job.document_id: job.write.rank for job in jobs}

    plant.setattr(Writer, "_found_ranks", own)


def no_sweep_when_superseded(plant: Planting) -> None:
    """An event that a newer one has overtaken settles without a purge."""
    _no_delete(plant, Outcome.SUPERSEDED)


def no_sweep_when_unchanged(plant: Planting) -> None:
    """An event that comes again settles without a purge."""
    _no_delete(plant, Outcome.UNCHANGED)


def _no_delete(plant: Planting, outcome: Outcome) -> None:
    shipped = Dispatcher._settle_known

    async def settle_known(self: Dispatcher, known: Any) -> None:
        for document, done in known:
            if done.outcome is outcome:
                self._settle(document, done.outcome)
                self._ended(document)
            else:
                await shipped(self, [(document, done)])

    plant.setattr(Dispatcher, "_settle_known", settle_known)


def no_horizon(plant: Planting) -> None:
    """A document settles although a request of it may land later."""
    plant.setattr(InDoubtRequests, "waits_s", lambda *_: {})


def skip_in_any_generation(plant: Planting) -> None:
    """The delete of step 5 is skipped for a new document in every generation."""

    def job(_: DocumentPath, document: Document, write: DocumentWrite) -> WriteJob:
        return WriteJob(write, document.vectors, document.metadata, write.before is None and not document.coalesced)

    plant.setattr(DocumentPath, "_write_job", job)


def replace_new_manifests(plant: Planting) -> None:
    """The manifest of a new document may replace another, and its purge is left out all the same."""

    def guard_manifests(self: Writer, guard: Any, jobs: Any) -> None:
        self._guards.add_write_guard(guard, {job.write.rank: [manifest_id(job.document_id)] for job in jobs})

    plant.setattr(Writer, "_guard_manifests", guard_manifests)


def _mutant(
    name: str, plant: Plant, schedule: Callable[[World], None], told: str, order: Order = Order.OFFSET
) -> Mutant:
    return Mutant(name, plant, schedule.__name__, played(schedule, order), Wrong.COLLECTION, told)


MISSING, LEFTOVER = "chunk 0 is missing", "leftover: 1"
MUTANTS = [
    _mutant("guard left out: points", no_upsert_guard, schedules.an_old_insert_arrives_after_the_new_one, MISSING),
    _mutant("guard left out: payloads", no_payload_guard, schedules.an_old_payload_arrives_after_the_new_one, MISSING),
    _mutant(
        "guard left out: manifests",
        no_manifest_guard,
        schedules.an_old_manifest_arrives_after_the_new_one,
        "manifest version",
    ),
    _mutant("purge without its bound", no_purge_bound, schedules.an_old_purge_arrives_after_the_new_chunks, MISSING),
    _mutant("manifest before the chunks", manifest_first, schedules.a_writer_dies_after_any_of_its_requests, MISSING),
    _mutant("kept check left out", no_kept_check, schedules.a_kept_chunk_vanishes, MISSING),
    _mutant(
        "manifest read-back left out",
        no_manifest_read_back,
        schedules.an_old_insert_arrives_after_the_new_purge,
        LEFTOVER,
    ),
    _mutant(
        "sweep left out when superseded",
        no_sweep_when_superseded,
        schedules.an_overtaken_writer_dies,
        LEFTOVER,
        Order.VERSION,
    ),
    _mutant(
        "sweep left out when unchanged", no_sweep_when_unchanged, schedules.a_writer_dies_before_its_purge, LEFTOVER
    ),
    _mutant("settled before the horizon", no_horizon, schedules.an_insert_that_was_given_up_lands_late, LEFTOVER),
    _mutant(
        "purge left out in any generation",
        skip_in_any_generation,
        schedules.a_new_deployment_takes_over_from_a_dead_one,
        LEFTOVER,
    ),
    _mutant(
        "purge left out in any generation, far on",
        skip_in_any_generation,
        schedules.a_new_deployment_takes_over_far_on,
        LEFTOVER,
    ),
    _mutant(
        "first manifest not inserted only",
        replace_new_manifests,
        schedules.two_partitions_have_a_new_document,
        LEFTOVER,
    ),
]
