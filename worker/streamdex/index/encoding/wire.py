"""Protobuf's wire format, for what is written with every document.

Filling messages of the generated classes costs a third of a worker's CPU: every field is an object in Python and one in
C, and each map that is filled frees two arenas. After ten thousand freed blocks protobuf returns the whole heap to the
system (`malloc_trim` in its Python runtime, seen in 7.36), and each page is faulted in again. So points, manifests and
ids become bytes at once, and gRPC sends these. Answers, and requests that are rare, stay messages.

Numbers of fields come from the generated classes. A message may hold its fields in any order, and messages that are
joined are merged: so the rare fields of a request may be a message that is put before the frequent ones.
"""

from collections.abc import Iterable
from typing import Any

UUID_BYTES = 36  # as text

_SEVEN_BITS = 1 << 7
_TABLE = 1 << 14  # numbers below are looked up; larger ones are put together of two bytes at a time
_SHORT = tuple([bytes((n,)) if n < _SEVEN_BITS else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(_TABLE)])
_CONTINUED = tuple([bytes((n & 0x7F | 0x80, n >> 7 | 0x80)) for n in range(_TABLE)])
_LENGTH_DELIMITED = 2


def varint(number: int) -> bytes:
    """A number from 0, 7 bits a byte."""
    if number < _TABLE:
        return _SHORT[number]
    if number < _TABLE * _TABLE:
        return _CONTINUED[number % _TABLE] + _SHORT[number // _TABLE]
    return _CONTINUED[number % _TABLE] + _CONTINUED[number // _TABLE % _TABLE] + varint(number // (_TABLE * _TABLE))


def key_of(message: Any, field: str, wire_type: int = _LENGTH_DELIMITED) -> bytes:
    """What stands before a field of this generated class: its number and how its end is found."""
    return varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | wire_type)


def length(parts: Iterable[bytes]) -> bytes:
    """What stands before parts that belong together: they are joined at the end, not copied at each step."""
    return varint(sum(map(len, parts)))


def delimited(content: bytes) -> bytes:
    """Content behind its length, as strings, bytes and messages stand within a message."""
    size = len(content)
    return (_SHORT[size] if size < _TABLE else varint(size)) + content  # without a call: it is the most frequent one
