"""Kafka Connect's JSON: `{"schema": …, "payload": …}`, and values that mean what their schema's name says.

Specification: Kafka Connect's JsonConverter and org.apache.kafka.connect.data (Apache Kafka), and "Data types" with
the io.debezium.time and io.debezium.data names in the Debezium connectors' documentation.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any

import orjson

from streamdex.errors import Reason
from streamdex.intake.formats.fields import parsed_key, shown
from streamdex.intake.formats.scalars import day, decimal, time_of_day, utc, utc_text
from streamdex.intake.formats.values import fault, kind_of
from streamdex.model import JsonObject, Record

_DEBEZIUM_DECIMAL = "io.debezium.data.VariableScaleDecimal"
_CONNECT_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_DECIMAL_BYTES = 1_700  # fewer digits than Python's bound on turning integers into text
_SCALES = range(-100, 20_000)  # PostgreSQL's end at 16383
_LEVELS = 100

_OF_INTEGERS: dict[str, Callable[[int], Any]] = {
    "io.debezium.time.Date": day,
    "io.debezium.time.Time": lambda count: time_of_day(count, 10**3),
    "io.debezium.time.MicroTime": lambda count: time_of_day(count, 10**6),
    "io.debezium.time.NanoTime": lambda count: time_of_day(count, 10**9),
    "io.debezium.time.Timestamp": lambda count: utc(count, 10**3),
    "io.debezium.time.MicroTimestamp": lambda count: utc(count, 10**6),
    "io.debezium.time.NanoTimestamp": lambda count: utc(count, 10**9),
    "org.apache.kafka.connect.data.Date": day,
    "org.apache.kafka.connect.data.Time": lambda count: time_of_day(count, 10**3),
    "org.apache.kafka.connect.data.Timestamp": lambda count: utc(count, 10**3),
}
_OF_TEXTS: dict[str, Callable[[str], Any]] = {
    "io.debezium.time.ZonedTimestamp": utc_text,
    "io.debezium.time.IsoTimestamp": utc_text,
    "io.debezium.time.IsoDate": lambda text: text.removesuffix("Z"),  # RFC 3339 has no zone for a day
    "io.debezium.data.Json": orjson.loads,
}


def payload_of(body: JsonObject) -> Any:
    """What is wrapped with a schema, or the body itself where nothing is."""
    return body["payload"] if body.keys() == {"schema", "payload"} else body


def unwrap(body: JsonObject) -> tuple[Any, JsonObject | None]:
    """The payload, and its schema where there is one. Raises RecordFault for a schema that is none."""
    if body.keys() != {"schema", "payload"}:
        return body, None
    schema = body["schema"]
    if schema is not None and type(schema) is not dict:
        raise fault(f"schema is {kind_of(schema)}; it must be an object or null")
    return body["payload"], schema


def schema_of_field(schema: JsonObject | None, name: str) -> JsonObject | None:
    """The schema of one field of a struct, None where nothing has a schema. Raises RecordFault for a damaged one."""
    if schema is None:
        return None
    fields = schema.get("fields")
    if type(fields) is not list:
        raise fault("schema.fields is not an array")
    for field in fields:
        if type(field) is dict and field.get("field") == name:
            return field
    raise fault(f"the schema has no field {name}")


def plain_row(row: JsonObject, schema: JsonObject | None, where: str) -> JsonObject:
    """A row with each value as its schema means it. Raises RecordFault."""
    return row if schema is None else _struct(row, schema, (where,), _LEVELS)


def key_row(record: Record) -> JsonObject | None:
    """The fields of the record's key; None where it is no object. Raises RecordFault for a damaged schema."""
    key = parsed_key(record)
    if type(key) is not dict:
        return None
    payload, schema = unwrap(key)
    return plain_row(payload, schema, "the key") if type(payload) is dict else None


def _struct(row: JsonObject, schema: JsonObject, path: tuple[str, ...], levels: int) -> JsonObject:
    fields = schema.get("fields")
    if type(fields) is not list:
        raise fault(f"the schema of {_shown(path)} has no array of fields")
    schemas = {field["field"]: field for field in fields if type(field) is dict and type(field.get("field")) is str}
    return {name: _plain(value, schemas.get(name), (*path, name), levels) for name, value in row.items()}


def _plain(value: Any, schema: JsonObject | None, path: tuple[str, ...], levels: int) -> Any:
    if schema is None or value is None:
        return value
    if not levels:
        raise fault(f"{path[0]} nests too deep", Reason.TOO_DEEP)
    name = schema.get("name")
    if type(name) is str and (name in _OF_INTEGERS or name in _OF_TEXTS):
        return _named(value, name, path)
    if name in (_CONNECT_DECIMAL, _DEBEZIUM_DECIMAL):
        return _decimal(value, schema, path)
    return _nested(value, schema, path, levels - 1)


def _nested(value: Any, schema: JsonObject, path: tuple[str, ...], levels: int) -> Any:
    kind = schema.get("type")
    if kind == "struct" and type(value) is dict:
        return _struct(value, schema, path, levels)
    if kind == "array" and type(value) is list and type(items := schema.get("items")) is dict:
        return [_plain(inner, items, path, levels) for inner in value]
    if kind == "map" and type(value) is dict and type(values := schema.get("values")) is dict:
        return {name: _plain(inner, values, (*path, name), levels) for name, inner in value.items()}
    return value


def _named(value: Any, name: str, path: tuple[str, ...]) -> Any:
    if type(value) is int and name in _OF_INTEGERS:
        return _OF_INTEGERS[name](value)
    if type(value) is str and name in _OF_TEXTS:
        try:
            return _OF_TEXTS[name](value)
        except orjson.JSONDecodeError:  # its text quotes the value
            raise fault(f"{_shown(path)} is not the JSON that its schema says") from None
    expected = "an integer" if name in _OF_INTEGERS else "a string"
    raise fault(f"{_shown(path)} is {kind_of(value)}; by its schema it must be {expected}")


def _decimal(value: Any, schema: JsonObject, path: tuple[str, ...]) -> Any:
    """Bytes in base64, with a scale in the schema or beside them; or a number, where the converter writes them so."""
    if type(value) in (int, float):
        return value
    parameters = schema.get("parameters")
    scale = parameters.get("scale") if type(parameters) is dict else None
    if type(value) is dict:
        value, scale = value.get("value"), value.get("scale")
    return decimal(_unscaled(value, path), _scale(scale, path))


def _unscaled(value: object, path: tuple[str, ...]) -> int:
    if type(value) is not str:
        raise fault(f"{_shown(path)} is {kind_of(value)}; by its schema it must be a decimal's bytes in base64")
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):  # ValueError for characters beyond ASCII
        raise fault(f"{_shown(path)} is not base64, as its schema says") from None
    if not 0 < len(raw) <= _DECIMAL_BYTES:
        raise fault(f"{_shown(path)} is a decimal of {len(raw)} bytes; there must be 1 to {_DECIMAL_BYTES}")
    return int.from_bytes(raw, "big", signed=True)


def _scale(scale: object, path: tuple[str, ...]) -> int:
    """A number, or text in a schema's parameters."""
    if type(scale) is str and scale.removeprefix("-").isdecimal() and len(scale) < 8:
        scale = int(scale)
    if type(scale) is not int or scale not in _SCALES:
        raise fault(f"the scale of {_shown(path)} is not an integer that a decimal can have")
    return scale


def _shown(path: tuple[str, ...]) -> str:
    return ".".join(shown(name) for name in path)
