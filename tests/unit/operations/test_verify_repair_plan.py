"""What is planned for a damaged document, and what is left alone."""

from dataclasses import replace

import pytest

from harness.verify_cases import SCOPE, event, manifest, point, points, position, rank, unindexable, whole, with_point
from streamdex.model import Manifest
from streamdex.operations.verify.evidence import Evidence, Spot
from streamdex.operations.verify.repair_plan import RepairSteps, Tombstone, Write, plan_repair


def fix(evidence: Evidence) -> RepairSteps:
    planned = plan_repair(evidence, SCOPE)
    assert planned is not None
    return planned


SPOT = Spot("t", 0, 5)


@pytest.mark.parametrize(
    "evidence",
    [
        whole(),
        Evidence("1", manifest=manifest(1), points=points(1)[:1]),  # below the log's start, and damaged
        Evidence("1", manifest=manifest(100), points=points(100)[:1]),  # after the cut-off, and damaged
        Evidence("1", points=(point(1, "x", 0),)),  # its manifest is lost, and its event as well
        Evidence("1", points=(point(100, "x", 0),)),  # its writer has not come to the manifest yet
    ],
)
def test_what_is_whole_under_way_or_unverifiable_is_left_alone(evidence: Evidence) -> None:
    assert plan_repair(evidence, SCOPE) is None


def test_a_missing_document_is_written_from_its_record() -> None:
    replayed = Evidence("1", event(5, at=40))
    assert fix(replayed) == RepairSteps("1", None, {}, Write(Spot("t", 0, 40), rank(5), ()), None, ())


def test_a_lost_manifest_costs_no_vector() -> None:
    planned = fix(replace(whole(), manifest=None))
    assert planned.write == Write(SPOT, rank(5), ("x", "y"))
    assert planned.delete_points == {}


def test_what_the_manifest_claims_does_not_count() -> None:
    planned = fix(replace(whole(), points=points(5)[1:]))
    assert planned.write == Write(SPOT, rank(5), ("y",))


def test_a_point_without_vector_or_with_another_text_is_written_again() -> None:
    for change in ({"has_vector": False}, {"text": "of another"}):
        planned = fix(with_point(whole(), 0, **change))
        assert planned.write == Write(SPOT, rank(5), ("y",))
        assert planned.delete_points == {"x": rank(5)}


def test_a_point_with_another_place_metadata_or_older_rank_keeps_its_vector() -> None:
    for change in ({"place": 1}, {"metadata": ("n",)}, {"rank": rank(3)}):
        assert fix(with_point(whole(), 0, **change)).write == Write(SPOT, rank(5), ("x", "y"))


def test_a_point_that_claims_to_be_newer_is_deleted_at_its_own_rank() -> None:
    planned = fix(with_point(whole(), 0, rank=rank(500), position=None))
    assert planned.delete_points == {"x": rank(500)}
    assert planned.write == Write(SPOT, rank(5), ("y",))


def test_an_extra_point_alone_is_deleted_and_nothing_is_written() -> None:
    planned = fix(replace(whole(), points=(*points(5), point(4, "old", 0), point(5, "left over", 0))))
    assert planned == RepairSteps("1", None, {"old": rank(4), "left over": rank(5)}, None, None, ())


def test_an_extra_point_does_not_cost_the_chunks_of_another_generation() -> None:
    old = Manifest("1", rank(5, 1), position(5), ("z",), "content5", 1)
    own = point(5, "z", 0, 1)._replace(rank=rank(5, 1))
    planned = fix(Evidence("1", event(5), manifest=old, points=(own, point(4, "left over", 0))))
    assert planned == RepairSteps("1", None, {"left over": rank(4)}, None, None, ())


def test_a_point_that_a_writer_has_under_way_is_not_deleted() -> None:
    planned = fix(replace(whole(), points=(*points(5), point(4, "old", 0), point(100, "new", 0))))
    assert planned.delete_points == {"old": rank(4)}


def test_a_document_of_a_later_generation_keeps_its_rank() -> None:
    later = rank(5, 9)
    newer = Manifest("1", later, position(5), ("z",), "content5", 9)
    found = point(5, "x", 0)._replace(rank=later)
    planned = fix(Evidence("1", event(5), manifest=newer, points=(found,)))
    assert planned.write == Write(SPOT, later, ("x",))


def test_an_unexpected_document_becomes_a_tombstone_at_its_rank() -> None:
    planned = fix(Evidence("1", manifest=manifest(5), points=points(5)))
    tombstone = Tombstone(rank(5), position(5))
    assert planned == RepairSteps("1", None, {"x": rank(5), "y": rank(5)}, None, tombstone, ())


def test_points_of_nobody_become_a_tombstone_at_the_highest_rank() -> None:
    planned = fix(Evidence("1", points=(point(5, "x", 0), point(9, "y", 0), point(7, "z", 0))))
    assert planned.tombstone == Tombstone(rank(9), position(9))
    assert planned.delete_points == {"x": rank(5), "y": rank(9), "z": rank(7)}


def test_points_beside_a_tombstone_are_deleted_and_the_tombstone_stays() -> None:
    planned = fix(Evidence("1", manifest=manifest(5, ()), points=(point(4, "x", 0),)))
    assert planned == RepairSteps("1", None, {"x": rank(4)}, None, None, ())


def test_an_event_that_the_log_does_not_have_makes_room_for_the_one_that_it_has() -> None:
    planned = fix(Evidence("1", event(5), manifest=manifest(9), points=points(9)))
    assert planned.delete_manifest_at == rank(9)
    assert planned.delete_points == {"x": rank(9), "y": rank(9)}
    assert planned.write == Write(SPOT, rank(5), ())


def test_a_lost_delete_is_written_again_when_something_is_left() -> None:
    left = Evidence("1", event(5, ()), manifest=manifest(4), points=points(4))
    planned = fix(left)
    assert planned.write == Write(SPOT, rank(5), ())
    assert planned.delete_points == {"x": rank(4), "y": rank(4)}


def test_an_event_that_cannot_be_indexed_needs_its_record_for_the_dead_letter() -> None:
    planned = fix(replace(whole(5), unindexable=(unindexable(7), unindexable(4))))
    assert planned == RepairSteps("1", None, {}, None, None, (unindexable(7),))
    assert planned.spots == [Spot("t", 0, 7)]


def test_a_dead_lettered_event_that_was_indexed_is_repaired_as_it_is() -> None:
    passed = Evidence("1", event(5), (event(7),), (), manifest(7), points(7)[:1])
    assert fix(passed).write == Write(Spot("t", 0, 7), rank(7), ("x",))
