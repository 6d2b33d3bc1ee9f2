"""Which document an event is about. Values and keys go through the same functions.

So an upsert and a null value of one document name the same one. An id is text: the integer 7 and the string "7" are one
document.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from streamdex.errors import Reason, RecordFault
from streamdex.intake.formats.values import fault, kind_of, wire_format

SEPARATOR = ":"  # between the parts of a composite id
_ESCAPED = str.maketrans({"\\": "\\\\", SEPARATOR: "\\" + SEPARATOR})


def id_text(found: object, name: str = "the id") -> str:
    """An id, or a part of one, as text. Raises RecordFault for anything but a string or an integer."""
    if type(found) is str and found:
        return found
    if type(found) is int:
        return str(found)
    what = "missing" if found is None else "empty" if found == "" else kind_of(found)
    raise no_id(f"{name} is {what}; it must be a string or an integer")


def joined(parts: Sequence[str]) -> str:
    r"""The id of one part is the part itself. Several are joined with ":"; a ":" or "\" in a part gets a "\" before it.

    So no two lists of parts have the same id.
    """
    if len(parts) == 1:
        return parts[0]
    return SEPARATOR.join([part.translate(_ESCAPED) for part in parts])


def id_from_key(key: bytes | None, names: Sequence[str] = ("id",)) -> str:
    """The id in a record's key: text, a JSON string, or an object with these fields, with or without its schema.

    An object of one field needs no particular name, if the id has one part. Raises RecordFault.
    """
    found = read_key(key)
    if type(found) is not dict:
        if len(names) > 1:
            raise no_id(f"the record key is {kind_of(found)}, and the id has the parts {', '.join(names)}")
        return id_text(found, "the record key")
    if len(names) == 1 and len(found) == 1 and names[0] not in found:
        return id_text(next(iter(found.values())), "the record key's field")
    return joined([id_text(found.get(name), f"{name} in the record key") for name in names])


def read_key(key: bytes | None) -> Any:
    """What a record's key says: text, or what stands in its JSON string or object. Raises RecordFault.

    A number stays the text that it is: `7` and `007` are two ids, as in any other text.
    """
    if not key:
        raise no_id("there is no record key")
    if wire_format(key):
        raise no_id("the record key is in the wire format of a schema registry, which is not read")
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise no_id("the record key is not text in UTF-8") from None
    if not text.isprintable():  # a number in binary is valid UTF-8 whenever its bytes happen to be
        raise no_id("the record key holds control characters: it is no text")
    if text[0] not in '{"':
        return text
    try:
        found = orjson.loads(key)
    except orjson.JSONDecodeError:
        return text
    if type(found) is dict and found.keys() == {"schema", "payload"}:
        return found["payload"]
    return found


def no_id(message: str) -> RecordFault:
    """The fault of a record that names no document."""
    return fault(message, Reason.NO_ID)
