"""Debezium's change events of relational databases, with or without their schema, as envelope or flattened.

Specification: Debezium's documentation, "Data change events" of the MySQL, PostgreSQL, SQL Server, Oracle and Db2
connectors; "New Record State Extraction" for the flattened ones; "unavailable.value.placeholder".

A changed primary key comes as a delete under the old key and a create under the new one: two records, each complete.
"""

import base64

from streamdex.errors import Reason
from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.intake.formats.connect_json import key_row, payload_of, plain_row, schema_of_field, unwrap
from streamdex.intake.formats.debezium_control import control_event, must_be_control
from streamdex.intake.formats.fields import object_in, state_of, text_in
from streamdex.intake.formats.values import fault, kind_of
from streamdex.model import JsonObject, Record

WRITES = frozenset("cru")
NO_ROWS = {"t": "a truncate", "m": "a message"}
_OPERATIONS = WRITES | NO_ROWS.keys() | {"d"}
_DELETED = "__deleted"
_ENVELOPE = frozenset(("before", "after", "source", "op", "ts_ms", "ts_us", "ts_ns", "transaction", "message"))
# What a flattened event may carry beside the row: fields of the envelope and of its source, on request (`add.fields`).
_ADDED = frozenset(
    f"__{name}"
    for name in (
        *("deleted", "op", "ts_ms", "ts_us", "ts_ns", "version", "connector", "name", "snapshot", "sequence", "query"),
        *(
            "db",
            "schema",
            "table",
            "collection",
            "rs",
            "ord",
            "txId",
            "lsn",
            "xmin",
            "server_id",
            "gtid",
            "file",
            "pos",
        ),
        *("row", "thread", "scn", "commit_scn", "lcr_position", "change_lsn", "commit_lsn", "event_serial_no"),
        *("transaction_id", "transaction_total_order", "transaction_data_collection_order"),
    )
)
_UNAVAILABLE = "__debezium_unavailable_value"
_UNAVAILABLE_BYTES = _UNAVAILABLE.encode()
_UNAVAILABLE_TEXTS = (_UNAVAILABLE, base64.b64encode(_UNAVAILABLE_BYTES).decode(), _UNAVAILABLE_BYTES.hex())
_UNAVAILABLE_LISTS = ([_UNAVAILABLE_TEXTS[0]], [_UNAVAILABLE_TEXTS[1]], list(_UNAVAILABLE_BYTES))


def fits(body: JsonObject, record: Record) -> bool:
    """Whether the record can only be of this format: an envelope with its source, a flag of deletion, or a control."""
    payload = payload_of(body)
    if type(payload) is not dict:
        return False
    if _DELETED in payload:
        return payload[_DELETED] in ("true", "false") or type(payload[_DELETED]) is bool
    if type(payload.get("op")) is str:
        return is_envelope_of(payload, _OPERATIONS) and source_connector(payload) not in ("", "mongodb")
    return must_be_control(payload, record)


def change_of(body: JsonObject, record: Record) -> Change:
    """The change that the record says.

    Raises RecordFault for an unknown operation, for a row that is missing, and for values that contradict their schema.
    """
    payload, schema = unwrap(body)
    if payload is None:  # a tombstone in its wrapper
        return Change(ChangeKind.DELETE, _row_of_deleted({}, record))
    if type(payload) is not dict:
        raise fault(f"payload is {kind_of(payload)}; it must be an object")
    if _DELETED in payload:
        return _flattened(payload, schema, record)
    if why := control_event(payload, record):
        return Change(ChangeKind.IGNORED, {}, why=why)
    if _is_envelope(payload):
        return _of_envelope(payload, schema, record)
    return _flattened(payload, schema, record)


def is_envelope_of(payload: JsonObject, operations: frozenset[str]) -> bool:
    """Whether the payload has an operation and its time, and either the row that belongs to it or nothing else.

    Transformations may add fields of their own; so the second condition alone would miss changes.
    """
    operation = payload.get("op")
    if type(operation) is not str or operation not in operations or "ts_ms" not in payload:
        return False
    rows = [payload[name] for name in ("before", "after") if name in payload]
    if operation in NO_ROWS or any(type(row) in (dict, str) for row in rows) or (operation == "d" and rows):
        return True
    return payload.keys() <= _ENVELOPE


