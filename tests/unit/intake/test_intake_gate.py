"""Back-pressure: two marks for records and bytes, and what a revocation leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.intake import Gate
from worker.model import Partition

A, B = Partition("documents", 0), Partition("documents", 1)


def test_an_empty_gate_is_open() -> None:
    gate = Gate(64, 1000)
    assert not gate.paused(A)
    assert gate.statistics() == (0, 0, False)


def test_a_partition_pauses_before_its_bound_and_resumes_at_the_lower_mark() -> None:
    gate = Gate(64, 10**9)
    assert gate.chunk_records == 8
    taken = 0
    while not gate.paused(A):
        gate.took(A, gate.chunk_records, 0)
        taken += gate.chunk_records
    assert taken == 64  # never above the bound, whatever the chunks
    assert not gate.paused(B)
    gate.settled(A, 0, span=40)
    assert gate.paused(A)
    gate.settled(A, 0, span=28)
    assert not gate.paused(A)


def test_a_stuck_record_pauses_its_partition_though_all_behind_it_settle() -> None:
    gate = Gate(64, 10**9)
    for _ in range(8):
        gate.took(A, 8, 0)
    for _ in range(63):
        gate.settled(A, 0, span=64)
    assert gate.paused(A)


def test_bytes_pause_all_partitions_and_resume_at_half() -> None:
    gate = Gate(64, 1000)
    gate.took(A, 1, 600)
    assert not gate.paused(B)
    gate.took(B, 1, 400)
    assert gate.paused(A)
    assert gate.paused(B)
    gate.settled(A, 400, span=0)
    assert gate.paused(B)
    gate.settled(B, 100, span=0)
    assert not gate.paused(B)
    assert not gate.paused(A)


def test_a_revoked_partition_gives_back_its_bytes() -> None:
    gate = Gate(64, 1000)
    gate.took(A, 8, 900)
    gate.took(B, 8, 200)
    gate.revoked(A)
    assert not gate.paused(B)
    assert gate.statistics() == (8, 200, False)
    gate.revoked(A)
    gate.settled(A, 900, span=0)  # a late one of the ended assignment counts for nothing
    assert gate.statistics().open_bytes == 200


@pytest.mark.parametrize(("bound", "chunk"), [(1, 1), (7, 1), (64, 8), (4096, 256), (100_000, 256)])
def test_chunks_fit_the_bound(bound: int, chunk: int) -> None:
    assert Gate(bound, 1).chunk_records == chunk


@given(st.integers(1, 5000), st.lists(st.tuples(st.integers(0, 300), st.integers(1, 5000)), max_size=200))
def test_the_span_never_exceeds_the_bound(bound: int, steps: list[tuple[int, int]]) -> None:
    gate, span = Gate(bound, 10**9), 0
    for take, settle in steps:
        if not gate.paused(A):
            chunk = min(take, gate.chunk_records)
            gate.took(A, chunk, chunk)
            span += chunk
        assert span <= bound
        for _ in range(min(settle, span)):
            span -= 1
            gate.settled(A, 1, span)
        assert gate.statistics()[:2] == (span, span)
        assert span or not gate.paused(A)  # what is empty is open
