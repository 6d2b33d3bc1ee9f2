"""Each class of difference is found, and nothing else is called one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.model import Manifest, Partition, Position, Rank
from worker.verify import Expectation, Fold, FoundPoint, Kind
from worker.verify.fold import Horizon

GENERATION = 3


def position(offset: int, epoch: int = 0) -> Position:
    return Position("t", 0, epoch, offset, 0)


def rank(offset: int, generation: int = GENERATION) -> Rank:
    return Rank((1_000 + offset) * 64 + generation)


def event(key: str, offset: int, ids: tuple[str, ...] = ("x", "y"), deleted: bool = False) -> Expectation:
    return Expectation(key, rank(offset), position(offset), deleted, ids, f"content{offset}", "m")


def manifest(key: str, offset: int, ids: tuple[str, ...] = ("x", "y"), content: str | None = None) -> Manifest:
    return Manifest(key, rank(offset), position(offset), ids, content or f"content{offset}", GENERATION)


def tombstone(key: str, offset: int) -> Manifest:
    return Manifest(key, rank(offset), position(offset), (), f"content{offset}", GENERATION, tombstone_until_ms=1)


def point(key: str, offset: int, chunk_id: str, place: int, chunks: int = 2, **changes: object) -> FoundPoint:
    whole = FoundPoint(chunk_id, key, rank(offset), place, chunks, True, "m")
    return whole._replace(**changes)  # type: ignore[arg-type]  # fields by name, as the tests give them


@pytest.fixture
def fold(tmp_path: Path) -> Iterator[Fold]:
    horizon = Horizon({Partition("t", 0): (2, 100)}, epoch=0, generation=GENERATION)
    with Fold(tmp_path / "fold", horizon) as opened:
        yield opened


def kinds(fold: Fold) -> dict[Kind, int]:
    return dict(fold.finish().counts)


def whole_document(fold: Fold, key: str = "s:1", offset: int = 5) -> None:
    fold.event(event(key, offset))
    fold.manifest(manifest(key, offset))
    fold.point(point(key, offset, "x", 0))
    fold.point(point(key, offset, "y", 1))


def test_an_equal_collection_has_no_difference(fold: Fold) -> None:
    whole_document(fold)
    fold.event(event("s:2", 7, (), deleted=True))
    fold.manifest(tombstone("s:2", 7))
    assert kinds(fold) == {}
    assert (fold.report.documents, fold.report.points, fold.report.equal) == (2, 2, True)


def test_the_newest_event_stands_in_whatever_order_it_is_read(fold: Fold) -> None:
    fold.event(event("s:1", 9))
    whole_document(fold, offset=11)
    fold.event(event("s:1", 10))
    assert kinds(fold) == {}


def test_the_same_event_cut_by_an_older_generation_is_no_difference(fold: Fold) -> None:
    fold.event(event("s:1", 5))
    fold.manifest(Manifest("s:1", rank(5, 1), position(5), ("z",), "content5", 1))
    fold.point(FoundPoint("z", "s:1", rank(5, 1), 0, 1, True, "m"))
    assert kinds(fold) == {}


def test_a_missing_document(fold: Fold) -> None:
    fold.event(event("s:1", 5))
    assert kinds(fold) == {Kind.MISSING_DOCUMENT: 1}


def test_a_deleted_document_may_be_forgotten(fold: Fold) -> None:
    fold.event(event("s:1", 5, (), deleted=True))
    assert kinds(fold) == {}


def test_a_stale_document(fold: Fold) -> None:
    whole_document(fold, offset=5)
    fold.event(event("s:1", 6))
    fold.manifest(manifest("s:1", 5))
    fold.point(point("s:1", 5, "x", 0))
    fold.point(point("s:1", 5, "y", 1))
    assert kinds(fold) == {Kind.STALE_DOCUMENT: 1}


def test_an_unexpected_document_within_the_horizon(fold: Fold) -> None:
    fold.manifest(manifest("s:1", 5, ()))
    assert kinds(fold) == {Kind.UNEXPECTED_DOCUMENT: 1}


@pytest.mark.parametrize("where", [position(1), position(5, epoch=9), Position("other", 0, 0, 5, 0)])
def test_what_lies_outside_the_log_is_unverifiable(fold: Fold, where: Position) -> None:
    fold.manifest(Manifest("s:1", rank(1), where, (), "c", GENERATION))
    assert kinds(fold) == {}
    assert fold.report.unverifiable == 1


def test_what_came_after_the_horizon_is_no_difference(fold: Fold) -> None:
    fold.event(event("s:1", 5))
    fold.manifest(manifest("s:1", 100, ()))
    fold.manifest(manifest("s:2", 101, ()))
    assert kinds(fold) == {}
    assert fold.report.beyond_horizon == 2


@pytest.mark.parametrize(
    "wrong",
    [manifest("s:1", 5, content="other"), manifest("s:1", 5, ("x",)), tombstone("s:1", 5)],
)
def test_wrong_content(fold: Fold, wrong: Manifest) -> None:
    fold.event(event("s:1", 5))
    fold.manifest(wrong)
    assert fold.report.counts == {Kind.WRONG_CONTENT: 1}


def test_a_missing_an_extra_and_a_stale_chunk(fold: Fold) -> None:
    fold.event(event("s:1", 5))
    fold.manifest(manifest("s:1", 5))
    fold.point(point("s:1", 5, "x", 0, rank=rank(4)))
    fold.point(point("s:1", 5, "left over", 0))
    fold.point(point("s:nobody", 5, "orphan", 0))
    assert kinds(fold) == {Kind.MISSING_CHUNK: 1, Kind.EXTRA_CHUNK: 2, Kind.STALE_CHUNK: 1}


@pytest.mark.parametrize("change", [{"text_fits": False}, {"metadata_digest": "n"}, {"place": 1}, {"chunks": 3}])
def test_a_wrong_payload(fold: Fold, change: dict[str, object]) -> None:
    fold.event(event("s:1", 5))
    fold.manifest(manifest("s:1", 5))
    fold.point(point("s:1", 5, "x", 0)._replace(**change))  # type: ignore[arg-type]  # fields by name
    fold.point(point("s:1", 5, "y", 1))
    assert kinds(fold) == {Kind.WRONG_PAYLOAD: 1}


def test_what_cannot_be_indexed_must_be_found_among_the_dead_letters(fold: Fold) -> None:
    fold.letter(position(3))
    fold.not_indexable(position(3))
    fold.not_indexable(position(4))
    assert kinds(fold) == {Kind.NOT_DEAD_LETTERED: 1}
    assert fold.report.examples[Kind.NOT_DEAD_LETTERED][0].place == "t[0]@4"
