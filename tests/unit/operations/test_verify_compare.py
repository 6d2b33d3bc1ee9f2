"""Each class of difference is found, and nothing else is called one."""

from dataclasses import replace

import pytest

from harness.verify_cases import SCOPE, event, manifest, point, points, position, rank, unindexable, whole, with_point
from streamdex.model import Manifest, Position
from streamdex.operations.verify.compare import Coverage, add_to_report, compare_document
from streamdex.operations.verify.differences import DifferenceKind, Report
from streamdex.operations.verify.evidence import Evidence


def kinds(evidence: Evidence) -> list[DifferenceKind]:
    return list(compare_document(evidence, SCOPE).kinds)


def coverage(evidence: Evidence) -> Coverage:
    return compare_document(evidence, SCOPE).coverage


@pytest.mark.parametrize("evidence", [whole(), whole(ids=()), whole(offset=2), whole(offset=99)])
def test_a_whole_document_has_no_difference(evidence: Evidence) -> None:
    assert compare_document(evidence, SCOPE).kinds == ()
    assert coverage(evidence) is Coverage.FOLDED


def test_the_same_event_cut_by_an_older_generation_is_no_difference() -> None:
    old = Manifest("1", rank(5, 1), position(5), ("z",), "content5", 1)
    found = point(5, "z", 0, 1)._replace(rank=rank(5, 1))
    assert kinds(Evidence("1", event(5), manifest=old, points=(found,))) == []


def test_a_missing_document() -> None:
    assert kinds(Evidence("1", event(5))) == [DifferenceKind.MISSING_DOCUMENT]


def test_a_document_whose_manifest_is_gone_is_missing_and_its_points_are_nobodys() -> None:
    assert kinds(replace(whole(), manifest=None)) == [
        DifferenceKind.MISSING_DOCUMENT,
        DifferenceKind.EXTRA_CHUNK,
        DifferenceKind.EXTRA_CHUNK,
    ]


def test_nothing_is_known_to_be_missing_where_reading_may_have_begun_at_the_end_of_the_log() -> None:
    latest = replace(SCOPE, from_start=False)
    assert compare_document(Evidence("1", event(5)), latest).coverage is Coverage.UNVERIFIABLE
    older = Evidence("1", event(6), manifest=manifest(5))
    assert compare_document(older, latest).kinds[0] is DifferenceKind.STALE_DOCUMENT


def test_a_deleted_document_needs_no_manifest() -> None:
    assert kinds(Evidence("1", event(5, ()))) == []
    assert kinds(Evidence("1", event(5, ()), points=(point(4, "x", 0),))) == [DifferenceKind.EXTRA_CHUNK]


def test_a_stale_document_has_the_points_of_its_own_event() -> None:
    old = Evidence("1", event(6, ("x",)), manifest=manifest(5), points=points(5))
    assert kinds(old) == [DifferenceKind.STALE_DOCUMENT]


def test_an_unexpected_document_before_the_cut_off() -> None:
    assert kinds(Evidence("1", manifest=manifest(5), points=points(5))) == [DifferenceKind.UNEXPECTED_DOCUMENT]
    assert kinds(Evidence("1", event(4), manifest=manifest(5), points=points(5))) == [
        DifferenceKind.UNEXPECTED_DOCUMENT
    ]


def test_a_delete_that_compaction_has_dropped_is_not_unexpected() -> None:
    assert kinds(Evidence("1", manifest=manifest(5, ()))) == []
    assert kinds(Evidence("1", event(4, ()), manifest=manifest(5, ()))) == []
    assert kinds(Evidence("1", event(4), manifest=manifest(5, ()))) == [DifferenceKind.UNEXPECTED_DOCUMENT]


@pytest.mark.parametrize("where", [position(1), position(5, epoch=9), position(5, topic="other")])
def test_what_lies_outside_the_log_is_unverifiable(where: Position) -> None:
    outside = manifest(1)._replace(position=where)
    alone = Evidence("1", manifest=outside, points=points(1))
    assert (coverage(alone), kinds(alone)) == (Coverage.UNVERIFIABLE, [])
    newer = manifest(1)._replace(position=where, rank=rank(50))
    assert coverage(Evidence("1", event(5), manifest=newer)) is Coverage.UNVERIFIABLE


def test_points_of_an_unverifiable_document_are_compared_with_its_manifest() -> None:
    below = Evidence("1", manifest=manifest(1), points=(point(1, "x", 0), point(1, "z", 1)))
    assert kinds(below) == [DifferenceKind.MISSING_CHUNK, DifferenceKind.EXTRA_CHUNK]
    report = Report()
    add_to_report(report, below, compare_document(below, SCOPE))
    assert (report.unverifiable, report.not_repairable, report.equal) == (1, 2, False)


def test_points_without_manifest_and_event() -> None:
    assert kinds(Evidence("1", points=points(5))) == [DifferenceKind.EXTRA_CHUNK, DifferenceKind.EXTRA_CHUNK]
    for lost in (position(1), None):  # their manifest may be lost, together with the log's beginning
        orphan = Evidence("1", points=(point(5, "x", 0)._replace(position=lost),))
        assert (coverage(orphan), kinds(orphan)) == (Coverage.UNVERIFIABLE, [])


