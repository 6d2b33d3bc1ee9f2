"""Debezium's change events of MongoDB: the document is extended JSON in a string.

Specification: Debezium's documentation, "Data change events" of the MongoDB connector; "MongoDB New Document State
Extraction" for the flattened ones, which are read as those of the other connectors.
"""

from typing import Any

from streamdex.errors import Reason
from streamdex.intake.formats import debezium
from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.intake.formats.connect_json import payload_of, unwrap
from streamdex.intake.formats.debezium_control import control_event
from streamdex.intake.formats.extended_json import parse, with_whole_id
from streamdex.intake.formats.fields import parsed_key, state_of
from streamdex.intake.formats.values import fault, kind_of
from streamdex.model import JsonObject, Record

_OPERATIONS = debezium.WRITES | {"d"}


def fits(body: JsonObject, _record: Record) -> bool:
    """Whether the record can only be of this format: an envelope whose source is MongoDB's connector."""
    payload = payload_of(body)
    if type(payload) is not dict or debezium.source_connector(payload) != "mongodb":
        return False
    return "updateDescription" in payload or "patch" in payload or debezium.is_envelope_of(payload, _OPERATIONS)


def change_of(body: JsonObject, record: Record) -> Change:
    """The change that the record says.

    Raises RecordFault for an unknown operation, a document that is no JSON, and an update that has only what changed.
    """
    payload, _ = unwrap(body)
    if payload is None:  # a tombstone in its wrapper
        return Change(ChangeKind.DELETE, _row_of_deleted({}, record))
    if type(payload) is not dict:
        raise fault(f"payload is {kind_of(payload)}; it must be an object")
    if "__deleted" in payload:
        return debezium.change_of(body, record)
    if why := control_event(payload, record):
        return Change(ChangeKind.IGNORED, {}, why=why)
    operation = debezium.operation_of(payload)
    if operation in debezium.NO_ROWS:
        return Change(ChangeKind.IGNORED, {}, why=debezium.NO_ROWS[operation])
    if operation in debezium.WRITES:
        return Change(ChangeKind.UPSERT, _after(payload))
    before = _document(payload, "before") if payload.get("before") is not None else {}
    return Change(ChangeKind.DELETE, _row_of_deleted(before, record))


def _after(payload: JsonObject) -> JsonObject:
    if payload.get("after") is None and (payload.get("patch") or payload.get("updateDescription")):
        what = f"after is {state_of(payload, 'after')}, and the event has only what changed"
        raise fault(f"{what}; choose capture.mode=change_streams_update_full at the connector")
    return _document(payload, "after")


def _document(payload: JsonObject, name: str) -> JsonObject:
    """A document, as text or, after a transformation, as an object."""
    document = parse(payload.get(name), name)
    if type(document) is not dict:
        raise fault(f"{name} is {state_of(payload, name)}; it must be a JSON object, or one in a string")
    return with_whole_id(document)


def row_of_key(record: Record) -> JsonObject:
    """The document's id out of the record's key, empty where there is none. Raises RecordFault.

    The key is `{"id": "…"}`, where the text is the id as extended JSON.
    """
    key: Any = parsed_key(record)
    fields = unwrap(key)[0] if type(key) is dict else None
    if type(fields) is not dict or fields.get("id") is None:
        return {}
    return with_whole_id({"_id": parse(fields["id"], "the key's id")})


def _row_of_deleted(before: JsonObject, record: Record) -> JsonObject:
    """What is known of the document that is gone: its id, and what it was where the connector gives that."""
    known = row_of_key(record)
    if not before and not known:
        raise fault("before is null or missing, and the record's key has no field id", Reason.NO_ID)
    return {**before, **known}
