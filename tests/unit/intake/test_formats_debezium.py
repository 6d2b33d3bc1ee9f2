"""Debezium's events of relational databases come to the changes that they say."""

import pytest

from harness.format_examples import change_in, example, examples, name_of, record_of, refusal
from streamdex.errors import Reason, RecordFault
from streamdex.intake.formats.change import ChangeKind
from streamdex.intake.formats.debezium import change_of
from streamdex.intake.formats.scalars import decimal, time_of_day, utc, utc_text
from streamdex.model import JsonObject


@pytest.mark.parametrize("case", examples("debezium", faults=False), ids=name_of)
def test_an_event_comes_to_its_change(case: JsonObject) -> None:
    assert change_of(case["value"], record_of(case)) == change_in(case)


@pytest.mark.parametrize("case", examples("debezium", faults=True), ids=name_of)
def test_a_damaged_event_is_a_fault_that_names_the_field(case: JsonObject) -> None:
    caught = refusal(change_of, case)
    assert case["fault"] in caught.message
    assert caught.reason == case.get("reason", Reason.UNDECODABLE)


def test_a_changed_primary_key_deletes_the_old_row_and_writes_the_new_one() -> None:
    table = {11: "Tides"}
    for name in ("the old key of a changed primary key", "the new key of a changed primary key"):
        case = example("debezium", name)
        change = change_of(case["value"], record_of(case))
        if change.kind is ChangeKind.UPSERT:
            table[change.row["id"]] = change.row["title"]
        else:
            del table[change.row["id"]]
    assert table == {12: "Tides"}


def test_a_row_deeper_than_the_bound_is_a_fault() -> None:
    schema: JsonObject = {"type": "int32"}
    value: object = 1
    for _ in range(300):
        schema, value = {"type": "array", "items": schema}, [value]
    fields = [{"field": "after", "type": "struct", "fields": [{**schema, "field": "deep"}]}]
    body = {"schema": {"type": "struct", "fields": fields}, "payload": {"op": "c", "after": {"deep": value}}}
    with pytest.raises(RecordFault, match="after nests too deep") as caught:
        change_of(body, record_of({"value": {}}))
    assert caught.value.reason is Reason.TOO_DEEP


@pytest.mark.parametrize(
    ("unscaled", "scale", "written"),
    [
        (0, 0, 0),
        (0, 2, "0.00"),
        (-5, 3, "-0.005"),
        (12345, 2, "123.45"),
        (7, -3, 7000),
        (2**63 - 1, 0, 2**63 - 1),
        (2**63, 0, str(2**63)),
        (-(2**63), 0, -(2**63)),
    ],
)
def test_decimals_are_exact(unscaled: int, scale: int, written: int | str) -> None:
    assert decimal(unscaled, scale) == written


@pytest.mark.parametrize(
    ("count", "per_second", "written"),
    [(0, 1000, "1970-01-01T00:00:00Z"), (-62135596800000, 1000, "0001-01-01T00:00:00Z"), (10**17, 1000, 10**17)],
)
def test_times_without_a_year_in_rfc_3339_stay_numbers(count: int, per_second: int, written: int | str) -> None:
    assert utc(count, per_second) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2024-02-30T00:00:00Z", "2024-02-30T00:00:00Z"),
        ("0001-01-01T00:00:00+02:00", "0001-01-01T00:00:00+02:00"),
        ("2024-01-01T00:30:00.123456789+01:00", "2023-12-31T23:30:00.123456789Z"),
        ("infinity", "infinity"),
    ],
)
def test_times_move_to_utc_or_stay(text: str, written: str) -> None:
    assert utc_text(text) == written


def test_a_time_of_day_has_as_many_decimals_as_it_needs() -> None:
    assert time_of_day(3_600_000_000_001, 10**9) == "01:00:00.000000001"
    assert time_of_day(86_399_999, 1000) == "23:59:59.999"
