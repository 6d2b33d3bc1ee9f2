"""CloudEvents 1.0, in structured and in binary mode.

Specification: "CloudEvents 1.0", its "JSON Event Format" and its "Kafka Protocol Binding". The binding has no batches.

The row is the event's data with its attributes beside it; where a name stands in both, it means the data's. Which
events delete is for a condition to say: CloudEvents has no such type of its own.
"""

import base64
import binascii

import orjson

from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.intake.formats.fields import shown, text_in
from streamdex.intake.formats.values import fault
from streamdex.model import JsonObject, Record

_VERSION = "1.0"
_REQUIRED = ("id", "source", "type")
_PREFIX = "ce_"
_MEDIA_TYPE = "application/cloudevents"
_CONTENT_TYPE = "content-type"


def fits(body: JsonObject, record: Record) -> bool:
    """Whether the record can only be of this format: its required attributes, in the headers or the body."""
    if _is_binary(body, record):
        names = {name.lower() for name, value in record.headers if value}
        return _header(record, "ce_specversion") == _VERSION and names.issuperset(_PREFIX + name for name in _REQUIRED)
    return body.get("specversion") == _VERSION and all(type(body.get(name)) is str for name in _REQUIRED)


def change_of(body: JsonObject, record: Record) -> Change:
    """The row that the event carries, always as an upsert.

    Raises RecordFault for another version, for an attribute that is missing, and for data that is not what it claims.
    """
    if _is_binary(body, record):
        attributes, data = _attributes_in_headers(record), body
    else:
        attributes, data = _structured(body)
    if attributes.get("specversion") != _VERSION:
        what = f"not {_VERSION}" if "specversion" in attributes else "missing"
        raise fault(f"specversion is {what}; only CloudEvents {_VERSION} is known")
    for name in _REQUIRED:
        text_in(attributes, name)
    # Not under its own name: with data that has no id, each event would become a document of its own.
    attributes["event_id"] = attributes.pop("id")
    return Change(ChangeKind.UPSERT, {**attributes, **data})


def _is_binary(body: JsonObject, record: Record) -> bool:
    """By the content type, as the binding says; without one, by where the attributes stand.

    In structured mode the headers may repeat them.
    """
    if _header(record, "ce_specversion") is None:
        return False
    content_type = _header(record, _CONTENT_TYPE)
    if content_type is not None:
        return not content_type.lower().startswith(_MEDIA_TYPE)
    return "specversion" not in body


def _header(record: Record, name: str) -> str | None:
    for each, value in record.headers:
        if each.lower() == name and value is not None:
            return value.decode(errors="replace")
    return None


def _attributes_in_headers(record: Record) -> JsonObject:
    attributes: JsonObject = {}
    for header, value in record.headers:
        name = header.lower()
        attribute = "datacontenttype" if name == _CONTENT_TYPE else name.removeprefix(_PREFIX)
        if attribute == name or value is None:
            continue
        try:
            attributes[attribute] = value.decode()
        except UnicodeDecodeError:
            raise fault(f"the header {shown(name)} is not text in UTF-8") from None
    return attributes


def _structured(body: JsonObject) -> tuple[JsonObject, JsonObject]:
    """The attributes and the data. Data that is no object stays a field of that name."""
    attributes = {name: value for name, value in body.items() if name not in ("data", "data_base64")}
    if body.get("data_base64") is None:
        data = body.get("data", {})
        return attributes, data if type(data) is dict else {"data": data}
    if body.get("data") is not None:
        raise fault("there are both data and data_base64")
    return attributes, _decoded(text_in(body, "data_base64"))


def _decoded(text: str) -> JsonObject:
    """The data where the bytes are JSON; other bytes stay as they came."""
    try:
        data = orjson.loads(base64.b64decode(text, validate=True))
    except orjson.JSONDecodeError:
        return {"data_base64": text}
    except (binascii.Error, ValueError):  # ValueError for characters beyond ASCII
        raise fault("data_base64 is not base64") from None
    return data if type(data) is dict else {"data": data}
