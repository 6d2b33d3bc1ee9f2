"""Which letter stands for a record, and which of them are wanted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamdex.deadletter import (
    MOST_REPLAYS,
    DeadLetterFacts,
    DeadLetterIndex,
    ListedDeadLetter,
    Stays,
    Wanted,
    why_it_stays,
)
from streamdex.model import Partition, Position

AT = Partition("documents.dlq", 0)


def dead_letter(
    offset: int, first: int, reason: str = "too_deep", replays: int = 0, document: str | None = None
) -> ListedDeadLetter:
    """The letter at an offset of its topic, for the record that stood at `first` in its own; it failed at that ms."""
    position = Position("documents", 0, 0, first, 1_700)
    facts = DeadLetterFacts(position, "decode", reason, "why it is", 1, first, "worker-1", replays)
    return ListedDeadLetter(*AT, offset, facts, document, 12, why_it_stays(facts, 1_000))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[DeadLetterIndex]:
    with DeadLetterIndex(tmp_path / "letters") as opened:
        yield opened


def shown(index: DeadLetterIndex, wanted: Wanted, most: int = 100) -> list[int]:
    return [each.offset for each in index.newest(wanted, most)]


def test_a_letter_comes_back_as_it_was(index: DeadLetterIndex) -> None:
    whole = dead_letter(7, 40, document="guide")
    index.add(whole)
    assert list(index.newest(Wanted(), 10)) == [whole]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_a_records_letters_the_last_replay_counts(index: DeadLetterIndex, order: tuple[int, ...]) -> None:
    dead_letters = [dead_letter(10 + replays, 40, replays=replays) for replays in range(3)]
    for number in order:
        index.add(dead_letters[number])
    assert shown(index, Wanted()) == [12]
    assert index.count(Wanted()) == {"too_deep": 1}
    assert [index.holds(Wanted(), AT, offset) for offset in (10, 11, 12)] == [False, False, True]
    assert index.ranges(Wanted()) == {AT: (12, 13)}


def test_of_a_letter_that_stands_there_twice_the_later_counts(index: DeadLetterIndex) -> None:
    index.add(dead_letter(10, 40))
    index.add(dead_letter(11, 40))
    assert shown(index, Wanted()) == [11]


def test_an_earlier_reason_is_forgotten_with_its_letter(index: DeadLetterIndex) -> None:
    index.add(dead_letter(10, 40, "too_many_tokens"))
    index.add(dead_letter(11, 40, "internal", replays=1))
    assert index.count(Wanted(reasons=("too_many_tokens",))) == {}


@pytest.mark.parametrize(
    ("wanted", "offsets"),
    [
        (Wanted(), [4, 3, 2, 1]),
        (Wanted(reasons=("no_id",)), [2]),
        (Wanted(reasons=("no_id", "internal")), [4, 2]),
        (Wanted(since_ms=20), [4, 3, 2]),
        (Wanted(until_ms=20), [1]),
        (Wanted(since_ms=20, until_ms=40), [3, 2]),
        (Wanted(document="a"), [3, 1]),
        (Wanted(document="1"), []),
        (Wanted(to_replay=True), [3, 2, 1]),
        (Wanted(reasons=("too_deep",), document="a", since_ms=20), [3]),
    ],
)
def test_filters_narrow_what_is_wanted(index: DeadLetterIndex, wanted: Wanted, offsets: list[int]) -> None:
    index.add(dead_letter(1, 10, document="a"))
    index.add(dead_letter(2, 20, "no_id"))
    index.add(dead_letter(3, 30, document="a"))
    index.add(dead_letter(4, 40, "internal", MOST_REPLAYS, "b"))
    assert shown(index, wanted) == offsets
    assert sum(index.count(wanted).values()) == len(offsets)
    assert [offset for offset in range(1, 5) if index.holds(wanted, AT, offset)] == offsets[::-1]
    expected = {AT: (offsets[-1], offsets[0] + 1)} if offsets else {}
    assert index.ranges(wanted) == expected


def test_the_newest_come_first_and_the_most_frequent_reason(index: DeadLetterIndex) -> None:
    for number in range(5):
        index.add(dead_letter(number, number, "no_id" if number % 2 else "too_deep"))
    assert shown(index, Wanted(), most=2) == [4, 3]
    assert list(index.count(Wanted()).items()) == [("too_deep", 3), ("no_id", 2)]


def test_those_that_stay_are_counted_by_why(index: DeadLetterIndex) -> None:
    index.add(dead_letter(1, 10, replays=MOST_REPLAYS))
    index.add(dead_letter(2, 20, replays=MOST_REPLAYS + 7))
    index.add(dead_letter(3, 30, "no_id", MOST_REPLAYS))
    index.add(dead_letter(4, 40))
    assert index.staying(Wanted()) == {"came back 3 times": 3}
    assert index.staying(Wanted(reasons=("no_id",))) == {"came back 3 times": 1}
    assert [each.stays for each in index.newest(Wanted(), 2)] == [None, Stays.CAME_BACK]


@pytest.mark.parametrize(
    ("changes", "unknown_before_ms", "stays"),
    [
        ({}, 0, None),
        ({}, 1_700, None),
        ({}, 1_701, Stays.OLD),
        ({"replays": MOST_REPLAYS - 1}, 0, None),
        ({"replays": MOST_REPLAYS}, 0, Stays.CAME_BACK),
        ({"misplaced": True}, 0, Stays.MISPLACED),
    ],
)
def test_what_must_not_be_replayed_stays(changes: dict[str, Any], unknown_before_ms: int, stays: Stays | None) -> None:
    assert why_it_stays(dead_letter(1, 10).facts._replace(**changes), unknown_before_ms) is stays
