"""Rows of any shape, by settings: where a document's parts stand in a row."""

import re
from collections.abc import Callable
from typing import NamedTuple

from streamdex.config import MappingSettings
from streamdex.errors import ConfigurationError, Reason
from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.intake.formats.expressions import MISSING, Expression, split_list
from streamdex.intake.formats.ids import id_from_key, id_text, joined
from streamdex.intake.formats.templates import text_of
from streamdex.intake.formats.truth import is_true
from streamdex.intake.formats.values import EventLimits, check_metadata, fault, read_version
from streamdex.model import Event, Ignored, JsonObject, Position, Record

_NAMED = re.compile(r"([\w-]+)\s*:\s*(.+)", re.DOTALL)


class _Field(NamedTuple):
    """One metadata field: its name, and where its value stands."""

    name: str
    expression: Expression


class RowMapping:
    """The settings, read once."""

    def __init__(self, settings: MappingSettings, limits: EventLimits) -> None:
        """Raises ConfigurationError for expressions and templates that cannot work."""
        if settings.text is None:
            fix = "Set it to the place of the text, or to a template such as {title} - {body}."
            raise ConfigurationError("a mapping needs the place of the text", "mapping.text", fix)
        self._limits = limits
        self._text, uses = text_of(settings.text)
        self._ids = [Expression(part, "mapping.id") for part in split_list(settings.id)] if settings.id else []
        self._lists = [one for one in map(_list_before_index, self._ids) if one is not None]
        self._names = [expression.name for expression in self._ids] or ["id"]
        self._version = _expression(settings.version, "mapping.version")
        self._deleted = _expression(settings.deleted, "mapping.deleted")
        self._deleted_when = _expression(settings.deleted_when, "mapping.deleted_when")
        self._ignore_when = _expression(settings.ignore_when, "mapping.ignore_when")
        self._metadata = _Metadata(settings.metadata)
        conditions = [one for one in (self._deleted, self._deleted_when, self._ignore_when) if one is not None]
        self._uses = [one.uses for one in (*uses, *conditions, *self._metadata.uses)]

    def event(
        self, change: Change, record: Record, position: Position, read_exactly: Callable[[], JsonObject]
    ) -> Event | Ignored:
        """What the change means. `read_exactly` gives its row with integers of any size kept. Raises RecordFault."""
        row = change.row
        if _holds(self._ignore_when, row, record):
            return Ignored("mapping.ignore_when holds", position)
        document_id = self.id_of(row, record)
        version = self._version.pick_or_none(row, record) if self._version else change.sequence
        version = read_version(version, self._limits)
        if change.kind is ChangeKind.DELETE or self._deletes(row, record):
            return Event(document_id, None, {}, version, position)
        self._refuse_unavailable(change)
        text = self._text(row, record)
        metadata = self._metadata.pick(row, record)
        exact = lambda: self._metadata.pick(read_exactly(), record)  # noqa: E731  # hardly ever called
        check_metadata(metadata, self._limits.metadata_levels, exact)
        return Event(document_id, text, metadata, version, position)

    def id_from_key(self, key: bytes | None) -> str:
        """The document that a null value deletes. Raises RecordFault."""
        return id_from_key(key, self._names)

    def id_of(self, row: JsonObject, record: Record) -> str:
        """The document that a row belongs to. Raises RecordFault."""
        if not self._ids:
            return id_from_key(record.key)
        for one in self._lists:
            found = one.pick_or_none(row, record)
            if type(found) is list and len(found) > 1:
                message = f"{one.text} has {len(found)} entries; one record must carry one document"
                raise fault(message, Reason.SEVERAL_DOCUMENTS)
        return joined([id_text(one.pick_or_none(row, record), one.text) for one in self._ids])

    def _deletes(self, row: JsonObject, record: Record) -> bool:
        return _holds(self._deleted, row, record) or _holds(self._deleted_when, row, record)

    def _refuse_unavailable(self, change: Change) -> None:
        """The source left an unchanged field out: what was indexed of it is not known here, and must not be lost."""
        if not change.unavailable:
            return
        left_out = self._metadata.of_row(change.unavailable).union(
            *(change.unavailable if names is None else change.unavailable & names for names in self._uses)
        )
        if left_out:
            message = f"the source left out {min(left_out)}, as it did not change; let it send whole rows"
            raise fault(message, Reason.VALUE_UNAVAILABLE)


class _Metadata:
    """`mapping.metadata`: the name of an object or of a value, or several of them with commas.

    `*` takes the whole row, `-field` leaves one out of it, `name: expression` renames or computes one.
    """

    def __init__(self, text: str | None) -> None:
        self._takes_all = False
        self._without: set[str] = set()
        self._fields: list[_Field] = []
        for part in split_list(text) if text else ():
            self._add(part)
        names = [field.name for field in self._fields]
        if len(set(names)) < len(names):
            fix = "Give each field another name (name: expression), or name the object they stand in."
            raise ConfigurationError("two fields have the same name", "mapping.metadata", fix)
        self._alone = len(self._fields) == 1 and not self._takes_all and _NAMED.fullmatch(text or "") is None
        self.uses = tuple(field.expression for field in self._fields)

    def of_row(self, names: frozenset[str]) -> frozenset[str]:
        """Those of a row's fields that `*` takes."""
        return names - self._without if self._takes_all else frozenset()

    def _add(self, part: str) -> None:
        if part == "*":
            self._takes_all = True
        elif part.startswith("-"):
            self._without.add(part[1:].strip())
        else:
            named = _NAMED.fullmatch(part)
            expression = Expression(named[2] if named else part, "mapping.metadata")
            self._fields.append(_Field(named[1] if named else expression.name, expression))

    def pick(self, row: JsonObject, record: Record) -> JsonObject:
        """The metadata of a row. One name alone may be that of an object, whose fields are taken."""
        found = {name: value for name, value in row.items() if name not in self._without} if self._takes_all else {}
        for name, expression in self._fields:
            value = expression.pick(row, record)
            if self._alone and (type(value) is dict or value is None):
                return value or {}
            if value is not MISSING:
                found[name] = value
        return found


def _list_before_index(expression: Expression) -> Expression | None:
    """The list that an id is picked from by an index. Its other entries would be lost without a word."""
    found = re.match(r"(.+?)(?:\.\d+\b|\[-?\d+\])", expression.text)
    return Expression(found[1], expression.where) if found else None


def _holds(condition: Expression | None, row: JsonObject, record: Record) -> bool:
    return condition is not None and is_true(condition.pick_or_none(row, record), condition.where)


def _expression(text: str | None, where: str) -> Expression | None:
    return Expression(text, where) if text else None
