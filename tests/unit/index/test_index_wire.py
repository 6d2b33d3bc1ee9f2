"""What is written as bytes says the same as the messages of the client's own generated classes."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import grpc as q

from streamdex.index import conditions
from streamdex.index.encoding.requests import (
    NO_VECTORS,
    as_point,
    payload_change,
    upsert,
    with_ids,
    with_operations,
    with_points,
)
from streamdex.index.encoding.values import entry, fields, integer, uuids, value
from streamdex.index.encoding.wire import delimited, key_of, varint

ONE, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
# Where a length, or one of those around it, takes a byte more.
EDGES = (0, 1, 100, 127, 128, 255, 256, 2**14 - 8, 2**14 - 1, 2**14, 2**21 - 1, 2**21)
numbers = st.integers(0, 2**64 - 1) | st.sampled_from(
    [2**bits + more for bits in range(0, 63, 7) for more in (-1, 0, 1)]
)


def payload_of(json: dict[str, Any]) -> list[bytes]:
    return [entry(*each) for each in json.items()]


def guard_of(*uuids: str) -> q.Filter:
    return q.Filter(must_not=[q.Condition(has_id=q.HasIdCondition(has_id=ids_of(uuids)))])


def ids_of(uuids: Iterable[str]) -> list[q.PointId]:
    return [q.PointId(uuid=uuid) for uuid in uuids]


def point_of(uuid: str, title: str) -> q.PointStruct:
    point = q.PointStruct(id=q.PointId(uuid=uuid))
    point.payload["title"].string_value = title
    point.vectors.vectors.SetInParent()
    return point


@given(numbers)
def test_a_number_takes_seven_bits_a_byte(number: int) -> None:
    written = varint(number)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(written)) == number
    assert [byte >> 7 for byte in written] == [1] * (len(written) - 1) + [0]
    assert len(written) == max(1, -(-number.bit_length() // 7))


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_of_any_sign(number: int) -> None:
    assert integer(number) == q.Value(integer_value=number).SerializeToString()


@pytest.mark.parametrize("size", EDGES)
def test_lengths_at_which_they_take_a_byte_more(size: int) -> None:
    text = "x" * size
    assert value(text) == q.Value(string_value=text).SerializeToString()
    assert (
        q.Value.FromString(value([text, {text: text}])).list_value.values[1].struct_value.fields[text].string_value
        == text
    )
    for _ in range(2):  # the second time from what was kept
        point = q.PointStruct.FromString(
            fields(key_of(q.PointStruct, "payload"), payload_of({"name": text, "n": size}))
        )
        assert point.payload["name"].string_value == text
        assert point.payload["n"].integer_value == size
    assert delimited(text.encode()) == varint(size) + text.encode()


def test_keys_are_those_of_the_generated_classes() -> None:
    assert key_of(q.UpsertPoints, "points") == b"\x1a"
    with pytest.raises(KeyError):
        key_of(q.UpsertPoints, "nothing")


@given(st.lists(st.tuples(st.uuids().map(str), st.text(st.characters(codec="utf-8"))), max_size=3))
def test_requests_of_points(points: list[tuple[str, str]]) -> None:
    written = [as_point(uuid, payload_of({"title": title}), NO_VECTORS) for uuid, title in points]
    messages = [point_of(*each) for each in points]
    head = q.UpsertPoints(collection_name="c", wait=True, update_filter=guard_of(ONE))
    expected = q.UpsertPoints(collection_name="c", wait=True, update_filter=guard_of(ONE), points=messages)
    assert q.UpsertPoints.FromString(with_points(head, written)) == expected
    listed = q.PointsUpdateOperation.PointStructList
    operations = [
        q.PointsUpdateOperation(upsert=listed(points=messages, update_filter=guard_of(ONE, OTHER))),
        q.PointsUpdateOperation(upsert=listed(points=messages)),
    ]
    batch = with_operations(q.UpdateBatchPoints(timeout=7), [upsert(written, guard_of(ONE, OTHER)), upsert(written)])
    assert q.UpdateBatchPoints.FromString(batch) == q.UpdateBatchPoints(timeout=7, operations=operations)


@pytest.mark.parametrize("overwrite", [False, True])
def test_changes_of_payloads(overwrite: bool) -> None:
    which = guard_of(ONE)
    written = payload_change(payload_of({"title": "new", "n": 1}), which, overwrite=overwrite)
    batch = q.UpdateBatchPoints.FromString(with_operations(q.UpdateBatchPoints(), [written]))
    (operation,) = batch.operations
    assert operation.WhichOneof("operation") == ("overwrite_payload" if overwrite else "set_payload")
    change = operation.overwrite_payload if overwrite else operation.set_payload
    assert {name: each.WhichOneof("kind") for name, each in change.payload.items()} == {
        "title": "string_value",
        "n": "integer_value",
    }
    assert change.points_selector == q.PointsSelector(filter=which)


def test_ids_need_not_be_ours() -> None:
    strange = ("", "x", ONE, "y" * 200)
    request = q.GetPoints.FromString(with_ids(q.GetPoints(collection_name="c"), strange))
    assert request == q.GetPoints(collection_name="c", ids=ids_of(strange))


@given(st.lists(st.uuids().map(str), max_size=5))
def test_lists_of_uuids(ids: list[str]) -> None:
    assert q.Value.FromString(uuids(ids)) == q.Value.FromString(value(ids))


def test_a_list_of_uuids_takes_nothing_else() -> None:
    with pytest.raises(ValueError, match="36 characters"):
        uuids((ONE, "x"))


@given(st.uuids().map(str), st.floats(allow_nan=False) | st.integers(-(2**53), 2**53))
def test_a_point_above_a_number_is_the_group_that_says_so(uuid: str, number: float) -> None:
    above = conditions.Comparison("version", "gt")
    long = conditions.group(must=(conditions.has_id((uuid,)),), should=(above.with_(number),))
    assert conditions.PointAbove(above).with_(uuid, number) == long


def test_a_point_of_another_kind_of_id_is_refused() -> None:
    above = conditions.PointAbove(conditions.Comparison("version", "gt"))
    with pytest.raises(ValueError, match="36 characters"):
        above.with_("7", 1)


@given(st.floats(allow_nan=False) | st.integers(-(2**53), 2**53))
def test_conditions(number: float) -> None:
    which = q.Filter()
    below = conditions.Comparison("version", "lt").with_(number)
    conditions.add(
        which,
        must=(conditions.has_id((ONE, "x")), conditions.holds("key", "word")),
        should=(below,),
        must_not=(
            conditions.group(must=(conditions.has_any_id((ONE, "7")),), should=(below, conditions.holds("n", 3))),
        ),
    )
    lower = q.Condition(field=q.FieldCondition(key="version", range=q.Range(lt=number)))
    third = q.Condition(field=q.FieldCondition(key="n", match=q.Match(integer=3)))
    any_id = q.Condition(has_id=q.HasIdCondition(has_id=[q.PointId(uuid=ONE), q.PointId(num=7)]))
    assert which == q.Filter(
        must=[
            q.Condition(has_id=q.HasIdCondition(has_id=ids_of((ONE, "x")))),
            q.Condition(field=q.FieldCondition(key="key", match=q.Match(keyword="word"))),
        ],
        should=[lower],
        must_not=[q.Condition(filter=q.Filter(must=[any_id], should=[lower, third]))],
    )
