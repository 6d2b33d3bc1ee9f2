"""Maxwell's events come to the changes that they say."""

import pytest

from harness.format_examples import change_in, examples, name_of, record_of, refusal
from streamdex.errors import Reason
from streamdex.intake.formats.change import ChangeKind
from streamdex.intake.formats.maxwell import change_of, fits
from streamdex.model import JsonObject


@pytest.mark.parametrize("case", examples("maxwell", faults=False), ids=name_of)
def test_an_event_comes_to_its_change(case: JsonObject) -> None:
    assert change_of(case["value"], record_of(case)) == change_in(case)


@pytest.mark.parametrize("case", examples("maxwell", faults=True), ids=name_of)
def test_a_damaged_event_is_a_fault_that_names_the_field(case: JsonObject) -> None:
    caught = refusal(change_of, case)
    assert case["fault"] in caught.message
    assert caught.reason == case.get("reason", Reason.UNDECODABLE)


@pytest.mark.parametrize("what", ["create", "alter", "drop"])
@pytest.mark.parametrize("of", ["table", "database"])
def test_definitions_are_ignored(of: str, what: str) -> None:
    for field in ("sql", "def"):
        body = {"type": f"{of}-{what}", "database": "shop", "ts": 1, field: "drop"}
        assert change_of(body, record_of({"value": body})).kind is ChangeKind.IGNORED
        assert fits(body, record_of({"value": body}))
