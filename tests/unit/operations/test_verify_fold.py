"""What the fold is given comes back as evidence, document by document, however much of it there is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.verify_cases import event, manifest, point, points, position, unindexable, whole
from streamdex.operations.verify.evidence import Evidence, NoEvent, Spot
from streamdex.operations.verify.fold import BATCH, Fold


@pytest.fixture
def fold(tmp_path: Path) -> Iterator[Fold]:
    with Fold(tmp_path / "fold") as opened:
        yield opened


def test_everything_of_a_document_comes_back(fold: Fold) -> None:
    everything = replace(
        whole(5), dead_lettered=(event(6), event(7, at=9)), unindexable=(unindexable(3), unindexable(8))
    )
    fold.add_event(event(5))
    for one in everything.dead_lettered:
        fold.add_dead_lettered(one)
    for refused in everything.unindexable:
        fold.add_unindexable(refused)
    fold.add_manifest(manifest(5))
    for found in points(5):
        fold.add_point(found)
    assert list(fold.evidence()) == [everything]
    topics = replace(everything, manifest=None, points=())
    assert fold.evidence_of(["1", "2"]) == [topics, Evidence("2")]


def test_the_newest_event_stands_in_whatever_order_it_is_read(fold: Fold) -> None:
    for offset in (9, 11, 10):
        fold.add_event(event(offset))
    assert [one.expected for one in fold.evidence()] == [event(11)]


def test_of_equal_events_the_later_record_stands(fold: Fold) -> None:
    fold.add_event(event(9))
    fold.add_event(event(9, at=40))
    assert [one.expected for one in fold.evidence()] == [event(9, at=40)]


def test_documents_come_in_the_order_of_their_keys_whatever_they_are_written_in(fold: Fold) -> None:
    keys = ["1", "", "z", "é", "\uffff", "\U0001f600", "a\x00b", "a"]
    for number, key in enumerate(keys):
        if number % 2:
            fold.add_event(event(5, key=key))
        fold.add_manifest(manifest(5, key=key))
        fold.add_point(point(5, "x", 0, key=key))
    found = list(fold.evidence())
    assert [one.document_id for one in found] == sorted(keys)
    assert all(one.manifest is not None and len(one.points) == 1 for one in found)


def test_more_rows_than_a_batch(fold: Fold) -> None:
    numbers = range(BATCH + 7)
    for number in numbers:
        fold.add_event(event(5, key=f"{number}"))
        fold.add_point(point(5, f"p{number}", 0, key=f"{number}"))
    found = list(fold.evidence())
    assert len(found) == len(numbers)
    assert all(one.expected is not None and len(one.points) == 1 for one in found)


def test_dead_letters_are_distinguished_by_position_and_replays(fold: Fold) -> None:
    assert not fold.is_dead_letter(position(3), 0)
    fold.add_dead_letter(position(3), 0)
    fold.add_dead_letter(position(3), 2)
    fold.add_dead_letter(position(3), 2)  # the acknowledgement was lost: it was written twice
    assert [fold.is_dead_letter(position(3), replays) for replays in range(4)] == [True, False, True, False]
    assert not fold.is_dead_letter(position(3, epoch=1), 0)
    assert not fold.is_dead_letter(position(4), 0)


def test_points_without_vector(fold: Fold) -> None:
    assert not fold.is_without_vector("x")
    fold.add_without_vector("x")
    assert fold.is_without_vector("x")
    assert not fold.is_without_vector("y")


def test_what_is_no_event(fold: Fold) -> None:
    records = [NoEvent(position(3), Spot("t", 0, 3)), NoEvent(position(4), Spot("t", 0, 44))]
    for record in records:
        fold.add_no_event(record)
    assert list(fold.no_events()) == records


def test_documents_that_differ_page_by_page(fold: Fold) -> None:
    for key in ("c", "a", "b", "a"):
        fold.add_differing(key)
    assert fold.count_differing() == 3
    assert fold.differing("", 2) == ["a", "b"]
    assert fold.differing("b", 2) == ["c"]
    assert fold.differing("c", 2) == []


def test_which_records_are_wanted_and_where_they_are(fold: Fold) -> None:
    assert fold.wanted_ranges() == {}
    fold.want(Spot("t", 0, 7), "1")
    fold.want(Spot("t", 0, 3), "")
    fold.want(Spot("u", 1, 9), "2")
    assert fold.wanted_ranges() == {("t", 0): (3, 8), ("u", 1): (9, 10)}
    assert [fold.wanted_by(Spot("t", 0, offset)) for offset in (3, 5, 7)] == ["", None, "1"]
