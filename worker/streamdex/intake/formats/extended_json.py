"""MongoDB's extended JSON, canonical, relaxed or of version 1, as plain values.

Specification: "MongoDB Extended JSON (v2)" of the MongoDB manual.

An id is the text that the shell shows, a time is RFC 3339 in UTC, a number is one where JSON has it exactly. What has
no plain form (`$minKey`, a regular expression) stays as it is, and so does a field that only begins with a dollar.
"""

import base64
import binascii
import uuid
from collections.abc import Callable
from typing import Any

import orjson

from streamdex.errors import Reason
from streamdex.intake.formats.scalars import integer_or_text, utc, utc_text
from streamdex.intake.formats.values import fault, kind_of
from streamdex.model import JsonObject

_EXACT = 2**53
_LEVELS = 200  # BSON nests 100 deep, and a wrapper may stand around the innermost value
_UUID_SUBTYPES = ("04", "4")
_BINARY_OF_VERSION_1 = frozenset(("$binary", "$type"))


def plain(value: Any, where: str) -> Any:
    """The value without its wrappers; `where` names the field for a fault. Raises RecordFault."""
    return _plain(value, where, _LEVELS)


def parse(value: Any, where: str) -> Any:
    """The same for a value that may be JSON in a string. Raises RecordFault."""
    if type(value) is str:
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:  # its text quotes the value
            raise fault(f"{where} is a string that is not JSON") from None
    return plain(value, where)


def with_whole_id(document: JsonObject) -> JsonObject:
    """The document with `_id` 7 where it was 7.0: to MongoDB the two are one id, and its shell writes the latter."""
    found = document.get("_id")
    if type(found) is float and found.is_integer() and abs(found) < _EXACT:
        return {**document, "_id": int(found)}
    return document


def _plain(value: Any, where: str, levels: int) -> Any:
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    if not levels:
        raise fault(f"{where} nests too deep", Reason.TOO_DEEP)
    if kind is list:
        return [_plain(inner, where, levels - 1) for inner in value]
    if len(value) == 1:
        [(name, inner)] = value.items()
        if name in _WRAPPERS:
            return _WRAPPERS[name](inner, f"{where}: {name}")
    if value.keys() == _BINARY_OF_VERSION_1:
        return _binary({"base64": value["$binary"], "subType": value["$type"]}, f"{where}: $binary")
    return {name: _plain(inner, where, levels - 1) for name, inner in value.items()}


def _text(value: Any, where: str) -> str:
    if type(value) is not str:
        raise fault(f"{where} is {kind_of(value)}; it must be a string")
    return value


def _integer(value: Any, where: str) -> int:
    """As text in canonical form; some writers give the number itself."""
    number = integer_or_text(value) if type(value) is str else value
    if type(number) is not int:
        what = "not an integer of 64 bits" if type(value) is str else f"{kind_of(value)}; it must be a string"
        raise fault(f"{where} is {what}")
    return number


def _double(value: Any, where: str) -> float | str:
    """Infinity and NaN stay text: JSON has no numbers for them."""
    if type(value) in (int, float):
        return float(value)
    text = _text(value, where)
    try:
        number = float(text)
    except ValueError:
        raise fault(f"{where} is not a number") from None
    return number if abs(number) < float("inf") else text


def _date(value: Any, where: str) -> str | int:
    if type(value) is dict and value.keys() == {"$numberLong"}:
        value = _integer(value["$numberLong"], f"{where}.$numberLong")
    return utc(value, 1000) if type(value) is int else utc_text(_text(value, where))


def _uuid(value: Any, where: str) -> str:
    try:
        return str(uuid.UUID(_text(value, where)))
    except ValueError:
        raise fault(f"{where} is not a UUID") from None


def _binary(value: Any, where: str) -> str:
    """Base64 as it came, but a UUID as people write one."""
    if type(value) is not dict:
        raise fault(f"{where} is {kind_of(value)}; it must be an object")
    text = _text(value.get("base64"), f"{where}.base64")
    if value.get("subType") not in _UUID_SUBTYPES:
        return text
    try:
        return str(uuid.UUID(bytes=base64.b64decode(text, validate=True)))
    except (binascii.Error, ValueError):
        raise fault(f"{where} is not a UUID in base64") from None


_WRAPPERS: dict[str, Callable[[Any, str], Any]] = {
    "$oid": _text,
    "$symbol": _text,
    "$numberInt": _integer,
    "$numberLong": _integer,
    "$numberDouble": _double,
    "$numberDecimal": lambda value, where: integer_or_text(_text(value, where)),
    "$date": _date,
    "$uuid": _uuid,
    "$binary": _binary,
    "$undefined": lambda _value, _where: None,
}
