"""JSON to Qdrant's `Value` messages and back.

The client library has such functions as well, but as internals that move between its versions; and filling a message
in place costs half of building it from keyword arguments.
"""

from collections.abc import Mapping
from typing import Any

from qdrant_client import grpc as q

from worker.model import JsonObject


def put(value: q.Value, json: Any) -> None:
    """Fill an empty `value` with a JSON value. Raises TypeError and ValueError for what `check_payload` refuses."""
    kind = type(json)
    if kind is str:
        value.string_value = json
    elif kind is bool:
        value.bool_value = json
    elif kind is int:
        value.integer_value = json
    elif kind is float:
        value.double_value = json
    elif json is None:
        value.null_value = q.NULL_VALUE
    elif kind is dict:
        value.struct_value.SetInParent()  # an empty object is an object too
        put_all(value.struct_value.fields, json)
    elif kind in (list, tuple):
        value.list_value.SetInParent()
        add = value.list_value.values.add
        for item in json:
            put(add(), item)
    else:
        raise TypeError(f"not a JSON value: {kind.__name__}")


def put_all(fields: Any, json: Mapping[str, Any]) -> None:
    """Fill a message's map of values (a payload, or the fields of a struct)."""
    for key, item in json.items():
        put(fields[key], item)


def name_of(enum: Any, number: int) -> str:
    """An enumeration's word for a number; the number itself where a newer server knows more words than we do."""
    return str(enum.Name(number)) if number in enum.values() else str(number)


def get(value: q.Value) -> Any:
    """The JSON value of a message."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return get_all(value.struct_value.fields)
    if kind == "list_value":
        return [get(item) for item in value.list_value.values]
    if kind is None or kind == "null_value":
        return None
    return getattr(value, kind)


def get_all(fields: Any) -> JsonObject:
    """The JSON object of a message's map of values."""
    return {key: get(item) for key, item in fields.items()}
