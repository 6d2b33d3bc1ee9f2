"""The ledger: assignments fenced by identity, what moved, what was noted."""

from prometheus_client import generate_latest

from streamdex.model import Outcome, Partition
from streamdex.settle import Ledger, settled_twice_reporter
from streamdex.telemetry import Metrics

A, B = Partition("documents", 0), Partition("documents", 1)


def test_unknown_partitions_have_no_tracker_and_may_be_revoked() -> None:
    ledger = Ledger()
    ledger.revoke([A])
    assert ledger.tracker(A) is None
    assert ledger.marks() == {}
    assert ledger.partitions == ()


def test_the_start_counts_as_moved_until_it_is_noted() -> None:
    ledger = Ledger()
    ledger.assign(A, 5)
    assert {p: m.offset for p, m in ledger.moved().items()} == {A: 5}
    ledger.noted(ledger.marks().values())
    assert ledger.moved() == {}
    assert ledger.marks()[A].offset == 5


def test_what_moved_is_told_until_it_is_noted() -> None:
    ledger = Ledger()
    tracker = ledger.assign(A, 5)
    ledger.assign(B, 0)
    tracker.open(5, 0, 77).settle(Outcome.INDEXED)
    moved = ledger.moved()
    assert {p: (m.offset, m.timestamp_ms) for p, m in moved.items()} == {A: (6, 77), B: (0, None)}
    ledger.noted(moved.values())
    assert ledger.moved() == {}


def test_noting_an_older_mark_later_does_not_go_back() -> None:
    ledger = Ledger()
    tracker = ledger.assign(A, 0)
    tracker.open(0).settle(Outcome.INDEXED)
    older = ledger.moved()
    tracker.open(1).settle(Outcome.INDEXED)
    ledger.noted(ledger.moved().values())
    ledger.noted(older.values())
    assert ledger.moved() == {}


def test_a_new_assignment_kills_the_old_tracker() -> None:
    ledger = Ledger()
    old = ledger.assign(A, 0)
    ticket = old.open(0)
    new = ledger.assign(A, 0)
    assert old.dead
    assert not ticket.alive
    assert ledger.tracker(A) is new
    assert not ticket.settle(Outcome.INDEXED)
    assert ledger.marks()[A].offset == 0


def test_marks_of_a_dead_tracker_are_neither_living_nor_noted() -> None:
    ledger = Ledger()
    ledger.assign(A, 0).open(0).settle(Outcome.INDEXED)
    stale = ledger.moved()
    ledger.revoke([A])
    assert ledger.living(stale.values()) == {}
    again = ledger.assign(A, 0)
    ledger.noted(stale.values())
    again.open(0).settle(Outcome.INDEXED)
    assert ledger.moved()[A].offset == 1  # the stale note would have hidden it


def test_statistics_over_all_partitions() -> None:
    ledger = Ledger()
    ledger.assign(A, 0).open(0, 10, 5_000)
    ledger.assign(B, 0).open(0, 20, 3_000)
    s = ledger.statistics(now_ms=10_000)
    assert (s.partitions, s.open_records, s.open_bytes, s.oldest_open_s) == (2, 2, 30, 7.0)


def test_statistics_when_nothing_is_open_or_clocks_differ() -> None:
    ledger = Ledger()
    assert ledger.statistics(now_ms=10_000).oldest_open_s == 0
    ledger.assign(A, 0).open(0, 10, 20_000)
    assert ledger.statistics(now_ms=10_000).oldest_open_s == 0


def test_what_is_settled_and_not_committed_is_counted_by_partition() -> None:
    ledger = Ledger()
    a, b = ledger.assign(A, 100), ledger.assign(B, 0)
    assert ledger.uncommitted([A, B]) == 0
    for tracker, offsets in ((a, (100, 101)), (b, (0, 4))):
        for offset in offsets:
            tracker.open(offset).settle(Outcome.INDEXED)
    a.open(102)
    assert (ledger.uncommitted([A]), ledger.uncommitted([B]), ledger.uncommitted([A, B])) == (2, 5, 7)
    ledger.noted([ledger.marks()[A]])
    assert ledger.uncommitted([A, B]) == 5
    ledger.revoke([B])
    assert ledger.uncommitted([A, B]) == 0


def test_settled_twice_is_counted() -> None:
    metrics = Metrics()
    ledger = Ledger(settled_twice_reporter(metrics))
    ticket = ledger.assign(A, 0).open(0)
    ticket.settle(Outcome.INDEXED)
    ticket.settle(Outcome.INDEXED)
    ticket.settle(Outcome.DELETED)
    assert b"streamdex_internal_faults_total 2.0" in generate_latest(metrics.registry)
