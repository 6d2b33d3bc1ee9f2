"""Canal's flat messages, and the same from TiCDC (`canal-json`): the changes of MySQL's rows.

Specification: class `FlatMessage` and the wiki of alibaba/canal; "TiCDC Canal-JSON Protocol" of TiDB's documentation.

Every column comes as text. Integers become numbers, a BIT(1) and a BOOLEAN become booleans; all else stays text.
"""

from typing import Any

from streamdex.errors import Reason
from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.intake.formats.fields import state_of, text_in
from streamdex.intake.formats.primary_key import check_key_is_kept
from streamdex.intake.formats.scalars import integer_or_text
from streamdex.intake.formats.values import fault, kind_of
from streamdex.model import JsonObject, Record

_ROWS = frozenset(("INSERT", "UPDATE", "DELETE"))
_WATERMARK = "TIDB_WATERMARK"
_INTEGERS = frozenset(("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year"))
_BOOLEANS = {"0": False, "1": True, "false": False, "true": True}
# java.sql.Types, for messages without MySQL's own names.
_SQL_INTEGERS = frozenset((-6, -5, 4, 5))
_SQL_BOOLEANS = frozenset((-7, 16))


def fits(body: JsonObject, _record: Record) -> bool:
    """Whether the record can only be of this format: `isDdl` as a boolean, a type, a table, and rows or a statement."""
    if type(body.get("isDdl")) is not bool or type(body.get("type")) is not str:
        return False
    return "database" in body and "table" in body and ("data" in body or "sql" in body or body["type"] == _WATERMARK)


def change_of(body: JsonObject, _record: Record) -> Change:
    """The change that the record says.

    Raises RecordFault for an unknown type, for none or several rows, and for an update that changes the primary key.
    """
    kind = text_in(body, "type")
    if body.get("isDdl") is True:
        return Change(ChangeKind.IGNORED, {}, why="a statement that defines data")
    if kind == _WATERMARK:
        return Change(ChangeKind.IGNORED, {}, why="a watermark")
    if kind == "QUERY":
        return Change(ChangeKind.IGNORED, {}, why="a statement without rows")
    if kind not in _ROWS:
        raise fault(f"type is none of {', '.join(sorted(_ROWS))}")
    texts = _one_row(body)
    row = {name: _plain(value, body, name) for name, value in texts.items()}
    if kind == "DELETE":
        return Change(ChangeKind.DELETE, row)
    if kind == "UPDATE":
        check_key_is_kept(texts, _old(body), _key_columns(body))
    return Change(ChangeKind.UPSERT, row)


def _one_row(body: JsonObject) -> JsonObject:
    rows = body.get("data")
    if type(rows) is not list:
        raise fault(f"data is {state_of(body, 'data')}; it must be an array of one row")
    if len(rows) != 1:
        raise fault(
            f"data has {len(rows)} rows; one record must carry one row",
            Reason.SEVERAL_DOCUMENTS if rows else Reason.MISSING_FIELD,
        )
    if type(rows[0]) is not dict:
        raise fault(f"data.0 is {kind_of(rows[0])}; it must be an object")
    row: JsonObject = rows[0]
    return row


def _old(body: JsonObject) -> object:
    """What the changed columns were."""
    old = body.get("old")
    return old[0] if type(old) is list and old else None


def _key_columns(body: JsonObject) -> list[object]:
    columns = body.get("pkNames")
    return columns if type(columns) is list else []


def _plain(value: Any, body: JsonObject, column: str) -> Any:
    """The value as its type means it, where that is exact: `00042` (ZEROFILL) stays text."""
    if type(value) is not str:
        return value
    if _is_boolean(body, column):
        return _BOOLEANS.get(value, value)
    return integer_or_text(value) if _is_integer(body, column) else value


def _is_integer(body: JsonObject, column: str) -> bool:
    name = _type_name(body, column)
    return name.partition("(")[0].split(" ")[0] in _INTEGERS if name else _sql_type(body, column) in _SQL_INTEGERS


def _is_boolean(body: JsonObject, column: str) -> bool:
    """A TINYINT(1) is none: it may hold 2."""
    name = _type_name(body, column)
    return name in ("bit(1)", "bit", "bool", "boolean") if name else _sql_type(body, column) in _SQL_BOOLEANS


def _type_name(body: JsonObject, column: str) -> str:
    names = body.get("mysqlType")
    name = names.get(column) if type(names) is dict else None
    return name.lower() if type(name) is str else ""


def _sql_type(body: JsonObject, column: str) -> int | None:
    numbers = body.get("sqlType")
    number = numbers.get(column) if type(numbers) is dict else None
    return number if type(number) is int else None
