"""Faults: when they are met, how often they fired, and what they leave of an answer. Pure, without HTTP."""

import numpy as np
import pytest

from streamdex.standins.jina.answers import Row, number
from streamdex.standins.jina.faults import JinaFault, JinaFaultKind, JinaFaults, error_of, from_header, spoil

NEVER, ALWAYS = (lambda: 0.99), (lambda: 0.0)


def _rows(count: int = 3) -> list[Row]:
    return number(np.arange(1, count * 4 + 1, dtype=np.float32).reshape(count, 4))


def _indexes(rows: list[Row]) -> list[int | None]:
    return [row.index for row in rows]


def test_times_ends_a_fault_and_each_meeting_is_counted() -> None:
    faults = JinaFaults()
    fault = faults.add(JinaFault(JinaFaultKind.RESET, times=2), now_s=0.0)
    met = [faults.claim(["a"], 0.0, ALWAYS) for _ in range(3)]
    assert met == [fault, fault, None]
    assert fault.fired == faults.fired[JinaFaultKind.RESET] == 2


def test_duration_ends_a_fault() -> None:
    faults = JinaFaults()
    fault = faults.add(JinaFault(JinaFaultKind.RESET, duration_s=10.0), now_s=100.0)
    assert faults.claim(["a"], 109.9, ALWAYS) is fault
    assert faults.claim(["a"], 110.0, ALWAYS) is None


def test_probability_throws_dice() -> None:
    faults = JinaFaults()
    faults.add(JinaFault(JinaFaultKind.RESET, probability=0.5), now_s=0.0)
    assert faults.claim(["a"], 0.0, NEVER) is None
    assert faults.claim(["a"], 0.0, ALWAYS) is not None


def test_match_meets_only_batches_with_the_marker_and_spoils_its_row() -> None:
    faults = JinaFaults()
    fault = faults.add(JinaFault(JinaFaultKind.NAN, match="poison"), now_s=0.0)
    assert faults.claim(["a", "b"], 0.0, ALWAYS) is None
    assert faults.claim(["a", "some poison here"], 0.0, ALWAYS) is fault
    assert fault.place(["a", "some poison here"]) == 1
    assert "poison" not in repr(fault)


def test_the_first_that_applies_is_met_and_a_header_comes_before_all() -> None:
    faults = JinaFaults()
    faults.add(JinaFault(JinaFaultKind.ZERO, match="x"), 0.0)
    second = faults.add(JinaFault(JinaFaultKind.NAN), 0.0)
    asked = from_header("status:503")
    assert faults.claim(["a"], 0.0, ALWAYS) is second
    assert faults.claim(["x"], 0.0, ALWAYS, asked) is asked
    faults.clear()
    assert faults.claim(["x"], 0.0, ALWAYS) is None
    assert faults.fired == {JinaFaultKind.NAN: 1, JinaFaultKind.STATUS: 1}


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        ("status", ""),
        ("status", "200"),
        ("status", "soon"),
        ("html", "9"),
        ("hang", "-1"),
        ("wrong-count", "many"),
        ("refuse", ""),
        ("nan", "1"),
        ("nonsense", ""),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_when_it_is_made(kind: str, argument: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        JinaFault(JinaFaultKind(kind), argument)


def test_headers_name_a_kind_and_its_argument() -> None:
    assert from_header("hang").seconds is None
    assert from_header("drip:0.5").seconds == 0.5
    assert from_header("refuse: the marker").match == " the marker"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "AUTH_INVALID_API_KEY"),
        (402, "AUTHZ_INSUFFICIENT_BALANCE"),
        (403, "AUTHZ_INSUFFICIENT_BALANCE"),
        (404, "RESOURCE_NOT_FOUND"),
        (409, "CONFLICT_RESOURCE_BUSY"),
        (429, "RATE_REQUEST_LIMIT_EXCEEDED"),
        (500, "INTERNAL_ERROR"),
        (503, "SERVICE_UNAVAILABLE"),
        (504, "SERVICE_TIMEOUT"),
        (400, None),
        (422, None),
        (502, None),
    ],
)
def test_each_status_has_its_usual_code(status: int, code: str | None) -> None:
    answer = error_of(JinaFault(JinaFaultKind.STATUS, str(status)))
    assert answer is not None
    assert (answer.status, answer.code) == (status, code)


def test_a_status_may_carry_another_code() -> None:
    answer = error_of(JinaFault(JinaFaultKind.STATUS, "429:RATE_IP_LIMIT_EXCEEDED"))
    assert answer is not None
    assert answer.code == "RATE_IP_LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    ("kind", "argument", "indexes"),
    [
        ("wrong-count", "", [0, 1]),
        ("wrong-count", "-2", [0]),
        ("wrong-count", "2", [0, 1, 2, 3, 4]),
        ("duplicate-index", "", [0, 0, 2]),
        ("missing-index", "", [0, None, 2]),
        ("index-out-of-range", "", [0, 3, 2]),
        ("shuffled", "", [2, 1, 0]),
    ],
)
def test_what_faults_make_of_indexes(kind: str, argument: str, indexes: list[int | None]) -> None:
    assert _indexes(spoil(_rows(), JinaFault(JinaFaultKind(kind), argument), place=1)) == indexes


def test_a_single_row_is_duplicated_whole() -> None:
    assert _indexes(spoil(_rows(1), JinaFault(JinaFaultKind.DUPLICATE_INDEX), place=0)) == [0, 0]


def test_what_faults_make_of_numbers() -> None:
    rows = _rows()
    spoiled = {kind: spoil(rows, JinaFault(kind), place=1) for kind in ("wrong-dimension", "nan", "inf", "zero")}  # type: ignore[arg-type]  # names are taken too
    assert [len(row.vector) for row in spoiled["wrong-dimension"]] == [4, 3, 4]
    assert [bool(np.isnan(row.vector).any()) for row in spoiled["nan"]] == [False, True, False]
    assert [bool(np.isinf(row.vector).any()) for row in spoiled["inf"]] == [False, True, False]
    assert [bool(row.vector.any()) for row in spoiled["zero"]] == [True, False, True]
    assert all(np.isfinite(row.vector).all() for row in rows), "the rows given are not changed"
