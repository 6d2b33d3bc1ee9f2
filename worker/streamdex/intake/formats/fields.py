"""What the formats of changes ask of an object's fields. Faults name the field and its kind, never its value."""

from typing import Any

import orjson

from streamdex.intake.formats.values import fault, kind_of
from streamdex.model import JsonObject, Record

_SHOWN_CHARACTERS = 60


def shown(name: str) -> str:
    """A name that came with a record, fit for a message: short, and without characters that do not print."""
    name = "".join(character if character.isprintable() else "?" for character in name[: _SHOWN_CHARACTERS + 1])
    return name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…"


def state_of(body: JsonObject, name: str) -> str:
    """Of what kind a field is, or that it is missing."""
    return kind_of(body[name]) if name in body else "missing"


def object_in(body: JsonObject, name: str) -> JsonObject:
    """The object in a field. Raises RecordFault."""
    found = body.get(name)
    if type(found) is not dict:
        raise fault(f"{shown(name)} is {state_of(body, name)}; it must be an object")
    return found


def text_in(body: JsonObject, name: str) -> str:
    """The string in a field. Raises RecordFault."""
    found = body.get(name)
    if type(found) is not str:
        raise fault(f"{shown(name)} is {state_of(body, name)}; it must be a string")
    return found


def parsed_key(record: Record) -> Any:
    """The record's key as JSON; None where there is no key, or where it is no JSON."""
    try:
        return orjson.loads(record.key) if record.key else None
    except orjson.JSONDecodeError:
        return None
