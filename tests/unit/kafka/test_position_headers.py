"""Where a record that is no event stood first: what its dead letter says."""

import pytest

from streamdex.kafka.position_headers import OFFSET, build_position, first_position, parse_number
from streamdex.model import Position, Record

FIRST = Position("documents", 2, 1, 40, 1_790_000_000_000)


def record(headers: tuple[tuple[str, bytes | None], ...]) -> Record:
    return Record("documents", 2, 900, 1_795_000_000_000, b"key", b"no JSON", headers)


def test_a_record_of_its_own_stands_where_it_is() -> None:
    assert first_position(record(()), epoch=3) == Position("documents", 2, 3, 900, 1_795_000_000_000)


def test_a_replayed_record_keeps_its_first_place() -> None:
    assert first_position(record(build_position(FIRST)), epoch=3) == FIRST


def test_damaged_headers_do_not_count() -> None:
    damaged = tuple((name, b"?" if name == OFFSET else value) for name, value in build_position(FIRST))
    assert first_position(record(damaged), epoch=3).offset == 900


def test_a_number_beyond_64_bits_is_damage() -> None:
    assert parse_number(b"-9223372036854775808") == -(2**63)
    for digits in (b"9223372036854775808", b"-9223372036854775809", b"9" * 19):
        with pytest.raises(ValueError, match="64 bits"):
            parse_number(digits)
