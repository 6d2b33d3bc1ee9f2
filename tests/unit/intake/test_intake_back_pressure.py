"""Back-pressure: two marks for records and bytes, and what a revocation leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdex.intake import BackPressure
from streamdex.model import Partition

A, B = Partition("documents", 0), Partition("documents", 1)


def test_an_empty_gate_is_open() -> None:
    back_pressure = BackPressure(64, 1000)
    assert not back_pressure.paused(A)
    assert back_pressure.statistics() == (0, 0, False)


def test_a_partition_pauses_before_its_bound_and_resumes_at_the_lower_mark() -> None:
    back_pressure = BackPressure(64, 10**9)
    assert back_pressure.chunk_records == 8
    taken = 0
    while not back_pressure.paused(A):
        back_pressure.accepted(A, back_pressure.chunk_records, 0)
        taken += back_pressure.chunk_records
    assert taken == 64  # never above the bound, whatever the chunks
    assert not back_pressure.paused(B)
    back_pressure.settled(A, 0, span=40)
    assert back_pressure.paused(A)
    back_pressure.settled(A, 0, span=28)
    assert not back_pressure.paused(A)


def test_a_stuck_record_pauses_its_partition_though_all_behind_it_settle() -> None:
    back_pressure = BackPressure(64, 10**9)
    for _ in range(8):
        back_pressure.accepted(A, 8, 0)
    for _ in range(63):
        back_pressure.settled(A, 0, span=64)
    assert back_pressure.paused(A)


def test_bytes_pause_all_partitions_and_resume_at_half() -> None:
    back_pressure = BackPressure(64, 1000)
    back_pressure.accepted(A, 1, 600)
    assert not back_pressure.paused(B)
    back_pressure.accepted(B, 1, 400)
    assert back_pressure.paused(A)
    assert back_pressure.paused(B)
    back_pressure.settled(A, 400, span=0)
    assert back_pressure.paused(B)
    back_pressure.settled(B, 100, span=0)
    assert not back_pressure.paused(B)
    assert not back_pressure.paused(A)


def test_a_revoked_partition_gives_back_its_bytes() -> None:
    back_pressure = BackPressure(64, 1000)
    back_pressure.accepted(A, 8, 900)
    back_pressure.accepted(B, 8, 200)
    back_pressure.revoked(A)
    assert not back_pressure.paused(B)
    assert back_pressure.statistics() == (8, 200, False)
    back_pressure.revoked(A)
    back_pressure.settled(A, 900, span=0)  # a late one of the ended assignment counts for nothing
    assert back_pressure.statistics().open_bytes == 200


@pytest.mark.parametrize(("bound", "chunk"), [(1, 1), (7, 1), (64, 8), (4096, 256), (100_000, 256)])
def test_chunks_fit_the_bound(bound: int, chunk: int) -> None:
    assert BackPressure(bound, 1).chunk_records == chunk


@given(st.integers(1, 5000), st.lists(st.tuples(st.integers(0, 300), st.integers(1, 5000)), max_size=200))
def test_the_span_never_exceeds_the_bound(bound: int, steps: list[tuple[int, int]]) -> None:
    back_pressure, span = BackPressure(bound, 10**9), 0
    for take, settle in steps:
        if not back_pressure.paused(A):
            chunk = min(take, back_pressure.chunk_records)
            back_pressure.accepted(A, chunk, chunk)
            span += chunk
        assert span <= bound
        for _ in range(min(settle, span)):
            span -= 1
            back_pressure.settled(A, 1, span)
        assert back_pressure.statistics()[:2] == (span, span)
        assert span or not back_pressure.paused(A)  # what is empty is open
