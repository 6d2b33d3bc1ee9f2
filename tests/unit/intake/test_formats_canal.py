"""Canal's messages come to the changes that they say."""

import pytest

from harness.format_examples import change_in, examples, name_of, record_of, refusal
from streamdex.errors import Reason
from streamdex.intake.formats.canal import change_of
from streamdex.model import JsonObject


@pytest.mark.parametrize("case", examples("canal", faults=False), ids=name_of)
def test_an_event_comes_to_its_change(case: JsonObject) -> None:
    assert change_of(case["value"], record_of(case)) == change_in(case)


@pytest.mark.parametrize("case", examples("canal", faults=True), ids=name_of)
def test_a_damaged_event_is_a_fault_that_names_the_field(case: JsonObject) -> None:
    caught = refusal(change_of, case)
    assert case["fault"] in caught.message
    assert caught.reason == case.get("reason", Reason.UNDECODABLE)


@pytest.mark.parametrize(
    ("mysql_type", "text", "value"),
    [
        *((f"{name}{more}", "7", 7) for name in ("tinyint", "smallint", "mediumint", "int", "integer", "bigint")
          for more in ("", "(4)", " unsigned", "(4) unsigned")),
        *((name, text, text == "1") for name in ("bit(1)", "bit", "bool", "boolean") for text in ("0", "1")),
        ("boolean", "false", False),
        ("boolean", "maybe", "maybe"),
        ("bit(8)", "7", "7"),
        ("int", "7.5", "7.5"),
        ("int", "-0", "-0"),
        ("int", "", ""),
        ("double", "7", "7"),
        ("interval", "7", "7"),
        ("bigint unsigned", "9223372036854775808", "9223372036854775808"),
        ("bigint", "-9223372036854775808", -(2**63)),
    ],
)  # fmt: skip
def test_text_becomes_what_its_type_says_where_that_is_exact(mysql_type: str, text: str, value: object) -> None:
    found = row_of({"c": text}, mysqlType={"c": mysql_type}, sqlType={"c": 12})
    assert (found["c"], type(found["c"])) == (value, type(value))


@pytest.mark.parametrize(("sql_type", "value"), [(-6, 1), (-5, 1), (4, 1), (5, 1), (-7, True), (16, True), (12, "1")])
def test_without_a_name_the_number_of_the_type_counts(sql_type: int, value: object) -> None:
    found = row_of({"c": "1"}, sqlType={"c": sql_type})
    assert (found["c"], type(found["c"])) == (value, type(value))


def row_of(row: JsonObject, **types: JsonObject) -> JsonObject:
    body = {"type": "INSERT", "isDdl": False, "data": [row], **types}
    return change_of(body, record_of({"value": body})).row
