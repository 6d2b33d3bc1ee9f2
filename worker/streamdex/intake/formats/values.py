"""What all JSON formats share: reading the bytes, and what may serve as id, version and metadata.

Messages name our fields and the settings' paths, never what stands in a record.
"""

import json
from collections.abc import Callable
from typing import Any

import orjson

from streamdex.errors import Reason, RecordFault, Stage
from streamdex.model import JsonObject

VERSION_HEADER = "streamdex.version"
VERSION_BOUND = 2**53  # exact as a JSON number everywhere, and what fits into a rank

_KINDS = {dict: "an object", list: "an array", str: "a string", int: "an integer", bool: "a boolean"}
_INT64 = range(-(2**63), 2**63)
_WIDE = 2.0**63


def fault(message: str, reason: Reason = Reason.UNDECODABLE) -> RecordFault:
    """The fault of a record that cannot be decoded."""
    return RecordFault(Stage.DECODE, reason, message)


def kind_of(value: object) -> str:
    """What a JSON value is, for a message; never the value itself."""
    return "null" if value is None else _KINDS.get(type(value), "a number with a fraction or beyond 64 bits")


def load_object(value: bytes, cap_bytes: int) -> JsonObject:
    """The JSON object in a record's value. Of a key that stands twice, the last one counts."""
    if len(value) > cap_bytes:
        raise fault(f"the value has {len(value)} bytes, more than {cap_bytes}", Reason.TOO_MANY_BYTES)
    try:
        loaded = orjson.loads(value)
    except orjson.JSONDecodeError:  # its text quotes the value
        raise fault("the value is not JSON in UTF-8, or nests deeper than 1024 levels") from None
    if type(loaded) is not dict:
        raise fault(f"the value is {kind_of(loaded)}, not an object")
    return loaded


def document_key(document_id: object, record_key: bytes | None) -> str:
    """`s:` or `i:` and the id; where there is none (or null), the record's key as text serves as a string id."""
    if type(document_id) is str and document_id:
        return "s:" + document_id
    if type(document_id) is int:
        return f"i:{document_id}"
    if document_id is None:
        return "s:" + _key_text(record_key)
    what = "empty" if document_id == "" else kind_of(document_id)
    raise fault(f"the id is {what}; it must be a string or an integer", Reason.NO_ID)


def _key_text(record_key: bytes | None) -> str:
    if not record_key:
        raise fault("there is neither an id nor a record key", Reason.NO_ID)
    try:
        return record_key.decode()
    except UnicodeDecodeError:
        raise fault("there is no id, and the record key is not text in UTF-8", Reason.NO_ID) from None


def check_version(version: object) -> int | None:
    """The document's own version, None where it has none. A boolean is not an integer."""
    if version is None:
        return None
    if type(version) is not int:
        raise fault(f"the version is {kind_of(version)}; it must be an integer from 0 to 2^53 - 1")
    if not 0 <= version < VERSION_BOUND:
        raise fault("the version lies outside 0 to 2^53 - 1")
    return version


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
