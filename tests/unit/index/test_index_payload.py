"""What a payload may hold: refused before any money is spent on vectors."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import payload_to_grpc

from harness.index import write_of
from streamdex.config import CapsSettings
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.index import check_payload
from streamdex.index.encoding.values import entry, fields, get, get_all, value
from streamdex.index.encoding.wire import key_of
from streamdex.index.guards import Guards
from streamdex.index.schema.payload import OWN_FIELDS_BYTES, PackedVector, PointFormat, indexed_at
from streamdex.model import Order, Rank

CAPS = CapsSettings()

texts = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(texts, json_values, max_size=5))
def test_values_go_there_and_back_as_the_client_itself_writes_them(json: dict[str, Any]) -> None:
    point = q.PointStruct.FromString(fields(key_of(q.PointStruct, "payload"), [entry(*each) for each in json.items()]))
    assert point == q.PointStruct(payload=payload_to_grpc(json))
    assert get_all(point.payload) == json


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError, match="not a JSON value: bytes"):
        value(b"bytes")
    with pytest.raises(ValueError, match="beyond 64 bits"):
        value(2**63)
    assert get(q.Value()) is None


def refusal_of(metadata: Any, caps: CapsSettings = CAPS, text: str = "text", rank: Rank | None = None) -> RecordFault:
    write = write_of("1", rank or Rank(1), [""], metadata=metadata)
    write = write._replace(chunks=(write.chunks[0]._replace(text=text),))
    with pytest.raises(RecordFault) as caught:
        check_payload(write, caps)
    assert caught.value.stage is Stage.PLAN
    return caught.value


def nested(levels: int, leaf: Any = 1) -> Any:
    """A value of so many levels; a scalar has none."""
    return leaf if levels == 0 else {"in": nested(levels - 1, leaf)}


def test_depth_counts_the_payload_and_the_metadata_as_levels() -> None:
    check_payload(write_of("1", 1, ["text"], metadata=nested(31)), CAPS)
    assert refusal_of(nested(32)).reason is Reason.TOO_DEEP
    assert refusal_of(nested(30, [[]])).reason is Reason.TOO_DEEP
    check_payload(write_of("1", 1, ["text"], metadata=nested(3)), CapsSettings(payload_depth=4))
    assert refusal_of(nested(4), CapsSettings(payload_depth=4)).reason is Reason.TOO_DEEP


def test_a_depth_beyond_any_recursion_limit_is_refused_as_well() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert refusal_of({"in": deep}).reason is Reason.TOO_DEEP


@pytest.mark.parametrize(
    "refused",
    [math.nan, math.inf, -math.inf, 2**63, -(2**63) - 1, "\ud800", [math.nan], {"in": [2**64]}, {"\udc00": 1}],
)
def test_what_qdrant_would_refuse_for_the_whole_batch(refused: Any) -> None:
    fault = refusal_of({"field": refused})
    assert fault.reason is Reason.UNDECODABLE
    assert "field" not in fault.message


@pytest.mark.parametrize("stored", [2**63 - 1, -(2**63), 1e308, 0.0, True, None, "", "\U0001f600", [], {}])
def test_the_ends_of_what_fits(stored: Any) -> None:
    write = write_of("1", 1, ["text"], metadata={"field": stored})
    check_payload(write, CAPS)
    form = PointFormat(Guards(Order.OFFSET), "text", "metadata", PackedVector(4))
    point = form.point(write.chunks[0], bytes(16), form.shared(write, value(write.event.metadata), indexed_at(0)))
    assert get(q.PointStruct.FromString(point).payload["metadata"]) == {"field": stored}


def test_text_and_key_must_be_unicode() -> None:
    assert refusal_of({}, text="half \ud800").reason is Reason.UNDECODABLE
    deleted = write_of("1", 1, None)
    deleted = deleted._replace(event=deleted.event._replace(document_id="\udfff"))
    with pytest.raises(RecordFault, match="surrogate"):
        check_payload(deleted, CAPS)


@pytest.mark.parametrize("rank", [Rank(2**53), Rank(-(2**53)), Rank(1, 2**53)])
def test_ranks_that_doubles_cannot_tell_apart(rank: Rank) -> None:
    assert refusal_of({}, rank=rank).reason is Reason.UNDECODABLE


def test_bytes_are_counted_as_utf8_with_the_longest_chunk() -> None:
    caps = CapsSettings(payload_bytes=4096)
    room = 4096 - OWN_FIELDS_BYTES
    check_payload(write_of("1", 1, ["x" * (room - 100), "y" * (room - 100)]), caps)
    assert refusal_of({}, caps, "x" * room).reason is Reason.PAYLOAD_TOO_LARGE
    assert refusal_of({}, caps, "ü" * (room // 2)).reason is Reason.PAYLOAD_TOO_LARGE
    assert refusal_of({"k": "v" * room}, caps).reason is Reason.PAYLOAD_TOO_LARGE
    assert refusal_of({"k": [1.0] * room}, caps).reason is Reason.PAYLOAD_TOO_LARGE


@given(st.dictionaries(texts, json_values, max_size=5))
def test_nothing_is_refused_that_is_not_nearly_as_large(metadata: dict[str, Any]) -> None:
    estimate = 2 * (len(entry("metadata", metadata)) + OWN_FIELDS_BYTES)
    check_payload(write_of("1", 1, [""], metadata=metadata), CapsSettings(payload_bytes=max(1024, estimate)))
