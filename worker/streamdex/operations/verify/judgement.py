"""Judges one document: does the collection have what the log asks for, and no more? Pure.

A point that is newer than its manifest and comes from beyond the horizon is no difference: its writer is between two
steps. Nor is anything that a newer event than the folded ones explains.
"""

from dataclasses import dataclass
from enum import Enum

from streamdex.model import Manifest
from streamdex.operations.verify.differences import Difference, DifferenceKind, Report
from streamdex.operations.verify.evidence import (
    Evidence,
    Expectation,
    FoundPoint,
    Horizon,
    Unindexable,
    Where,
    event_order,
    place_of,
    same_event,
)


class Standing(Enum):
    """How far a document can be judged."""

    VERIFIED = "held against the log"
    UNVERIFIABLE = "its event is no longer in the log"
    BEYOND = "its event is beyond the horizon"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of one document: each difference by its kind, once for each chunk that it concerns."""

    standing: Standing
    kinds: tuple[DifferenceKind, ...]


def judge(evidence: Evidence, horizon: Horizon) -> Judgement:
    """Hold manifest and points against the log, and points against the manifest."""
    standing, kind = _judge_document(evidence, horizon)
    kinds = [kind] if kind else []
    kinds += [DifferenceKind.NOT_DEAD_LETTERED] * len(not_dead_lettered(evidence))
    if evidence.manifest is not None:
        kinds += _judge_points(evidence, evidence.manifest, horizon)
    elif standing is not Standing.UNVERIFIABLE:
        kinds += [DifferenceKind.EXTRA_CHUNK] * len(settled_points(evidence, horizon))
    return Judgement(standing, tuple(kinds))


def tell(report: Report, evidence: Evidence, judgement: Judgement) -> None:
    """Enter a document into the report."""
    report.documents += evidence.expected is not None or evidence.manifest is not None
    report.points += len(evidence.points)
    report.unverifiable += judgement.standing is Standing.UNVERIFIABLE
    report.beyond_horizon += judgement.standing is Standing.BEYOND
    if judgement.standing is not Standing.VERIFIED:
        report.not_repairable += len(judgement.kinds)
    place = _place(evidence)
    for kind in judgement.kinds:
        report.add(Difference(kind, evidence.document_key, place))


def not_dead_lettered(evidence: Evidence) -> list[Unindexable]:
    """The condemned events that must be dead letters and are not: those that no newer event has overtaken."""
    newest = [event_order(one.rank) for one in (evidence.expected, evidence.manifest) if one is not None]
    return [one for one in evidence.unindexable if all(event_order(one.rank) > other for other in newest)]


def settled_points(evidence: Evidence, horizon: Horizon) -> list[FoundPoint]:
    """The points without those that a writer has under way."""
    return [point for point in evidence.points if not _under_way(point, evidence.manifest, horizon)]


def _under_way(point: FoundPoint, manifest: Manifest | None, horizon: Horizon) -> bool:
    newer = manifest is None or point.rank > manifest.rank
    return newer and horizon.locate(point.position) is Where.BEYOND


def _judge_document(evidence: Evidence, horizon: Horizon) -> tuple[Standing, DifferenceKind | None]:
    manifest, asked = evidence.manifest, evidence.asked
    if manifest is None:
        return _judge_absent(evidence, horizon)
    deleted = manifest.tombstone_until_ms is not None
    if asked is not None:
        here, there = event_order(manifest.rank), event_order(asked.rank)
        if here == there:
            return Standing.VERIFIED, None if _same_content(manifest, asked, horizon) else DifferenceKind.WRONG_CONTENT
        if here < there:
            return Standing.VERIFIED, DifferenceKind.STALE_DOCUMENT
    where = horizon.locate(manifest.position)
    if where is Where.BELOW:
        return Standing.UNVERIFIABLE, None
    if where is Where.BEYOND:
        return Standing.BEYOND, None
    # A delete of which the log knows nothing any more: compaction drops those, and the records before them.
    forgotten = deleted and (asked is None or asked.deleted)
    return Standing.VERIFIED, None if forgotten else DifferenceKind.UNEXPECTED_DOCUMENT


def _judge_absent(evidence: Evidence, horizon: Horizon) -> tuple[Standing, DifferenceKind | None]:
    """Without a manifest: missing, rightly gone, or lost together with its events."""
    asked = evidence.asked
    if asked is None:
        lost = any(horizon.locate(point.position) is Where.BELOW for point in evidence.points)
        return (Standing.UNVERIFIABLE if lost else Standing.VERIFIED), None
    if asked.deleted:
        return Standing.VERIFIED, None
    if not horizon.from_start:
        return Standing.UNVERIFIABLE, None
    return Standing.VERIFIED, DifferenceKind.MISSING_DOCUMENT


def _same_content(manifest: Manifest, asked: Expectation, horizon: Horizon) -> bool:
    """Chunk ids are compared only where this deployment has cut the text: another one cuts it in another way."""
    same_cut = manifest.generation != horizon.generation or manifest.chunk_ids == asked.chunk_ids
    same_kind = asked.deleted == (manifest.tombstone_until_ms is not None)
    return same_cut and same_kind and manifest.content_hash == asked.content_hash


def _judge_points(evidence: Evidence, manifest: Manifest, horizon: Horizon) -> list[DifferenceKind]:
    found = {point.id for point in evidence.points}
    kinds = [DifferenceKind.MISSING_CHUNK for chunk_id in manifest.chunk_ids if chunk_id not in found]
    asked = evidence.asked
    if asked is not None and not same_event(asked.rank, manifest.rank):
        asked = None  # the points are held against the event that they were written from
    places = {chunk_id: place for place, chunk_id in enumerate(manifest.chunk_ids)}
    texts = dict(zip(asked.chunk_ids, asked.texts, strict=True)) if asked else {}
    for point in settled_points(evidence, horizon):
        if point.id not in places:
            kinds.append(DifferenceKind.EXTRA_CHUNK)
        elif not point.has_vector:
            kinds.append(DifferenceKind.MISSING_VECTOR)
        elif point.rank != manifest.rank:
            kinds.append(DifferenceKind.STALE_CHUNK)
        else:
            fits = (
                (point.place, point.chunks) == (places[point.id], len(places))
                and (asked is None or not set(asked.metadata).isdisjoint(point.metadata))
                and text_fits(point, texts.get(point.id))
            )
            kinds += [] if fits else [DifferenceKind.WRONG_PAYLOAD]
    return kinds


def text_fits(point: FoundPoint, expected: str | None) -> bool:
    """Whether a point holds its own text: the event's where this deployment has cut it, else one that its id allows."""
    return point.text_fits if expected is None else point.text == expected


def _place(evidence: Evidence) -> str:
    for one in (evidence.manifest, evidence.asked, *evidence.unindexable, *evidence.points):
        if one is not None and one.position is not None:
            return place_of(one.position)
    return ""
