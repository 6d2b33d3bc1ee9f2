"""Writers that stand for the tools that send a table's changes, each in its own dialect.

Snapshot, insert, update (where the source has it, with a value that the log did not have), delete, control events,
and a changed primary key in the dialects that send it as two records.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from streamdex.intake.formats.connect_json import key_row
from streamdex.intake.formats.debezium_mongodb import row_of_key
from streamdex.model import JsonObject, Record

Sent = tuple[Any, JsonObject | None]  # key and value
UNAVAILABLE = "__debezium_unavailable_value"


class Step(NamedTuple):
    """Write the row with this id, or delete it, or move it to another id."""

    kind: str
    row_id: int
    title: str
    new_id: int


class Dialect(NamedTuple):
    """How one tool writes; `id_name` is the field that holds the id in its rows."""

    format: str
    write: Callable[[JsonObject | None, JsonObject], list[Sent]]  # the row before, the row after
    delete: Callable[[JsonObject], list[Sent]]
    control: Sent
    id_name: str = "id"
    moves: bool = False
    row_of_key: Callable[[Record], JsonObject] = lambda record: key_row(record) or {}


def wrapped(payload: JsonObject, fields: list[JsonObject]) -> JsonObject:
    return {"schema": {"type": "struct", "optional": False, "fields": fields}, "payload": payload}


def debezium_write(before: JsonObject | None, after: JsonObject) -> list[Sent]:
    body = UNAVAILABLE if before and before["body"] == after["body"] else after["body"]
    source = {"connector": "postgresql", "lsn": 1}
    value = {
        "before": None,
        "after": {**after, "body": body},
        "source": source,
        "op": "u" if before else "c",
        "ts_ms": 1,
    }
    return [({"id": after["id"]}, value)]


def debezium_delete(row: JsonObject) -> list[Sent]:
    key = {"id": row["id"]}
    value = {"before": None, "after": None, "source": {"connector": "postgresql"}, "op": "d", "ts_ms": 1}
    return [(key, value), (key, None)]


KEY_FIELDS: list[JsonObject] = [{"field": "id", "type": "int32", "optional": False}]
ROW_FIELDS: list[JsonObject] = [
    *KEY_FIELDS,
    {"field": "title", "type": "string", "optional": True},
    {"field": "body", "type": "string", "optional": True, "name": "io.debezium.data.Json"},
]
ENVELOPE_FIELDS: list[JsonObject] = [
    {"field": "before", "type": "struct", "fields": ROW_FIELDS},
    {"field": "after", "type": "struct", "fields": ROW_FIELDS},
]


def with_schema(sent: list[Sent]) -> list[Sent]:
    """The same with schemas, and with the body as JSON in a string."""
    found: list[Sent] = []
    for key, value in sent:
        if value is not None and value["after"]:
            body = value["after"]["body"]
            written = body if body == UNAVAILABLE else orjson.dumps(body).decode()
            value["after"]["body"] = written
        found.append((wrapped(key, KEY_FIELDS), value and wrapped(value, ENVELOPE_FIELDS)))
    return found


def flattened_write(before: JsonObject | None, after: JsonObject) -> list[Sent]:
    [(key, value)] = debezium_write(before, after)
    assert value is not None
    return [(key, {**value["after"], "__op": value["op"], "__deleted": "false"})]


def flattened_delete(row: JsonObject) -> list[Sent]:
    return [({"id": row["id"]}, {"id": row["id"], "title": None, "body": None, "__deleted": "true"})]


def maxwell(kind: str, row: JsonObject, **more: JsonObject) -> list[Sent]:
    value = {"database": "shop", "table": "notes", "type": kind, "ts": 1, "data": row, **more}
    return [({"database": "shop", "table": "notes", "pk.id": row["id"]}, value)]


def canal(kind: str, row: JsonObject, **more: list[JsonObject]) -> list[Sent]:
    texts = {**row, "id": str(row["id"])}
    types = {"id": "int(11)", "title": "text", "body": "text"}
    value = {"data": [texts], "database": "shop", "table": "notes", "type": kind, "isDdl": False, "pkNames": ["id"]}
    return [(None, {**value, "mysqlType": types, **more})]


def dms(operation: str, row: JsonObject) -> list[Sent]:
    return [(None, {"data": row, "metadata": {"record-type": "data", "operation": operation, "table-name": "notes"}})]


def mongo(row: JsonObject) -> JsonObject:
    """With the id as the shell writes it: a double."""
    return {"_id": float(row["id"]), "title": row["title"], "body": row["body"]}


def mongodb(operation: str, row: JsonObject) -> list[Sent]:
    document = {} if operation == "delete" else {"fullDocument": mongo(row)}
    key = {"_id": {"$numberDouble": str(float(row["id"]))}}
    return [(None, {"_id": {}, "ns": {}, "operationType": operation, "documentKey": key, **document})]


def debezium_mongodb(operation: str, row: JsonObject) -> list[Sent]:
    after = None if operation == "d" else orjson.dumps(mongo(row)).decode()
    value = {"after": after, "source": {"connector": "mongodb"}, "op": operation, "ts_ms": 1}
    return [({"id": str(float(row["id"]))}, value)]


HEARTBEAT: Sent = ({"serverName": "shop"}, {"ts_ms": 1})
DIALECTS = {
    "debezium": Dialect("debezium", debezium_write, debezium_delete, HEARTBEAT, moves=True),
    "debezium with schemas": Dialect(
        "debezium",
        lambda before, after: with_schema(debezium_write(before, after)),
        lambda row: with_schema(debezium_delete(row)),
        HEARTBEAT,
        moves=True,
    ),
    "debezium flattened": Dialect("debezium", flattened_write, flattened_delete, HEARTBEAT, moves=True),
    "debezium_mongodb": Dialect(
        "debezium_mongodb",
        lambda before, after: debezium_mongodb("u" if before else "c", after),
        lambda row: [*debezium_mongodb("d", row), (debezium_mongodb("d", row)[0][0], None)],
        HEARTBEAT,
        id_name="_id",
        row_of_key=row_of_key,
    ),
    "maxwell": Dialect(
        "maxwell",
        lambda before, after: (
            maxwell("update", after, old={"title": before["title"]}) if before else maxwell("insert", after)
        ),
        lambda row: maxwell("delete", row),
        (None, {"database": "shop", "table": "notes", "type": "bootstrap-start", "ts": 1, "data": {}}),
    ),
    "canal": Dialect(
        "canal",
        lambda before, after: (
            canal("UPDATE", after, old=[{"title": before["title"]}]) if before else canal("INSERT", after)
        ),
        lambda row: canal("DELETE", row),
        (None, {"isDdl": True, "type": "ALTER", "database": "shop", "table": "notes", "data": None}),
    ),
    "dms": Dialect(
        "dms",
        lambda before, after: dms("update" if before else "load", after),
        lambda row: dms("delete", row),
        (None, {"control": {}, "metadata": {"record-type": "control", "operation": "drop-table", "table-name": "x"}}),
    ),
    "mongodb": Dialect(
        "mongodb",
        lambda before, after: mongodb("update" if before else "insert", after),
        lambda row: mongodb("delete", row),
        (None, {"_id": {}, "ns": {}, "operationType": "createIndexes"}),
        id_name="_id",
    ),
}


def sent_by(dialect: Dialect, table: dict[int, JsonObject], step: Step) -> Iterator[Sent]:
    """Do the step to the table, and what the tool sends of it."""
    before = table.get(step.row_id)
    if step.kind == "write":
        row = {"id": step.row_id, "title": step.title, "body": (before or {}).get("body", f"long {step.title}")}
        table[step.row_id] = row
        yield from dialect.write(before, row)
    elif before and (step.kind == "delete" or not dialect.moves):
        yield from dialect.delete(table.pop(step.row_id))
    elif before and step.new_id not in table:
        del table[step.row_id]
        table[step.new_id] = {**before, "id": step.new_id}
        yield from dialect.delete(before)
        yield from dialect.write(None, table[step.new_id])
