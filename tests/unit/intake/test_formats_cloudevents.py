"""CloudEvents come to the rows that they carry."""

import pytest

from harness.format_examples import change_in, examples, name_of, record_of, refusal
from streamdex.errors import Reason, RecordFault
from streamdex.intake.formats.cloudevents import change_of
from streamdex.model import JsonObject, Record


@pytest.mark.parametrize("case", examples("cloudevents", faults=False), ids=name_of)
def test_an_event_comes_to_its_change(case: JsonObject) -> None:
    assert change_of(case["value"], record_of(case)) == change_in(case)


@pytest.mark.parametrize("case", examples("cloudevents", faults=True), ids=name_of)
def test_a_damaged_event_is_a_fault_that_names_the_field(case: JsonObject) -> None:
    caught = refusal(change_of, case)
    assert case["fault"] in caught.message
    assert caught.reason == case.get("reason", Reason.UNDECODABLE)


def test_an_attribute_that_is_not_text_is_a_fault_that_names_the_header() -> None:
    required = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/"), ("ce_type", b"t"))
    record = Record("t", 0, 1, 2, None, b"{}", (*required, ("ce_no\x1bte", b"\xff"), ("ce_none", None)))
    with pytest.raises(RecordFault, match=r"the header ce_no\?te is not text in UTF-8"):
        change_of({}, record)
