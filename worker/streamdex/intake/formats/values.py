"""What all JSON formats share: reading the bytes, and what may serve as id, version and metadata.

Messages name our fields and the settings' paths, never what stands in a record.
"""

import codecs
import json
import math
import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from streamdex.errors import Reason, RecordFault, Stage
from streamdex.model import JsonObject

VERSION_HEADER = "streamdex.version"
VERSION_BOUND = 2**53  # exact as a JSON number everywhere, and what fits into a rank

_KINDS = {dict: "an object", list: "an array", str: "a string", int: "an integer", bool: "a boolean"}
_INT64 = range(-(2**63), 2**63)
_WIDE = 2.0**63
WIRE_HEADER_BYTES = 5
_GZIP = b"\x1f\x8b"
_COMPRESSED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"BZh": "bzip2"}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class EventLimits(NamedTuple):
    """What an event may hold. `metadata_levels`: how deep metadata nest; `by_version`: versions order the events."""

    record_bytes: int
    metadata_levels: int
    by_version: bool


def fault(message: str, reason: Reason = Reason.UNDECODABLE) -> RecordFault:
    """The fault of a record that cannot be decoded."""
    return RecordFault(Stage.DECODE, reason, message)


def kind_of(value: object) -> str:
    """What a JSON value is, for a message; never the value itself."""
    return "null" if value is None else _KINDS.get(type(value), "a number with a fraction or beyond 64 bits")


def check_size(value: bytes, cap_bytes: int) -> None:
    """Raise a RecordFault for a value above `caps.record_bytes`."""
    if len(value) > cap_bytes:
        raise fault(f"the value has {len(value)} bytes, more than {cap_bytes}", Reason.TOO_MANY_BYTES)


def load_object(value: bytes, cap_bytes: int) -> JsonObject:
    """The JSON object in a record's value. Of a key that stands twice, the last one counts. Raises RecordFault."""
    check_size(value, cap_bytes)
    try:
        loaded = orjson.loads(value)
    except orjson.JSONDecodeError:  # its text quotes the value
        raise unreadable(value) from None
    if type(loaded) is not dict:
        raise fault(f"the value is {kind_of(loaded)}, not an object", Reason.NOT_AN_OBJECT)
    return loaded


def plain_json(value: bytes, cap_bytes: int) -> bytes:
    """The value without a byte order mark, and unpacked when it is gzip. Raises RecordFault."""
    if value.startswith(codecs.BOM_UTF8):
        return value[len(codecs.BOM_UTF8) :]
    if not value.startswith(_GZIP):
        return value
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacking.decompress(value, cap_bytes + 1)
    except zlib.error:
        raise fault("the value begins as gzip does, and cannot be unpacked", Reason.COMPRESSED) from None
    if not unpacking.eof and len(unpacked) <= cap_bytes:
        raise fault("the value is gzip that ends too early", Reason.COMPRESSED)
    return unpacked


def wire_format(data: bytes) -> bool:
    """Whether these bytes begin as Confluent's wire format does: a zero byte, then a schema's id."""
    return len(data) >= WIRE_HEADER_BYTES and data[0] == 0 and data[1] == 0


def unreadable(value: bytes) -> RecordFault:
    """Why a value is no JSON, and what helps."""
    if not value:
        return fault("the value is empty; a delete has no value at all (null)", Reason.EMPTY_VALUE)
    for magic, name in _COMPRESSED.items():
        if value.startswith(magic):
            return fault(f"the value is compressed with {name} by the producer's own code", Reason.COMPRESSED)
    if wire_format(value):
        message = "the value is in the wire format of a schema registry (Avro, Protobuf), which is not read"
        return fault(message, Reason.NEEDS_REGISTRY)
    if value.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\x00" in value[:4]:
        return fault("the value is in UTF-16 or UTF-32, not in UTF-8", Reason.NOT_UTF8)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return fault("the value is not text in UTF-8", Reason.NOT_UTF8)
    return _unreadable_text(text)


def _unreadable_text(text: str) -> RecordFault:  # noqa: PLR0911 - one return for each cause
    """Why a text is no JSON, judged by the slower parser, which accepts more and tells more."""
    try:
        json.loads(text, parse_constant=_refuse_constant, parse_float=_refuse_infinite)
    except _NotFiniteError:
        return fault("the value has NaN, Infinity or a number as large as that", Reason.NOT_FINITE)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return fault("something follows the JSON value; one record carries one event", Reason.TRAILING_DATA)
        return fault(f"the value is not JSON, from character {error.pos} on", Reason.NOT_JSON)
    except RecursionError:
        return fault("the value nests too deep", Reason.TOO_DEEP)
    except ValueError:  # an integer of more than 4300 digits
        return fault("the value has a number that is beyond all that JSON's readers can hold", Reason.NOT_FINITE)
    if _SURROGATE.search(text):
        return fault("the value has half of a surrogate pair, which is no character", Reason.LONE_SURROGATE)
    return fault("the value nests deeper than 1024 levels", Reason.TOO_DEEP)


class _NotFiniteError(Exception):
    """NaN or an infinity stands where a number should."""


def _refuse_constant(_: str) -> None:
    raise _NotFiniteError


def _refuse_infinite(number: str) -> float:
    if math.isinf(float(number)):
        raise _NotFiniteError
    return float(number)


def check_version(version: object) -> int | None:
    """The document's own version, None where it has none. A boolean is not an integer."""
    if version is None:
        return None
    if type(version) is not int:
        raise fault(f"the version is {kind_of(version)}; it must be an integer from 0 to 2^53 - 1")
    if not 0 <= version < VERSION_BOUND:
        raise fault("the version lies outside 0 to 2^53 - 1")
    return version


def read_version(version: object, limits: EventLimits) -> int | None:
    """The version, where versions order events. Elsewhere what is no version counts as none: nothing depends on it."""
    if limits.by_version or version is None:
        return check_version(version)
    return version if type(version) is int and 0 <= version < VERSION_BOUND else None


def check_metadata(metadata: JsonObject, levels: int, read_exactly: Callable[[], JsonObject]) -> None:
    """Raise a RecordFault unless the collection can keep it: at most `levels` deep, integers within 64 bits.

    orjson turns integers beyond 64 bits into floats without a word. So where a number is as large as that, the rare
    case, `read_exactly` must give the metadata as the slower, exact parser reads it.
    """
    if _has_wide_numbers(metadata, levels):
        try:
            _has_wide_numbers(read_exactly(), levels)
        except RecursionError:
            raise fault("the value nests too deep", Reason.TOO_DEEP) from None
        except ValueError:  # an integer of more than 4300 digits
            raise fault("the metadata holds an integer beyond 64 bits") from None


def load_exactly(value: bytes) -> Any:
    """The same JSON with integers of any size kept. Several times slower than `load_object`."""
    return json.loads(value)


def _has_wide_numbers(metadata: JsonObject, levels: int) -> bool:
    """Go through the metadata level by level, without recursion, which deep nesting would break."""
    wide = False
    level: list[Any] = [metadata]
    while level:
        if not levels:
            raise fault("the metadata nests too deep for the collection's payload", Reason.TOO_DEEP)
        levels -= 1
        below: list[Any] = []
        for container in level:
            for value in container.values() if type(container) is dict else container:
                kind = type(value)
                if kind is str:  # most are
                    continue
                if kind is dict or kind is list:
                    below.append(value)
                elif kind is int and value not in _INT64:
                    raise fault("the metadata holds an integer beyond 64 bits")
                elif kind is float and (value >= _WIDE or value <= -_WIDE):
                    wide = True
        level = below
    return wide
