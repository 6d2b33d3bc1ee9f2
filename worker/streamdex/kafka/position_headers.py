"""The record headers that carry a dead letter's original position. Shared by the packages that write and read them.

All of our headers begin with `__streamdex.`; numbers are decimal digits in ASCII. The names are what people's tools
rely on.
"""

import re
from collections.abc import Iterable

from streamdex.model import Position, Record

PREFIX = "__streamdex."
TOPIC = PREFIX + "topic"
PARTITION = PREFIX + "partition"
EPOCH = PREFIX + "epoch"
OFFSET = PREFIX + "offset"
TIMESTAMP = PREFIX + "timestamp"

Headers = tuple[tuple[str, bytes | None], ...]

_NAMES = frozenset((TOPIC, PARTITION, EPOCH, OFFSET, TIMESTAMP))
_NUMBER = re.compile(rb"-?[0-9]{1,19}", re.ASCII)


def build_position(position: Position) -> Headers:
    """The headers that name a position."""
    return (
        (TOPIC, position.topic.encode()),
        (PARTITION, b"%d" % position.partition),
        (EPOCH, b"%d" % position.epoch),
        (OFFSET, b"%d" % position.offset),
        (TIMESTAMP, b"%d" % position.timestamp_ms),
    )


def parse_position(headers: Iterable[tuple[str, bytes | None]]) -> Position | None:
    """The position that the headers name, None when none of them is there; of doubled ones the last counts.

    Raises ValueError when they are incomplete or damaged: to fall back on the record's own position would rank an old
    event above newer ones.
    """
    found = {name: value for name, value in headers if name in _NAMES}
    if not found:
        return None
    if len(found) < len(_NAMES):
        raise ValueError("the position headers are incomplete")
    topic = (found[TOPIC] or b"").decode()  # a UnicodeDecodeError is a ValueError
    position = Position(
        topic,
        parse_number(found[PARTITION]),
        parse_number(found[EPOCH]),
        parse_number(found[OFFSET]),
        parse_number(found[TIMESTAMP]),
    )
    if not topic or min(position.partition, position.epoch, position.offset) < 0:
        raise ValueError("the position headers name no position")
    return position


def first_position(record: Record, epoch: int) -> Position:
    """Where a record that is no event stood first, for its dead letter; its own place when the headers are damaged."""
    try:
        original = parse_position(record.headers)
    except ValueError:
        original = None
    return original or Position(record.topic, record.partition, epoch, record.offset, record.timestamp_ms)


def parse_number(value: bytes | None) -> int:
    """A header's number. Raises ValueError for anything but decimal digits, with an optional minus, of 64 bits."""
    if value is None or not _NUMBER.fullmatch(value):
        raise ValueError("not a number")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError("a number beyond 64 bits")  # Kafka has none, and the store could not keep it
    return number
