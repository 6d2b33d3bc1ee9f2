"""Alive and ready, decided: an outage never makes a worker look dead, a stall does."""

from dataclasses import replace

import pytest

from streamdex.admin import Phase, Pulse, Vitals, hindrances
from streamdex.admin.judgement import FLOW_STALL_S, INTAKE_STALL_S, LONGEST_BEAT_S

WELL = Vitals(Phase.RUNNING, partitions=2)
LONG_S = 2 * max(FLOW_STALL_S, INTAKE_STALL_S)


def pulse_of(*spans: tuple[Vitals, float], moving: bool = True) -> Pulse:
    """A pulse that was told of each of these vitals every second for so many seconds; Kafka is polled if `moving`."""
    pulse, now_s = Pulse(), 1000.0
    for vitals, seconds in spans:
        for _ in range(int(seconds)):
            now_s += 1
            pulse.beat(replace(vitals, intake_mark=now_s) if moving else vitals, now_s)
    return pulse


def test_a_worker_at_work_is_ready() -> None:
    assert hindrances(WELL) == {}
    assert pulse_of((WELL, LONG_S)).stall() is None


@pytest.mark.parametrize(
    ("vitals", "name"),
    [
        (Vitals(Phase.STARTING), "worker"),
        (Vitals(Phase.STOPPING, partitions=2), "worker"),
        (Vitals(Phase.RUNNING, partitions=0), "partitions"),
        (Vitals(Phase.RUNNING, partitions=2, held={"jina": "no balance"}), "jina"),
    ],
)
def test_what_keeps_it_from_its_work_makes_it_not_ready(vitals: Vitals, name: str) -> None:
    assert list(hindrances(vitals)) == [name]


def test_all_reasons_are_told_at_once() -> None:
    starting = Vitals(Phase.STARTING, held={"qdrant": "unavailable", "kafka": "no broker"})
    assert hindrances(starting).keys() == {"worker", "qdrant", "kafka"}


def test_waiting_for_neighbours_at_the_start_is_no_stall() -> None:
    starting = Vitals(Phase.STARTING, held={"kafka": "no broker"})
    assert pulse_of((starting, LONG_S), moving=False).stall() is None


def test_an_outage_is_no_stall_however_long() -> None:
    held = Vitals(Phase.RUNNING, partitions=2, open_records=100, held={"jina": "503"})
    assert pulse_of((held, LONG_S)).stall() is None


def test_an_idle_worker_has_not_stalled() -> None:
    assert pulse_of((WELL, LONG_S)).stall() is None


def test_an_intake_that_neither_polls_nor_connects_has_stalled() -> None:
    assert pulse_of((WELL, INTAKE_STALL_S), moving=False).stall() is None
    assert "Kafka" in str(pulse_of((WELL, INTAKE_STALL_S + 2), moving=False).stall())


def test_a_poll_ends_the_stall() -> None:
    pulse = pulse_of((WELL, INTAKE_STALL_S + 2), (replace(WELL, intake_mark=1.0), 1), moving=False)
    assert pulse.stall() is None


def test_open_records_that_nothing_moves_have_stalled() -> None:
    stuck = replace(WELL, open_records=1)
    assert pulse_of((stuck, FLOW_STALL_S)).stall() is None
    assert "records are open" in str(pulse_of((stuck, FLOW_STALL_S + 2)).stall())


def test_a_record_that_comes_after_a_long_idle_time_has_not_stalled() -> None:
    assert pulse_of((WELL, LONG_S), (replace(WELL, open_records=1), FLOW_STALL_S / 2)).stall() is None


def test_whatever_moves_the_flow_begins_anew() -> None:
    stuck, moved = replace(WELL, open_records=1), replace(WELL, open_records=1, flow_mark=1.0)
    assert pulse_of((stuck, FLOW_STALL_S - 1), (moved, FLOW_STALL_S - 1)).stall() is None


def test_after_a_hold_the_flow_is_given_its_time_again() -> None:
    stuck = replace(WELL, open_records=1)
    held = replace(stuck, held={"qdrant": "unavailable"})
    assert pulse_of((stuck, FLOW_STALL_S - 1), (held, 5), (stuck, FLOW_STALL_S - 1)).stall() is None


def test_a_stop_is_no_stall() -> None:
    assert pulse_of((WELL, 1), (Vitals(Phase.STOPPING, open_records=1), LONG_S), moving=False).stall() is None


def test_time_in_which_the_whole_process_stood_still_does_not_count() -> None:
    """As after SIGSTOP and SIGCONT, or a machine that slept: nothing in it could have moved."""
    pulse = Pulse()
    stuck = replace(WELL, open_records=1)
    for now_s in (0.0, LONG_S, 2 * LONG_S):
        pulse.beat(stuck, now_s)
        assert pulse.stall() is None
    assert LONG_S > LONGEST_BEAT_S
