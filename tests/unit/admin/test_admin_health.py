"""Alive and ready, decided: an outage never makes a worker look dead, a stall does."""

from dataclasses import replace

import pytest

from streamdex.admin import HealthSnapshot, Phase, unready_reasons
from streamdex.admin.health import FLOW_STALL_S, INTAKE_STALL_S, LONGEST_GAP_S, StallDetector

WELL = HealthSnapshot(Phase.RUNNING, partitions=2)
LONG_S = 2 * max(FLOW_STALL_S, INTAKE_STALL_S)


def observed(*spans: tuple[HealthSnapshot, float], moving: bool = True) -> StallDetector:
    """A detector that observed each of these every second for so many seconds; Kafka is polled if `moving`."""
    stalls, now_s = StallDetector(), 1000.0
    for snapshot, seconds in spans:
        for _ in range(int(seconds)):
            now_s += 1
            stalls.observe(replace(snapshot, intake_mark=now_s) if moving else snapshot, now_s)
    return stalls


def test_a_worker_at_work_is_ready() -> None:
    assert unready_reasons(WELL) == {}
    assert observed((WELL, LONG_S)).stall() is None


@pytest.mark.parametrize(
    ("snapshot", "name"),
    [
        (HealthSnapshot(Phase.STARTING), "worker"),
        (HealthSnapshot(Phase.STOPPING, partitions=2), "worker"),
        (HealthSnapshot(Phase.RUNNING, partitions=0), "partitions"),
        (HealthSnapshot(Phase.RUNNING, partitions=2, held={"jina": "no balance"}), "jina"),
    ],
)
def test_what_keeps_it_from_its_work_makes_it_not_ready(snapshot: HealthSnapshot, name: str) -> None:
    assert list(unready_reasons(snapshot)) == [name]


def test_all_reasons_are_told_at_once() -> None:
    starting = HealthSnapshot(Phase.STARTING, held={"qdrant": "unavailable", "kafka": "no broker"})
    assert unready_reasons(starting).keys() == {"worker", "qdrant", "kafka"}


def test_waiting_for_services_at_the_start_is_no_stall() -> None:
    starting = HealthSnapshot(Phase.STARTING, held={"kafka": "no broker"})
    assert observed((starting, LONG_S), moving=False).stall() is None


def test_an_outage_is_no_stall_however_long() -> None:
    held = HealthSnapshot(Phase.RUNNING, partitions=2, open_records=100, held={"jina": "503"})
    assert observed((held, LONG_S)).stall() is None


def test_an_idle_worker_has_not_stalled() -> None:
    assert observed((WELL, LONG_S)).stall() is None


def test_an_intake_that_neither_polls_nor_connects_has_stalled() -> None:
    assert observed((WELL, INTAKE_STALL_S), moving=False).stall() is None
    assert "Kafka" in str(observed((WELL, INTAKE_STALL_S + 2), moving=False).stall())


def test_a_poll_ends_the_stall() -> None:
    stalls = observed((WELL, INTAKE_STALL_S + 2), (replace(WELL, intake_mark=1.0), 1), moving=False)
    assert stalls.stall() is None


def test_open_records_that_nothing_moves_have_stalled() -> None:
    stuck = replace(WELL, open_records=1)
    assert observed((stuck, FLOW_STALL_S)).stall() is None
    assert "records are open" in str(observed((stuck, FLOW_STALL_S + 2)).stall())


def test_a_record_that_comes_after_a_long_idle_time_has_not_stalled() -> None:
    assert observed((WELL, LONG_S), (replace(WELL, open_records=1), FLOW_STALL_S / 2)).stall() is None


def test_whatever_moves_the_flow_begins_again() -> None:
    stuck, moved = replace(WELL, open_records=1), replace(WELL, open_records=1, flow_mark=1.0)
    assert observed((stuck, FLOW_STALL_S - 1), (moved, FLOW_STALL_S - 1)).stall() is None


def test_after_a_hold_the_flow_is_given_its_time_again() -> None:
    stuck = replace(WELL, open_records=1)
    held = replace(stuck, held={"qdrant": "unavailable"})
    assert observed((stuck, FLOW_STALL_S - 1), (held, 5), (stuck, FLOW_STALL_S - 1)).stall() is None


def test_a_stop_is_no_stall() -> None:
    assert observed((WELL, 1), (HealthSnapshot(Phase.STOPPING, open_records=1), LONG_S), moving=False).stall() is None


def test_time_in_which_the_whole_process_stood_still_does_not_count() -> None:
    """As after SIGSTOP and SIGCONT, or a machine that slept: nothing in it could have moved."""
    stalls = StallDetector()
    stuck = replace(WELL, open_records=1)
    for now_s in (0.0, LONG_S, 2 * LONG_S):
        stalls.observe(stuck, now_s)
        assert stalls.stall() is None
    assert LONG_S > LONGEST_GAP_S