def source_connector(payload: JsonObject) -> str:
    """Which connector the event's source names, such as mysql; empty where none."""
    source = payload.get("source")
    connector = source.get("connector") if type(source) is dict else None
    return connector if type(connector) is str else ""


def operation_of(payload: JsonObject) -> str:
    """The operation. Raises RecordFault for one that Debezium does not know."""
    operation = text_in(payload, "op")
    if operation not in _OPERATIONS:
        raise fault(f"op is none of {', '.join(sorted(_OPERATIONS))}")
    return operation


def _is_envelope(payload: JsonObject) -> bool:
    """Two of an envelope's parts, or one and nothing else: rows may have a column `op` or `source`, too."""
    parts = sum(name in payload for name in ("before", "after", "op")) + (type(payload.get("source")) is dict)
    return parts >= 2 or (parts == 1 and payload.keys() <= _ENVELOPE)


def _of_envelope(payload: JsonObject, schema: JsonObject | None, record: Record) -> Change:
    operation = operation_of(payload)
    if operation in NO_ROWS:
        return Change(ChangeKind.IGNORED, {}, why=NO_ROWS[operation])
    source = object_in(payload, "source") if payload.get("source") is not None else {}
    sequence = _integer(source.get("lsn"))
    if operation in WRITES:
        row, unavailable = _row(object_in(payload, "after"), schema_of_field(schema, "after"), "after")
        return Change(ChangeKind.UPSERT, row, unavailable, sequence)
    before: JsonObject = {}
    if payload.get("before") is not None:
        before, _ = _row(object_in(payload, "before"), schema_of_field(schema, "before"), "before")
    return Change(ChangeKind.DELETE, _row_of_deleted(before, record), sequence=sequence)


def _flattened(payload: JsonObject, schema: JsonObject | None, record: Record) -> Change:
    """A row by itself. Without the flag of deletion, deletes come as null values."""
    added = {name for name in payload if name in _ADDED or name.startswith("__source_")}
    columns = {name: value for name, value in payload.items() if name not in added}
    row, unavailable = _row(columns, schema, "the row")
    sequence = _integer(payload.get("__lsn", payload.get("__source_lsn")))
    if _is_deleted(payload):
        return Change(ChangeKind.DELETE, _row_of_deleted(row, record), sequence=sequence)
    return Change(ChangeKind.UPSERT, row, unavailable, sequence)


def _is_deleted(payload: JsonObject) -> bool:
    flag = payload.get(_DELETED, payload.get("__op") == "d")
    if flag in ("true", "false"):
        return bool(flag == "true")
    if type(flag) is bool:
        return flag
    kind = "another string" if type(flag) is str else state_of(payload, _DELETED)
    raise fault(f"{_DELETED} is {kind}; it must be true or false")


def _row(columns: JsonObject, schema: JsonObject | None, where: str) -> tuple[JsonObject, frozenset[str]]:
    """The columns as plain values, and the names of those whose value the source did not have.

    Those are taken out first: the placeholder is not what a column's schema says.
    """
    unavailable = frozenset(name for name, value in columns.items() if _is_unavailable(value))
    there = {name: value for name, value in columns.items() if name not in unavailable} if unavailable else columns
    return plain_row(there, schema, where), unavailable


def _is_unavailable(value: object) -> bool:
    kind = type(value)
    if kind is str:
        return value in _UNAVAILABLE_TEXTS
    if kind is list:
        return value in _UNAVAILABLE_LISTS
    return kind is dict and value == {_UNAVAILABLE: _UNAVAILABLE}  # PostgreSQL's hstore


def _row_of_deleted(before: JsonObject, record: Record) -> JsonObject:
    """What is known of the row that is gone: `before` may be empty, or hold little but nulls; the key fills it up."""
    key = key_row(record)
    if not before and not key:
        raise fault("before is null or empty, and the record's key is not a JSON object", Reason.NO_ID)
    return {**before, **{name: value for name, value in (key or {}).items() if before.get(name) is None}}


def _integer(value: object) -> int | None:
    return value if type(value) is int else None
