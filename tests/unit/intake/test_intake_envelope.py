"""Our own envelope: what it means, and what it refuses in which words."""

import json
import zlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from streamdex.config import CapsSettings, Settings, WorkerSettings
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.intake import Decoder
from streamdex.model import Event, Order, Position, Record

SECRET = "s3cret-in-the-document"


def record(
    value: bytes | None, key: bytes | None = b"key", headers: tuple[tuple[str, bytes | None], ...] = ()
) -> Record:
    return Record("documents", 2, 41, 1_700_000_000_000, key, value, headers)


def decode(value: Any, key: bytes | None = b"key", **caps: int) -> Event:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    settings = Settings(caps=CapsSettings(**caps), worker=WorkerSettings(order=Order.VERSION))
    event = Decoder(settings).decode(record(raw, key), epoch=3)
    assert isinstance(event, Event)
    return event


def refusal(value: Any, key: bytes | None = b"key", **caps: int) -> RecordFault:
    with pytest.raises(RecordFault) as caught:
        decode(value, key, **caps)
    assert caught.value.stage is Stage.DECODE
    assert SECRET not in str(caught.value)
    assert len(caught.value.message.encode()) <= 512
    return caught.value


def test_a_whole_envelope() -> None:
    event = decode({"id": "a", "op": "upsert", "text": "hello", "metadata": {"lang": "en"}, "version": 7})
    assert event == Event("a", "hello", {"lang": "en"}, 7, Position("documents", 2, 3, 41, 1_700_000_000_000))


def test_the_smallest_envelope_takes_its_id_from_the_key() -> None:
    event = decode({"text": "hello"}, key="schlüssel".encode())
    assert (event.document_id, event.text, event.metadata, event.version) == ("schlüssel", "hello", {}, None)


@pytest.mark.parametrize("text", ["", " \n\t ", "\u3000", "a\u0000b", "🎈" * 10])
def test_any_string_is_a_text(text: str) -> None:
    assert decode({"id": "a", "text": text}).text == text


@pytest.mark.parametrize(("document_id", "key"), [("1", "1"), (1, "1"), (-5, "-5"), (0, "0"), (2**63, f"{2**63}")])
def test_a_string_and_an_integer_name_the_same_document(document_id: object, key: str) -> None:
    assert decode({"id": document_id, "text": "x"}).document_id == key


@pytest.mark.parametrize("document_id", ["", True, False, 1.5, [], {}, [SECRET], 2.0**70])
def test_other_ids_are_refused(document_id: object) -> None:
    assert refusal({"id": document_id, "text": "x"}).reason is Reason.NO_ID


def test_an_id_beyond_64_bits_is_refused_not_rounded() -> None:
    assert refusal(b'{"id": 18446744073709551616, "text": "x"}').reason is Reason.NO_ID


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe"])
def test_neither_id_nor_usable_key(key: bytes | None) -> None:
    assert refusal({"text": "x"}, key=key).reason is Reason.NO_ID
    assert refusal({"id": None, "text": "x"}, key=key).reason is Reason.NO_ID


def test_nulls_count_as_left_out() -> None:
    event = decode({"id": None, "op": None, "text": "x", "metadata": None, "version": None})
    assert (event.document_id, event.metadata, event.version) == ("key", {}, None)


def test_a_delete_needs_no_text() -> None:
    event = decode({"id": "a", "op": "delete", "version": 9})
    assert (event.text, event.metadata, event.version) == (None, {}, 9)


@pytest.mark.parametrize("op", ["Delete", "remove", "", 1, True, [], SECRET])
def test_other_operations_are_refused(op: object) -> None:
    assert refusal({"id": "a", "op": op, "text": "x"}).reason is Reason.WRONG_TYPE


@pytest.mark.parametrize("text", [None, 1, 1.5, True, [], {}, [SECRET]])
def test_an_upsert_needs_a_text(text: object) -> None:
    assert "text is" in refusal({"id": "a", "text": text}).message
    assert "text is missing" in refusal({"id": "a"}).message


@pytest.mark.parametrize("version", [0, 1, 2**53 - 1])
def test_versions(version: int) -> None:
    assert decode({"id": "a", "text": "x", "version": version}).version == version


@pytest.mark.parametrize("version", [-1, 2**53, 2**63, 2.0**70, 1.5, 1.0, True, "7", [], {}])
def test_other_versions_are_refused(version: object) -> None:
    assert "version" in refusal({"id": "a", "text": "x", "version": version}).message


@pytest.mark.parametrize("metadata", [[], [1], "x", "", 0, 1, False, True, 1.5])
def test_metadata_is_an_object(metadata: object) -> None:
    assert "metadata" in refusal({"id": "a", "text": "x", "metadata": metadata}).message


