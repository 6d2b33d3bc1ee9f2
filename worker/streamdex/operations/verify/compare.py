"""Compares one document: does the collection have what the topic demands, and no more? Pure.

A point that is newer than its manifest and whose event stands after the cut-off is no difference: its writer is
between two steps. Nothing is a difference either that an event after the cut-off explains.
"""

from dataclasses import dataclass
from enum import Enum

from streamdex.model import Manifest
from streamdex.operations.verify.differences import Difference, DifferenceKind, Report
from streamdex.operations.verify.evidence import (
    Evidence,
    Expectation,
    FoldScope,
    FoundPoint,
    LogSide,
    Unindexable,
    event_order,
    place_of,
    same_event,
)


class Coverage(Enum):
    """Whether the folded part of the log covers a document's event."""

    FOLDED = "its event was folded"
    UNVERIFIABLE = "its event is no longer in the log, or was never read"
    AFTER_CUT_OFF = "its event stands after the cut-off"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found of one document. A kind of difference occurs once for each chunk that it concerns."""

    coverage: Coverage
    kinds: tuple[DifferenceKind, ...]


def compare_document(evidence: Evidence, scope: FoldScope) -> Findings:
    """Compare manifest and points with the event, and points with the manifest."""
    coverage, kind = _compare_manifest(evidence, scope)
    kinds = [kind] if kind else []
    kinds += [DifferenceKind.NOT_DEAD_LETTERED] * len(missing_dead_letters(evidence))
    if evidence.manifest is not None:
        kinds += _compare_points(evidence, evidence.manifest, scope)
    elif coverage is not Coverage.UNVERIFIABLE:
        kinds += [DifferenceKind.EXTRA_CHUNK] * len(settled_points(evidence, scope))
    return Findings(coverage, tuple(kinds))


def add_to_report(report: Report, evidence: Evidence, findings: Findings) -> None:
    """Count a document and its differences."""
    report.documents += evidence.expected is not None or evidence.manifest is not None
    report.points += len(evidence.points)
    report.unverifiable += findings.coverage is Coverage.UNVERIFIABLE
    report.after_cut_off += findings.coverage is Coverage.AFTER_CUT_OFF
    if findings.coverage is not Coverage.FOLDED:
        report.not_repairable += len(findings.kinds)
    place = _place(evidence)
    for kind in findings.kinds:
        report.add(Difference(kind, evidence.document_id, place))


def missing_dead_letters(evidence: Evidence) -> list[Unindexable]:
    """The events that must be dead letters and are not: they cannot be indexed, and no newer event overtook them."""
    newest = [event_order(one.rank) for one in (evidence.expected, evidence.manifest) if one is not None]
    return [one for one in evidence.unindexable if all(event_order(one.rank) > other for other in newest)]


def settled_points(evidence: Evidence, scope: FoldScope) -> list[FoundPoint]:
    """The points without those of a write that is under way."""
    return [point for point in evidence.points if not _under_way(point, evidence.manifest, scope)]


def _under_way(point: FoundPoint, manifest: Manifest | None, scope: FoldScope) -> bool:
    newer = manifest is None or point.rank > manifest.rank
    return newer and scope.locate(point.position) is LogSide.AFTER


def _compare_manifest(evidence: Evidence, scope: FoldScope) -> tuple[Coverage, DifferenceKind | None]:
    manifest, reference = evidence.manifest, evidence.reference
    if manifest is None:
        return _compare_absent(evidence, scope)
    deleted = manifest.tombstone_until_ms is not None
    if reference is not None:
        here, there = event_order(manifest.rank), event_order(reference.rank)
        if here == there:
            return Coverage.FOLDED, None if _same_content(manifest, reference, scope) else DifferenceKind.WRONG_CONTENT
        if here < there:
            return Coverage.FOLDED, DifferenceKind.STALE_DOCUMENT
    where = scope.locate(manifest.position)
    if where is LogSide.BEFORE:
        return Coverage.UNVERIFIABLE, None
    if where is LogSide.AFTER:
        return Coverage.AFTER_CUT_OFF, None
    # Compaction drops deletes, and the records before them: then the log has nothing more of a deleted document.
    compacted = deleted and (reference is None or reference.deleted)
    return Coverage.FOLDED, None if compacted else DifferenceKind.UNEXPECTED_DOCUMENT


def _compare_absent(evidence: Evidence, scope: FoldScope) -> tuple[Coverage, DifferenceKind | None]:
    """A document without a manifest is missing, rightly deleted, or lost together with its events."""
    reference = evidence.reference
    if reference is None:
        lost = any(scope.locate(point.position) is LogSide.BEFORE for point in evidence.points)
        return (Coverage.UNVERIFIABLE if lost else Coverage.FOLDED), None
    if reference.deleted:
        return Coverage.FOLDED, None
    if not scope.from_start:
        return Coverage.UNVERIFIABLE, None
    return Coverage.FOLDED, DifferenceKind.MISSING_DOCUMENT


def _same_content(manifest: Manifest, reference: Expectation, scope: FoldScope) -> bool:
    """Chunk ids are compared only where this deployment cut the text: another generation cuts it in another way."""
    same_cut = manifest.generation != scope.generation or manifest.chunk_ids == reference.chunk_ids
    same_kind = reference.deleted == (manifest.tombstone_until_ms is not None)
    return same_cut and same_kind and manifest.content_hash == reference.content_hash


def _compare_points(evidence: Evidence, manifest: Manifest, scope: FoldScope) -> list[DifferenceKind]:
    found = {point.id for point in evidence.points}
    kinds = [DifferenceKind.MISSING_CHUNK for chunk_id in manifest.chunk_ids if chunk_id not in found]
    reference = evidence.reference
    if reference is not None and not same_event(reference.rank, manifest.rank):
        reference = None  # points are compared with the event that they were written from
    places = {chunk_id: place for place, chunk_id in enumerate(manifest.chunk_ids)}
    texts = dict(zip(reference.chunk_ids, reference.texts, strict=True)) if reference else {}
    for point in settled_points(evidence, scope):
        if point.id not in places:
            kinds.append(DifferenceKind.EXTRA_CHUNK)
        elif not point.has_vector:
            kinds.append(DifferenceKind.MISSING_VECTOR)
        elif point.rank != manifest.rank:
            kinds.append(DifferenceKind.STALE_CHUNK)
        else:
            fits = (
                (point.place, point.chunks) == (places[point.id], len(places))
                and (reference is None or not set(reference.metadata).isdisjoint(point.metadata))
                and text_fits(point, texts.get(point.id))
            )
            kinds += [] if fits else [DifferenceKind.WRONG_PAYLOAD]
    return kinds


def text_fits(point: FoundPoint, expected: str | None) -> bool:
    """Whether a point has the right text: the expected one, or where none is given, one that its id allows."""
    return point.text_fits if expected is None else point.text == expected


def _place(evidence: Evidence) -> str:
    for one in (evidence.manifest, evidence.reference, *evidence.unindexable, *evidence.points):
        if one is not None and one.position is not None:
            return place_of(one.position)
    return ""
