"""Any other JSON object, by settings: where the parts of an event stand in it.

A *path* is names with dots, a number picks from an array: `after.tags.0`. A *template* has paths in braces:
`{title} - {body.plain}`; `{{` and `}}` stand for braces.
"""

import string
from collections.abc import Callable
from typing import Any

import orjson

from streamdex.config import MappingSettings
from streamdex.errors import ConfigurationError
from streamdex.intake.formats.values import (
    check_metadata,
    check_version,
    document_key,
    fault,
    kind_of,
    load_exactly,
    load_object,
)
from streamdex.model import Event, JsonObject, Position, Record

_MISSING = object()


class _Path:
    """Picks a value out of JSON; `_MISSING` where there is none."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str, where: str) -> None:
        self.text = text.strip()
        self._steps = self.text.split(".")
        if not all(self._steps):
            fix = "Write names with dots between them, such as after.id."
            raise ConfigurationError("a path has an empty name", where, fix)

    @property
    def name(self) -> str:
        """Its last name."""
        return self._steps[-1]

    def pick(self, value: Any) -> Any:
        for step in self._steps:
            if type(value) is dict:
                value = value.get(step, _MISSING)
            elif type(value) is list and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                return _MISSING
        return value


class Mapping:
    """The settings, read once."""

    def __init__(self, settings: MappingSettings) -> None:
        """Raises ConfigurationError for paths and templates that cannot work."""
        if settings.text is None:
            fix = "Set it to the path of the text, or to a template such as {title} - {body}."
            raise ConfigurationError("a mapping needs the place of the text", "mapping.text", fix)
        self._text = _text_of(settings.text)
        self._id = _path_or_none(settings.id, "mapping.id")
        self._version = _path_or_none(settings.version, "mapping.version")
        self._deleted = _path_or_none(settings.deleted, "mapping.deleted")
        self._metadata = _metadata_paths(settings.metadata)

    def decode(self, record: Record, value: bytes, position: Position, cap_bytes: int, metadata_levels: int) -> Event:
        """The event in `value`, the record's. Raises RecordFault."""
        body = load_object(value, cap_bytes)
        key = document_key(_optional(self._id, body), record.key)
        version = check_version(_optional(self._version, body))
        if _is_true(_optional(self._deleted, body)):
            return Event(key, None, {}, version, position)
        text = self._text(body)
        metadata = self._pick_metadata(body)
        check_metadata(metadata, metadata_levels, lambda: self._pick_metadata(load_exactly(value)))
        return Event(key, text, metadata, version, position)

    def _pick_metadata(self, body: JsonObject) -> JsonObject:
        """One path names an object; of several, those that are there become fields under their last names."""
        if len(self._metadata) == 1:
            found = _optional(self._metadata[0], body)
            if found is not None and type(found) is not dict:
                raise fault(f"{self._metadata[0].text} is {kind_of(found)}, not an object")
            return found or {}
        picked = ((path.name, path.pick(body)) for path in self._metadata)
        return {name: value for name, value in picked if value is not _MISSING}


def _optional(path: _Path | None, body: JsonObject) -> Any:
    if path is None:
        return None
    found = path.pick(body)
    return None if found is _MISSING else found


def _is_true(value: object) -> bool:
    """Non-empty counts as true, but for the string "false", which change-data-capture tools write."""
    return bool(value) and not (type(value) is str and value.lower() == "false")


def _path_or_none(text: str | None, where: str) -> _Path | None:
    return _Path(text, where) if text else None


def _metadata_paths(text: str | None) -> tuple[_Path, ...]:
    paths = tuple(_Path(part, "mapping.metadata") for part in text.split(",")) if text else ()
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        fix = "Give each field another last name, or name the object they stand in."
        raise ConfigurationError("two paths end in the same name", "mapping.metadata", fix)
    return paths


def _text_of(template: str) -> Callable[[JsonObject], str]:
    """What makes the text out of an event: a plain path, or a template over several."""
    if "{" in template or "}" in template:
        return _template(template)
    path = _Path(template, "mapping.text")

    def text(body: JsonObject) -> str:
        found = path.pick(body)
        if type(found) is not str:
            raise fault(f"{path.text} is {_what(found)}, not a text")
        return found

    return text


def _template(template: str) -> Callable[[JsonObject], str]:
    parts: list[str | _Path] = []
    try:
        for literal, field, options, conversion in string.Formatter().parse(template):
            if options or conversion:
                raise ValueError("options in braces")
            parts.append(literal)
            if field is not None:
                parts.append(_Path(field, "mapping.text"))
    except ValueError:
        fix = "Write paths in braces, such as {title} - {body}, and {{ or }} for braces themselves."
        raise ConfigurationError("the template cannot be read", "mapping.text", fix) from None

    def text(body: JsonObject) -> str:
        return "".join(part if isinstance(part, str) else _fill(part, body) for part in parts)

    return text


def _fill(path: _Path, body: JsonObject) -> str:
    found = path.pick(body)
    if type(found) is str:
        return found
    if type(found) in (int, float, bool):
        return orjson.dumps(found).decode()
    raise fault(f"{path.text} is {_what(found)}, not a text")


def _what(found: object) -> str:
    return "missing" if found is _MISSING else kind_of(found)
