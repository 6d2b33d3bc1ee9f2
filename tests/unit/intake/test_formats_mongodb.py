"""MongoDB's change streams come to the changes that they say."""

import pytest

from harness.format_examples import change_in, examples, name_of, record_of, refusal
from streamdex.errors import Reason, RecordFault
from streamdex.intake.formats.change import ChangeKind
from streamdex.intake.formats.extended_json import plain, with_whole_id
from streamdex.intake.formats.mongodb import change_of, fits
from streamdex.model import JsonObject


@pytest.mark.parametrize("case", examples("mongodb", faults=False), ids=name_of)
def test_an_event_comes_to_its_change(case: JsonObject) -> None:
    assert change_of(case["value"], record_of(case)) == change_in(case)


@pytest.mark.parametrize("case", examples("mongodb", faults=True), ids=name_of)
def test_a_damaged_event_is_a_fault_that_names_the_field(case: JsonObject) -> None:
    caught = refusal(change_of, case)
    assert case["fault"] in caught.message
    assert caught.reason == case.get("reason", Reason.UNDECODABLE)


@pytest.mark.parametrize(
    "operation",
    [
        *("drop", "rename", "dropDatabase", "invalidate", "create", "modify", "createIndexes", "dropIndexes"),
        *("shardCollection", "reshardCollection", "refineCollectionShardKey"),
    ],
)
def test_changes_of_collections_are_ignored(operation: str) -> None:
    body = {"_id": {}, "operationType": operation, "clusterTime": {}}
    assert change_of(body, record_of({"value": body})).kind is ChangeKind.IGNORED
    assert fits(body, record_of({"value": body}))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"$numberLong": "9223372036854775807"}, 2**63 - 1),
        ({"$numberLong": 5}, 5),
        ({"$numberDouble": "-0.0"}, -0.0),
        ({"$numberDouble": 3}, 3.0),
        ({"$numberDouble": "NaN"}, "NaN"),
        ({"$numberDouble": "1e999"}, "1e999"),
        ({"$numberDecimal": "1E+3"}, "1E+3"),
        ({"$numberDecimal": "18446744073709551616"}, "18446744073709551616"),
        ({"$date": {"$numberLong": "-1"}}, "1969-12-31T23:59:59.999Z"),
        ({"$date": 253402300800000}, 253402300800000),
        ({"$date": "2024-05-29T16:26:40.000+0000"}, "2024-05-29T16:26:40Z"),
        ({"$uuid": "7365C64A53F8400B97EE041031FAC4F5"}, "7365c64a-53f8-400b-97ee-041031fac4f5"),
        ({"$binary": "AQID", "$type": "0"}, "AQID"),
        ({"$undefined": True}, None),
        ({"$symbol": "s"}, "s"),
        ({"$numberDouble": "Infinity"}, "Infinity"),
        ({"$numberDouble": "-Infinity"}, "-Infinity"),
        ({"$binary": "c2XGSlP4QAuX7gQQMfrE9Q==", "$type": "4"}, "7365c64a-53f8-400b-97ee-041031fac4f5"),
        ({"$minKey": 1}, {"$minKey": 1}),
        ({"a": [{"$oid": "0f"}]}, {"a": ["0f"]}),
    ],
)
def test_extended_json_becomes_plain(value: JsonObject, written: object) -> None:
    assert plain(value, "it") == written
    assert type(plain(value, "it")) is type(written)


def test_a_document_deeper_than_the_bound_is_a_fault() -> None:
    deep: object = 1
    for _ in range(500):
        deep = [deep]
    with pytest.raises(RecordFault, match="it nests too deep") as caught:
        plain(deep, "it")
    assert caught.value.reason is Reason.TOO_DEEP


def test_a_uuid_that_is_none_is_a_fault() -> None:
    with pytest.raises(RecordFault, match=r"it: \$uuid is not a UUID"):
        plain({"$uuid": "s3cret"}, "it")


@pytest.mark.parametrize(("document_id", "whole"), [(7.0, 7), (7.5, 7.5), (1e300, 1e300), (-7.0, -7), ("7", "7")])
def test_an_id_that_is_a_whole_number_is_an_integer(document_id: object, whole: object) -> None:
    found = with_whole_id({"_id": document_id, "n": 7.0})
    assert (found["_id"], type(found["_id"]), type(found["n"])) == (whole, type(whole), float)
