"""JSON to Qdrant's `Value`s, as bytes, and back from its messages.

The client library has such functions as well, but as internals that move between its versions; and they make messages,
see `wire.py`.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import NoneType
from typing import Any

from qdrant_client import grpc as q

from streamdex.index.encoding.wire import UUID_BYTES, delimited, key_of, varint
from streamdex.model import JsonObject

_VARINT, _FIXED64 = 0, 1  # wire types
_NULL = key_of(q.Value, "null_value", _VARINT) + varint(q.NULL_VALUE)
_FALSE, _TRUE = [key_of(q.Value, "bool_value", _VARINT) + varint(truth) for truth in (False, True)]
_INTEGER = key_of(q.Value, "integer_value", _VARINT)
_DOUBLE = key_of(q.Value, "double_value", _FIXED64)
_STRING = key_of(q.Value, "string_value")
_STRUCT = key_of(q.Value, "struct_value")
_LIST = key_of(q.Value, "list_value")
_ITEM = key_of(q.ListValue, "values")
FIELD = key_of(q.Struct, "fields")
_UUID_ITEM = _ITEM + varint(len(_STRING) + 1 + UUID_BYTES) + _STRING + varint(UUID_BYTES)
_ENTRY_NAME, _ENTRY_VALUE = [key_of(q.Struct.FieldsEntry, part) for part in ("key", "value")]

LEVELS = 32  # of our own values; no setting allows more
_LEAST, _BEYOND = -(2**63), 2**63
_SHORT = 256  # bytes; also the small numbers
_DOUBLE_BYTES = struct.Struct("<d").pack


class TooDeepError(ValueError):
    """A value of more levels than are allowed."""


def string(text: str) -> bytes:
    """A value that is a string. Raises UnicodeEncodeError for half of a surrogate pair."""
    return _STRING + delimited(text.encode())


def integer(number: int) -> bytes:
    """A value that is a whole number. Raises ValueError beyond 64 bits."""
    if not _LEAST <= number < _BEYOND:
        raise ValueError("an integer beyond 64 bits")
    return _INTEGER + varint(number if number >= 0 else number + (1 << 64))


def uuids(texts: Sequence[str]) -> bytes:
    """A value that is a list of UUIDs in their usual form. Raises ValueError for other strings."""
    items = b"".join([_UUID_ITEM + text.encode() for text in texts])
    if len(items) != len(texts) * (len(_UUID_ITEM) + UUID_BYTES):
        raise ValueError("a UUID has 36 characters")
    return _LIST + delimited(items)


def struct_of(entries: Sequence[bytes]) -> bytes:
    """A value that is an object of these entries."""
    content = fields(FIELD, entries)
    return _STRUCT + varint(len(content)) + content


def value(json: Any, levels: int = LEVELS) -> bytes:
    """The value of any JSON that Qdrant can keep, with at most so many levels of objects and lists.

    Raises TooDeepError, ValueError (UnicodeEncodeError is one) for numbers and texts that a server refuses, and
    TypeError for what is no JSON.
    """
    write = _SCALARS.get(type(json))
    if write is not None:
        return write(json)
    if not levels:
        raise TooDeepError
    if isinstance(json, dict):
        return struct_of([entry(name, item, levels - 1) for name, item in json.items()])
    if isinstance(json, list | tuple):
        return _list([value(item, levels - 1) for item in json])
    raise TypeError(f"not a JSON value: {type(json).__name__}")


def _list(values: Sequence[bytes]) -> bytes:
    return _LIST + delimited(b"".join([_ITEM + delimited(one) for one in values]))


def _double(number: float) -> bytes:
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return _DOUBLE + _DOUBLE_BYTES(number)


_SCALARS: Mapping[type, Callable[[Any], bytes]] = {
    str: string,
    bool: lambda truth: _TRUE if truth else _FALSE,
    int: integer,
    float: _double,
    NoneType: lambda _: _NULL,
}


class Name:
    """A name that stands in maps of all messages, such as a payload. An entry is a name with its value.

    The key of the map itself, which stands before each of its entries, is `fields`' to add. What stands before a value
    depends on nothing but the name and the value's length, so it is kept for short ones.
    """

    def __init__(self, name: str) -> None:
        self._name = _ENTRY_NAME + delimited(name.encode()) + _ENTRY_VALUE
        self._before_texts: dict[int, bytes] = {}
        self._before: dict[int, bytes] = {}
        self._integers: dict[int, bytes] = {}

    def holds(self, content: bytes) -> bytes:
        """The entry of this name with a value."""
        size = len(content)
        before = self._before.get(size)
        if before is None:
            name = self._name + varint(size)
            before = varint(len(name) + size) + name
            if size < _SHORT:
                self._before[size] = before
        return before + content

    def holds_integer(self, number: int) -> bytes:
        """The same for a whole number; small ones are kept as well. Raises ValueError as `integer` does."""
        found = self._integers.get(number)
        if found is None:
            found = self.holds(integer(number))
            if 0 <= number < _SHORT:
                self._integers[number] = found
        return found

    def holds_text(self, text: str) -> bytes:
        """The same for a string. Raises UnicodeEncodeError as `string` does."""
        content = text.encode()
        size = len(content)
        before = self._before_texts.get(size)
        if before is None:
            string = _STRING + varint(size)
            name = self._name + varint(len(string) + size) + string
            before = varint(len(name) + size) + name
            if size < _SHORT:
                self._before_texts[size] = before
        return before + content


_named = lru_cache(maxsize=1024)(Name)  # metadata mostly has the same names in all documents


def entry(name: str, json: Any, levels: int = LEVELS) -> bytes:
    """An entry with a name of the user's. Raises as `value` does."""
    return _named(name).holds_text(json) if type(json) is str else _named(name).holds(value(json, levels))


def fields(key: bytes, entries: Sequence[bytes]) -> bytes:
    """The map of a message that has this key: each of its entries behind it."""
    return key + key.join(entries) if entries else b""


def name_of(enum: Any, number: int) -> str:
    """An enumeration's word for a number; the number itself where a newer server knows more words than we do."""
    return str(enum.Name(number)) if number in enum.values() else str(number)


def get(value: q.Value) -> Any:
    """The JSON value of a message."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return get_all(value.struct_value.fields)
    if kind == "list_value":
        return [get(item) for item in value.list_value.values]
    if kind is None or kind == "null_value":
        return None
    return getattr(value, kind)


def get_all(fields: Any) -> JsonObject:
    """The JSON object of a message's map of values."""
    return {key: get(item) for key, item in fields.items()}
