"""Maxwell's daemon: the changes of MySQL's rows.

Specification: Maxwell's documentation, "Data format", "Bootstrapping" and "Kafka" (for the record's key).
"""

from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.intake.formats.fields import object_in, parsed_key, text_in
from streamdex.intake.formats.primary_key import check_key_is_kept
from streamdex.intake.formats.values import fault
from streamdex.model import JsonObject, Record

_WRITES = frozenset(("insert", "update", "bootstrap-insert"))
_BOOTSTRAP = frozenset(("bootstrap-start", "bootstrap-complete"))
_DDL = frozenset(
    ("table-create", "table-alter", "table-drop", "database-create", "database-alter", "database-drop"),
)
_ROWS = _WRITES | _BOOTSTRAP | {"delete"}
_KEY_PREFIX = "pk."


def fits(body: JsonObject, _record: Record) -> bool:
    """Whether the record can only be of this format: a type of Maxwell's, with a table and with what that type has."""
    kind = body.get("type")
    if type(kind) is not str or type(body.get("database")) is not str or "ts" not in body:
        return False
    if kind in _DDL:
        return "sql" in body or "def" in body
    return kind in _ROWS and "table" in body and type(body.get("data")) is dict


def change_of(body: JsonObject, record: Record) -> Change:
    """The change that the record says.

    Raises RecordFault for an unknown type, for a row that is missing, and for an update that changes the primary key.
    """
    kind = text_in(body, "type")
    if kind in _BOOTSTRAP:
        return Change(ChangeKind.IGNORED, {}, why="a bootstrap's start or end")
    if kind in _DDL:
        return Change(ChangeKind.IGNORED, {}, why="a change of a table's or database's definition")
    if kind not in _WRITES and kind != "delete":
        raise fault("type is not one that Maxwell has")
    row = object_in(body, "data")
    position = body.get("position")
    sequence = position if type(position) is int else None  # usually a file and a place in it, as text
    if kind == "delete":
        return Change(ChangeKind.DELETE, row, sequence=sequence)
    check_key_is_kept(row, body.get("old"), _key_columns(body, record))
    return Change(ChangeKind.UPSERT, row, sequence=sequence)


def _key_columns(body: JsonObject, record: Record) -> list[object]:
    """The names of the primary key's columns: on request in the event, else in the record's key."""
    columns = body.get("primary_key_columns")
    if type(columns) is list:
        return columns
    if not body.get("old"):  # spares the usual insert the parsing of its key
        return []
    key = parsed_key(record)
    names = key.keys() if type(key) is dict else ()
    return [name.removeprefix(_KEY_PREFIX) for name in names if name.startswith(_KEY_PREFIX)]
