"""What all formats share: null values, and the place of replayed dead letters."""

import pytest

from streamdex.config import Settings
from streamdex.errors import Reason, RecordFault
from streamdex.intake import Decoder
from streamdex.kafka.position_headers import build_position, parse_position
from streamdex.model import Event, Position, Record

OWN = Position("documents", 2, 3, 41, 1_700)
FIRST = Position("other", 0, 1, 7, -1)
Headers = tuple[tuple[str, bytes | None], ...]


def decode(value: bytes | None, key: bytes | None = b"k", headers: Headers = ()) -> Event:
    event = Decoder(Settings()).decode(Record("documents", 2, 41, 1_700, key, value, headers), epoch=3)
    assert isinstance(event, Event)
    return event


def refusal(value: bytes | None, key: bytes | None = b"k", headers: Headers = ()) -> RecordFault:
    with pytest.raises(RecordFault) as caught:
        decode(value, key, headers)
    return caught.value


def test_a_null_value_deletes_what_its_key_names() -> None:
    assert decode(None) == Event("k", None, {}, None, OWN)


@pytest.mark.parametrize("key", [None, b"", b"\xff"])
def test_a_null_value_without_a_usable_key_has_no_id(key: bytes | None) -> None:
    assert refusal(None, key).reason is Reason.NO_ID


def test_a_null_value_may_carry_its_version_in_a_header() -> None:
    assert decode(None, headers=(("other", b"x"), ("streamdex.version", b"12"))).version == 12


@pytest.mark.parametrize("value", [None, b"", b"x", b"1.5", b"-1", b"9007199254740992", "٣".encode(), b" 1", b"1_0"])
def test_a_damaged_version_header_is_refused(value: bytes | None) -> None:
    with pytest.raises(RecordFault) as caught:
        decode(None, headers=(("streamdex.version", value),))
    assert caught.value.reason is Reason.UNDECODABLE


def test_the_version_header_counts_for_null_values_alone() -> None:
    assert decode(b'{"text": "x"}', headers=(("streamdex.version", b"12"),)).version is None


@pytest.mark.parametrize("value", [None, b'{"text": "x"}', b'{"op": "delete"}'])
def test_a_replayed_letter_keeps_its_first_place(value: bytes | None) -> None:
    headers = (("traceparent", b"00-1"), *build_position(FIRST), ("__streamdex.replays", b"1"))
    assert decode(value, headers=headers).position == FIRST


def test_headers_of_others_do_not_matter() -> None:
    assert decode(b'{"text": "x"}', headers=(("a", None), ("__streamdex.reason", b"no_id"))).position == OWN


@pytest.mark.parametrize("missing", range(5))
def test_incomplete_position_headers_are_refused(missing: int) -> None:
    """The record's own place would rank the old event above newer ones."""
    headers = tuple(header for at, header in enumerate(build_position(FIRST)) if at != missing)
    assert refusal(b'{"text": "x"}', headers=headers).reason is Reason.UNDECODABLE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("topic", b""),
        ("topic", b"\xff"),
        ("topic", None),
        ("partition", b"-1"),
        ("partition", b"x"),
        ("partition", None),
        ("epoch", b"-1"),
        ("offset", b"-1"),
        ("offset", b"12345678901234567890"),
        ("offset", b"1 "),
        ("timestamp", b""),
    ],
)
def test_damaged_position_headers_are_refused(name: str, value: bytes | None) -> None:
    headers = (*build_position(FIRST), ("__streamdex." + name, value))  # of doubled ones the last counts
    assert refusal(b'{"text": "x"}', headers=headers).reason is Reason.UNDECODABLE


def test_position_headers_there_and_back() -> None:
    assert parse_position(build_position(FIRST)) == FIRST
    assert parse_position(()) is None
    assert build_position(OWN) == (
        ("__streamdex.topic", b"documents"),
        ("__streamdex.partition", b"2"),
        ("__streamdex.epoch", b"3"),
        ("__streamdex.offset", b"41"),
        ("__streamdex.timestamp", b"1700"),
    )
