"""Plans the repair of one document. Pure; each step is guarded by the rank that was found.

A document is left as it is when the log no longer holds its event, or when its event stands after the cut-off: then
nobody knows what it should be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamdex.model import Manifest, Position, Rank
from streamdex.operations.verify.compare import (
    Coverage,
    compare_document,
    missing_dead_letters,
    settled_points,
    text_fits,
)
from streamdex.operations.verify.differences import DifferenceKind
from streamdex.operations.verify.evidence import (
    Evidence,
    Expectation,
    FoldScope,
    FoundPoint,
    LogSide,
    Spot,
    Unindexable,
    event_order,
    same_event,
)

# These need no event to be written again.
_WITHOUT_WRITE = {DifferenceKind.EXTRA_CHUNK, DifferenceKind.NOT_DEAD_LETTERED}


@dataclass(frozen=True, slots=True)
class Write:
    """Write the event at `spot` again, with this rank. The points `kept` need no new vector."""

    spot: Spot
    rank: Rank
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Write a delete of a document that no event demands, with the rank and position of what is there."""

    rank: Rank
    position: Position


@dataclass(frozen=True, slots=True)
class RepairSteps:
    """The steps for one document, in this order. A step does nothing where something newer was written meanwhile.

    First the manifest is deleted if it still has the rank `delete_manifest_at`, then each point of `delete_points`, by
    id, that still has its rank. Then the write or the tombstone is done, and events that cannot be indexed become dead
    dead letters.
    """

    document_id: str
    delete_manifest_at: Rank | None
    delete_points: Mapping[str, Rank]
    write: Write | None
    tombstone: Tombstone | None
    dead_letters: tuple[Unindexable, ...]

    @property
    def spots(self) -> list[Spot]:
        """Where the records stand that these steps need."""
        return [*([self.write.spot] if self.write else ()), *(one.spot for one in self.dead_letters)]


def plan_repair(evidence: Evidence, scope: FoldScope) -> RepairSteps | None:
    """The steps; None where nothing is to be done, or nothing may be done."""
    findings = compare_document(evidence, scope)
    if not findings.kinds or findings.coverage is not Coverage.FOLDED:
        return None
    points, manifest, reference = settled_points(evidence, scope), evidence.manifest, evidence.reference
    kept: tuple[str, ...] = ()
    newer: Rank | None = None
    write: Write | None = None
    tombstone: Tombstone | None = None
    if reference is None:
        tombstone = _tombstone(manifest, points, scope)
    elif set(findings.kinds) <= _WITHOUT_WRITE:
        kept = manifest.chunk_ids if manifest else ()
    else:
        rank = _rank(manifest, reference)
        kept = tuple(point.id for point in points if _can_stay(point, reference, rank))
        write, newer = Write(reference.spot, rank, kept), _newer_rank(manifest, reference)
    delete = {point.id: point.rank for point in points if point.id not in kept}
    dead_letters = tuple(missing_dead_letters(evidence))
    return RepairSteps(evidence.document_id, newer, delete, write, tombstone, dead_letters)


def _rank(manifest: Manifest | None, reference: Expectation) -> Rank:
    """The event's rank, or that of a later generation that wrote the same event: the guards refuse a lower one."""
    if manifest is not None and same_event(manifest.rank, reference.rank):
        return max(manifest.rank, reference.rank)
    return reference.rank


def _newer_rank(manifest: Manifest | None, reference: Expectation) -> Rank | None:
    """The rank of a manifest whose event the log does not have. It would stand in the way of the older event."""
    if manifest is not None and event_order(manifest.rank) > event_order(reference.rank):
        return manifest.rank
    return None


def _can_stay(point: FoundPoint, reference: Expectation, rank: Rank) -> bool:
    """Whether a point can stay: the event has its text, it has a vector, and no guard would refuse to write it.

    Where the text was changed under its id, nobody knows of which text the vector is: such a point is written again.
    """
    if point.id not in reference.chunk_ids or not point.has_vector or point.rank > rank:
        return False
    return text_fits(point, reference.texts[reference.chunk_ids.index(point.id)])


def _tombstone(manifest: Manifest | None, points: Sequence[FoundPoint], scope: FoldScope) -> Tombstone | None:
    if manifest is not None:
        gone = manifest.tombstone_until_ms is not None
        return None if gone else Tombstone(manifest.rank, manifest.position)
    known = [
        (point.rank, point.position)
        for point in points
        if point.position is not None and scope.locate(point.position) is LogSide.WITHIN
    ]
    return Tombstone(*max(known)) if known else None