def test_what_came_after_the_cut_off_is_no_difference() -> None:
    for folded in (None, event(5)):
        newer = Evidence("1", folded, manifest=manifest(100), points=points(100))
        assert (coverage(newer), kinds(newer)) == (Coverage.AFTER_CUT_OFF, [])


def test_points_of_a_write_under_way_are_no_difference() -> None:
    upserted = replace(whole(), points=(*points(5), point(100, "new", 0)))
    assert kinds(upserted) == []
    kept = replace(whole(), points=(point(100, "x", 1, 3), point(5, "y", 1)))
    assert kinds(kept) == []
    first = Evidence("1", points=(point(100, "new", 0),))
    assert kinds(first) == []


def test_a_newer_point_whose_event_is_not_after_the_cut_off_is_a_difference() -> None:
    wild = with_point(whole(), 0, rank=rank(100), position=None)
    assert kinds(wild) == [DifferenceKind.STALE_CHUNK]


@pytest.mark.parametrize(
    "wrong",
    [manifest(5)._replace(content_hash="other"), manifest(5, ("x",)), manifest(5)._replace(tombstone_until_ms=1)],
)
def test_wrong_content(wrong: Manifest) -> None:
    assert kinds(replace(whole(), manifest=wrong))[0] is DifferenceKind.WRONG_CONTENT


def test_a_missing_an_extra_and_a_stale_chunk() -> None:
    found = (point(5, "x", 0)._replace(rank=rank(4)), point(5, "left over", 0))
    assert kinds(replace(whole(), points=found)) == [
        DifferenceKind.MISSING_CHUNK,
        DifferenceKind.STALE_CHUNK,
        DifferenceKind.EXTRA_CHUNK,
    ]


def test_a_missing_vector() -> None:
    assert kinds(with_point(whole(), 1, has_vector=False)) == [DifferenceKind.MISSING_VECTOR]


@pytest.mark.parametrize("change", [{"text": "of another"}, {"metadata": ("n",)}, {"place": 1}, {"chunks": 3}])
def test_a_wrong_payload(change: dict[str, object]) -> None:
    assert kinds(with_point(whole(), 0, **change)) == [DifferenceKind.WRONG_PAYLOAD]


def test_a_text_that_was_cut_in_another_way_must_still_be_that_of_its_id() -> None:
    old = Manifest("1", rank(5, 1), position(5), ("z",), "content5", 1)
    found = point(5, "z", 0, 1)._replace(rank=rank(5, 1), text_fits=False)
    assert kinds(Evidence("1", event(5), manifest=old, points=(found,))) == [DifferenceKind.WRONG_PAYLOAD]


def test_what_cannot_be_indexed_must_be_a_dead_letter_unless_it_was_overtaken() -> None:
    assert kinds(replace(whole(5), unindexable=(unindexable(7),))) == [DifferenceKind.NOT_DEAD_LETTERED]
    assert kinds(replace(whole(5), unindexable=(unindexable(4),))) == []
    assert kinds(Evidence("1", unindexable=(unindexable(4), unindexable(7)))) == [DifferenceKind.NOT_DEAD_LETTERED] * 2
    overtaken_later = Evidence("1", manifest=manifest(100), points=points(100), unindexable=(unindexable(7),))
    assert kinds(overtaken_later) == []


def test_a_dead_lettered_event_may_have_been_indexed_after_all() -> None:
    passed = Evidence("1", event(5, ("x",)), (event(7),), (), manifest(7), points(7))
    assert kinds(passed) == []
    assert kinds(replace(passed, points=points(7)[:1])) == [DifferenceKind.MISSING_CHUNK]
    alone = Evidence("1", None, (event(7),), (), manifest(7), points(7))
    assert kinds(alone) == []


def test_a_dead_lettered_event_need_not_have_been_indexed() -> None:
    assert kinds(replace(whole(5), dead_lettered=(event(7, ("z",)),))) == []
    assert kinds(Evidence("1", dead_lettered=(event(7),))) == []


def test_an_older_dead_lettered_event_does_not_stand_in_for_a_newer_one() -> None:
    stale = Evidence("1", event(9), (event(7),), (), manifest(7), points(7))
    assert kinds(stale) == [DifferenceKind.STALE_DOCUMENT]


def test_the_report_counts_all_and_keeps_few_examples() -> None:
    report = Report()
    for offset in range(3, 13):
        evidence = Evidence(f"{offset}", event(offset, key=f"{offset}"))
        add_to_report(report, evidence, compare_document(evidence, SCOPE))
    add_to_report(report, whole(), compare_document(whole(), SCOPE))
    assert (report.documents, report.points, report.counts) == (11, 2, {DifferenceKind.MISSING_DOCUMENT: 10})
    assert [one.place for one in report.examples[DifferenceKind.MISSING_DOCUMENT]] == [f"t[0]@{n}" for n in range(3, 8)]
