"""What would make one document as the log asks for it. Pure; each step is guarded by the rank that was found.

A document whose event the log no longer holds, or that was written from beyond the horizon, is left as it is: nothing
is known of what it should be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamdex.model import Position, Rank
from streamdex.operations.verify.differences import DifferenceKind
from streamdex.operations.verify.evidence import (
    Evidence,
    Expectation,
    FoundPoint,
    Horizon,
    Spot,
    Unindexable,
    Where,
    event_order,
    same_event,
)
from streamdex.operations.verify.judgement import Standing, judge, not_dead_lettered, settled_points, text_fits

_POINTS_ALONE = frozenset(
    (DifferenceKind.EXTRA_CHUNK, DifferenceKind.NOT_DEAD_LETTERED)
)  # what needs no event to be written again


@dataclass(frozen=True, slots=True)
class Write:
    """Write the event at `spot` again, with this rank. `kept` are the points that need no new vector."""

    spot: Spot
    rank: Rank
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Nothing in the log asks for the document: write a delete of it, with the rank and position of what is there."""

    rank: Rank
    position: Position


@dataclass(frozen=True, slots=True)
class RepairSteps:
    """The steps for one document, in this order. A step does nothing where something newer has come meanwhile.

    `forget`: remove the manifest, when it has still this rank. `remove`: delete points, by id, that still have their
    rank. Then the write or the tombstone, and dead letters for events that cannot be indexed.
    """

    document_key: str
    forget: Rank | None
    remove: Mapping[str, Rank]
    write: Write | None
    tombstone: Tombstone | None
    dead_letters: tuple[Unindexable, ...]

    @property
    def spots(self) -> list[Spot]:
        """The records that it takes."""
        return [*([self.write.spot] if self.write else ()), *(one.spot for one in self.dead_letters)]


def plan_repair(evidence: Evidence, horizon: Horizon) -> RepairSteps | None:
    """What to do, None where there is nothing to do or nothing that may be done."""
    judgement = judge(evidence, horizon)
    if not judgement.kinds or judgement.standing is not Standing.VERIFIED:
        return None
    points = settled_points(evidence, horizon)
    dead_letters = tuple(not_dead_lettered(evidence))
    asked = evidence.asked
    if asked is None:
        tombstone = _tombstone(evidence, points, horizon)
        remove = {point.id: point.rank for point in points}
        return RepairSteps(evidence.document_key, None, remove, None, tombstone, dead_letters)
    if set(judgement.kinds) <= _POINTS_ALONE:
        listed = evidence.manifest.chunk_ids if evidence.manifest else ()
        remove = {point.id: point.rank for point in points if point.id not in listed}
        return RepairSteps(evidence.document_key, None, remove, None, None, dead_letters)
    rank = _rank(evidence, asked)
    kept = tuple(point.id for point in points if _good(point, asked, rank))
    remove = {point.id: point.rank for point in points if point.id not in kept}
    write = Write(asked.spot, rank, kept)
    return RepairSteps(evidence.document_key, _forget(evidence, asked), remove, write, None, dead_letters)


def _rank(evidence: Evidence, asked: Expectation) -> Rank:
    """The event's rank, or that of a later generation which has written the same event: a guard would refuse less."""
    manifest = evidence.manifest
    if manifest is not None and same_event(manifest.rank, asked.rank):
        return max(manifest.rank, asked.rank)
    return asked.rank


def _good(point: FoundPoint, asked: Expectation, rank: Rank) -> bool:
    """Whether a point can stay: the event has its text, it has a vector, and no guard would refuse to write it.

    A text that was changed under its id tells nothing of the vector, so such a point is made anew.
    """
    if point.id not in asked.chunk_ids or not point.has_vector or point.rank > rank:
        return False
    return text_fits(point, asked.texts[asked.chunk_ids.index(point.id)])


def _forget(evidence: Evidence, asked: Expectation) -> Rank | None:
    """A manifest of an event that the log does not have stands in the way of the older one that it has."""
    manifest = evidence.manifest
    if manifest is not None and event_order(manifest.rank) > event_order(asked.rank):
        return manifest.rank
    return None


def _tombstone(evidence: Evidence, points: Sequence[FoundPoint], horizon: Horizon) -> Tombstone | None:
    manifest = evidence.manifest
    if manifest is not None:
        gone = manifest.tombstone_until_ms is not None
        return None if gone else Tombstone(manifest.rank, manifest.position)
    known = [
        (point.rank, point.position)
        for point in points
        if point.position is not None and horizon.locate(point.position) is Where.WITHIN
    ]
    return Tombstone(*max(known)) if known else None
