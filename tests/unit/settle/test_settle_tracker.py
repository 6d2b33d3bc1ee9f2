"""The tracker: contiguity, gaps, double settlement, death."""

import pytest

from streamdex.model import Outcome, Partition
from streamdex.settle import Ticket, Tracker

P = Partition("documents", 3)


def tracker(start: int = 0) -> Tracker:
    return Tracker(P, start)


def test_a_new_tracker_commits_its_start() -> None:
    assert tracker(7).committable == 7
    assert tracker(7).span == 0
    assert tracker(7).settled_timestamp_ms is None


def test_an_open_record_holds_the_commit() -> None:
    t = tracker(5)
    t.open(5)
    t.open(6)
    assert t.committable == 5
    assert t.span == 2


def test_settled_in_order_moves_on() -> None:
    t = tracker()
    a, b = t.open(0), t.open(1)
    assert a.settle(Outcome.INDEXED)
    assert t.committable == 1
    assert b.settle(Outcome.DELETED)
    assert t.committable == 2


def test_settled_out_of_order_waits_for_the_lowest() -> None:
    t = tracker()
    a, b, c = t.open(0), t.open(1), t.open(2)
    c.settle(Outcome.INDEXED)
    b.settle(Outcome.INDEXED)
    assert t.committable == 0
    assert t.span == 3
    assert t.statistics().open_count == 1
    a.settle(Outcome.INDEXED)
    assert t.committable == 3
    assert t.span == 0


def test_gaps_between_records_are_passed() -> None:
    t = tracker(10)
    a, b = t.open(12), t.open(40)
    assert t.committable == 12  # nothing but holes lies between 10 and 12
    a.settle(Outcome.INDEXED)
    assert t.committable == 40
    b.settle(Outcome.INDEXED)
    assert t.committable == 41


def test_position_past_markers_counts_only_when_all_is_settled() -> None:
    t = tracker()
    a = t.open(0)
    t.advance(3)
    assert t.committable == 0
    a.settle(Outcome.INDEXED)
    assert t.committable == 3


def test_position_alone_moves_the_commit() -> None:
    t = tracker(4)
    t.advance(9)
    assert t.committable == 9
    assert t.settled_timestamp_ms is None


def test_a_lower_position_is_ignored() -> None:
    t = tracker(4)
    t.open(8).settle(Outcome.INDEXED)
    t.advance(2)
    assert t.committable == 9


@pytest.mark.parametrize("offset", [-1, 3, 4])
def test_offsets_below_the_position_are_refused(offset: int) -> None:
    t = tracker(4)
    t.open(4)
    with pytest.raises(ValueError, match="below the position"):
        t.open(offset)
    assert t.committable == 4


def test_an_offset_below_an_advanced_position_is_refused() -> None:
    t = tracker()
    t.advance(10)
    with pytest.raises(ValueError, match="below the position"):
        t.open(9)


def test_the_first_outcome_stands_and_the_second_is_told_once_each_time() -> None:
    told: list[tuple[Ticket, Outcome]] = []
    t = Tracker(P, 0, lambda ticket, outcome: told.append((ticket, outcome)))
    a = t.open(0)
    assert a.settle(Outcome.INDEXED)
    assert not a.settle(Outcome.DELETED)
    assert not a.settle(Outcome.INDEXED)
    assert told == [(a, Outcome.DELETED), (a, Outcome.INDEXED)]
    assert a.outcome is Outcome.INDEXED
    assert t.statistics().open_count == 0


def test_settling_twice_without_a_listener_changes_nothing() -> None:
    t = tracker()
    a, _ = t.open(0, 10), t.open(1, 10)
    a.settle(Outcome.INDEXED)
    assert not a.settle(Outcome.INDEXED)
    assert t.committable == 1
    assert t.statistics().open_bytes == 10


def test_a_dead_tracker_neither_moves_nor_opens() -> None:
    t = tracker()
    a = t.open(0)
    t.advance(5)
    t.kill()
    assert not a.alive
    assert not a.settle(Outcome.INDEXED)
    assert t.committable == 0
    t.advance(9)
    assert t.committable == 0
    with pytest.raises(ValueError, match="has ended"):
        t.open(1)


def test_killing_twice_is_safe_and_releases_what_is_open() -> None:
    t = tracker()
    t.open(0, 100)
    t.kill()
    t.kill()
    assert t.dead
    assert t.statistics().open_bytes == 0
    assert t.statistics().span == 0


def test_a_ticket_settled_before_and_after_death_is_still_told_as_settled_twice() -> None:
    told: list[Outcome] = []
    t = Tracker(P, 0, lambda _, outcome: told.append(outcome))
    a = t.open(0)
    a.settle(Outcome.INDEXED)
    t.kill()
    assert not a.settle(Outcome.INDEXED)
    assert told == [Outcome.INDEXED]


def test_statistics_count_records_and_bytes_and_tell_the_oldest() -> None:
    t = tracker()
    a = t.open(0, 100, 1_000)
    t.open(1, 50, 2_000)
    t.open(2, 25, 3_000).settle(Outcome.INDEXED)
    s = t.statistics()
    assert (s.open_count, s.open_bytes, s.span, s.position, s.oldest_open_ms) == (2, 150, 3, 3, 1_000)
    a.settle(Outcome.UNCHANGED)
    s = t.statistics()
    assert (s.open_count, s.open_bytes, s.span, s.committable, s.oldest_open_ms) == (1, 50, 2, 1, 2_000)


def test_the_settled_timestamp_is_that_of_the_record_just_below_the_commit() -> None:
    t = tracker()
    a, b, c = t.open(0, 0, 30), t.open(1, 0, 10), t.open(2, 0, 20)
    seen: list[int | None] = []
    for ticket in (b, a, c):
        ticket.settle(Outcome.INDEXED)
        seen.append(t.settled_timestamp_ms)
    assert seen == [None, 10, 20]


def test_a_ticket_knows_its_place() -> None:
    t = tracker(100)
    _, b = t.open(100), t.open(105)
    assert (b.offset, b.start, b.partition, b.span) == (105, 100, P, 2)


def test_a_ticket_shows_its_place_and_no_more() -> None:
    a = tracker().open(0)
    assert repr(a) == "Ticket(documents[3]@0, open)"
    a.settle(Outcome.SUPERSEDED)
    assert repr(a) == "Ticket(documents[3]@0, superseded)"
