"""AWS DMS's records come to the changes that they say."""

import pytest

from harness.format_examples import change_in, examples, name_of, record_of, refusal
from streamdex.errors import Reason
from streamdex.intake.formats.dms import change_of
from streamdex.model import JsonObject


@pytest.mark.parametrize("case", examples("dms", faults=False), ids=name_of)
def test_an_event_comes_to_its_change(case: JsonObject) -> None:
    assert change_of(case["value"], record_of(case)) == change_in(case)


@pytest.mark.parametrize("case", examples("dms", faults=True), ids=name_of)
def test_a_damaged_event_is_a_fault_that_names_the_field(case: JsonObject) -> None:
    caught = refusal(change_of, case)
    assert case["fault"] in caught.message
    assert caught.reason == case.get("reason", Reason.UNDECODABLE)