def test_an_unknown_field_is_refused_and_not_named() -> None:
    message = refusal({"id": "a", "text": "x", SECRET: {"lang": "en"}}).message
    known = "there is an unknown field; the known ones are "
    assert message == known + "id, metadata, op, text, version; mapping.* reads other shapes"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.EMPTY_VALUE),
        (b" ", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b"plain text", Reason.NOT_JSON),
        (f'{{"{SECRET}'.encode(), Reason.NOT_JSON),
        (b"<event/>", Reason.NOT_JSON),
        (b"null", Reason.NOT_AN_OBJECT),
        (b"[]", Reason.NOT_AN_OBJECT),
        (b'"s"', Reason.NOT_AN_OBJECT),
        (b"1", Reason.NOT_AN_OBJECT),
        (b"NaN", Reason.NOT_FINITE),
        (b'{"id": "a", "text": NaN}', Reason.NOT_FINITE),
        (b'{"id": "a", "text": "x", "metadata": {"n": -Infinity}}', Reason.NOT_FINITE),
        (b'{"id": "a", "text": "\\ud800"}', Reason.LONE_SURROGATE),
        (b'{"id": "a", "text": "\xed\xa0\x80"}', Reason.NOT_UTF8),
        (b'{"id": "a", "text": "\xff"}', Reason.NOT_UTF8),
        ('{"id": "a", "text": "x"}'.encode("utf-16"), Reason.NOT_UTF8),
        ('{"id": "a", "text": "x"}'.encode("utf-16-le"), Reason.NOT_UTF8),
        ('{"id": "a", "text": "x"}'.encode("utf-16-be"), Reason.NOT_UTF8),
        (b'{"id": "a", "text": "x"} {}', Reason.TRAILING_DATA),
        (b'{"id": "a", "text": "x"}\n{"id": "b", "text": "y"}\n', Reason.TRAILING_DATA),
        (b'{"id": "a", "text": "x"},', Reason.TRAILING_DATA),
        (b"[" * 5000 + b"]" * 5000, Reason.TOO_DEEP),
        (b'{"n": ' + b"9" * 5000 + b"}", Reason.NOT_FINITE),
        (b"\x00\x00\x00\x00\x01abc", Reason.NEEDS_REGISTRY),
        (zlib.compress(b"{}", wbits=31)[:-3], Reason.COMPRESSED),
        (b"\x1f\x8b\x08 and no gzip", Reason.COMPRESSED),
        (b"\x28\xb5\x2f\xfd\x00", Reason.COMPRESSED),
    ],
)
def test_the_reason_names_why_a_value_cannot_be_read(value: bytes, reason: Reason) -> None:
    assert refusal(value).reason is reason


@pytest.mark.parametrize("pack", [lambda value: b"\xef\xbb\xbf" + value, lambda value: zlib.compress(value, wbits=31)])
def test_a_byte_order_mark_is_skipped_and_gzip_is_unpacked(pack: Callable[[bytes], bytes]) -> None:
    value = b'{"id": "a", "text": "x", "metadata": {"n": 6e23}}'
    assert decode(pack(value)) == decode(value)


def test_gzip_that_unpacks_to_more_than_the_cap_is_refused_without_unpacking_it_all() -> None:
    packed = zlib.compress(b" " * 100_000_000, wbits=31)
    assert refusal(packed, record_bytes=200_000).reason is Reason.TOO_MANY_BYTES


def test_of_a_doubled_field_the_last_counts() -> None:
    assert decode(b'{"id": "a", "text": "one", "text": "two"}').text == "two"


def test_the_cap_on_bytes_is_checked_before_parsing() -> None:
    exact = b'{"id":"a","text":"' + b"x" * (1024 - 20) + b'"}'
    assert len(exact) == 1024
    assert decode(exact, record_bytes=1024).text == "x" * 1004
    assert refusal(exact + b" ", record_bytes=1024).reason is Reason.TOO_MANY_BYTES
    assert refusal(b"\xff" * 2000, record_bytes=1024).reason is Reason.TOO_MANY_BYTES


def nested(levels: int) -> dict[str, Any]:
    """An object of so many levels, itself counted; objects and arrays in turn."""
    value: Any = {}
    for level in range(levels - 1):
        value = [value] if level % 2 and level < levels - 2 else {"deeper": value}
    assert isinstance(value, dict)
    return value


def test_the_payload_has_at_most_32_levels_with_its_own() -> None:
    assert decode({"id": "a", "text": "x", "metadata": nested(31)}).metadata == nested(31)
    assert refusal({"id": "a", "text": "x", "metadata": nested(32)}).reason is Reason.TOO_DEEP


def test_the_cap_on_depth_may_be_lower() -> None:
    assert decode({"id": "a", "text": "x", "metadata": {"a": 1}}, payload_depth=2).metadata == {"a": 1}
    assert refusal({"id": "a", "text": "x", "metadata": {"a": []}}, payload_depth=2).reason is Reason.TOO_DEEP


def test_metadata_as_deep_as_the_parser_goes_is_refused_without_recursion() -> None:
    deep = b"[" * 1000 + b"]" * 1000
    assert refusal(b'{"id": "a", "text": "x", "metadata": {"d": ' + deep + b"}}").reason is Reason.TOO_DEEP


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, 1.5, 1e300, -1e300])
def test_numbers_in_metadata_are_kept(number: float) -> None:
    assert decode({"id": "a", "text": "x", "metadata": {"n": [number]}}).metadata == {"n": [number]}


@pytest.mark.parametrize(
    "number", ["9223372036854775808", "-9223372036854775809", "123456789012345678901234567890", "9" * 5000]
)
def test_integers_beyond_64_bits_are_refused_not_rounded(number: str) -> None:
    value = f'{{"id": "a", "text": "x", "metadata": {{"list": [{{"n": {number}}}]}}}}'.encode()
    if len(number) < 400:
        assert "beyond 64 bits" in refusal(value).message
    else:
        assert refusal(value).reason in (Reason.UNDECODABLE, Reason.NOT_FINITE)  # no float holds it either


def test_a_large_float_beside_a_fine_integer_is_kept() -> None:
    metadata = {"avogadro": 6.022e23, "n": 2**62}
    assert decode({"id": "a", "text": "x", "metadata": metadata}).metadata == metadata


def test_metadata_keeps_its_order_and_types() -> None:
    metadata = {"z": None, "a": True, "m": [1, "1", 1.0, {}], "é": "ü"}
    event = decode(json.dumps({"id": "a", "text": "x", "metadata": metadata}).encode())
    assert list(event.metadata.items()) == list(metadata.items())
