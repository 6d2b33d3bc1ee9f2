"""MongoDB's change streams, as MongoDB's Kafka connector and others write them.

Specification: "Change Events" of the MongoDB manual, and "Change Streams" of the MongoDB Kafka connector.

Documents and keys are objects of extended JSON, or the same in a string, as converters with a schema write them.
"""

import orjson

from streamdex.errors import Reason
from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.intake.formats.connect_json import payload_of, unwrap
from streamdex.intake.formats.extended_json import parse, with_whole_id
from streamdex.intake.formats.fields import state_of, text_in
from streamdex.intake.formats.values import fault, kind_of
from streamdex.model import JsonObject, Record

_WRITES = frozenset(("insert", "replace", "update"))
_NO_DOCUMENTS = frozenset(
    (
        *("drop", "rename", "dropDatabase", "invalidate", "create", "modify", "createIndexes", "dropIndexes"),
        *("shardCollection", "reshardCollection", "refineCollectionShardKey"),
    )
)
_OPERATIONS = _WRITES | _NO_DOCUMENTS | {"delete"}


def fits(body: JsonObject, _record: Record) -> bool:
    """Whether the record can only be of this format: a known operation, a resume token, and where or when it was."""
    event = _event(payload_of(body))
    if event is None or type(event.get("operationType")) is not str or "_id" not in event:
        return False
    if event["operationType"] not in _OPERATIONS:
        return False
    return "ns" in event or "clusterTime" in event


def change_of(body: JsonObject, _record: Record) -> Change:
    """The change that the record says.

    Raises RecordFault for an unknown operation, a document that is no JSON, and an update without its document.
    """
    payload, _ = unwrap(body)
    event = _event(payload)
    if event is None:
        raise fault(f"payload is {kind_of(payload)}; it must be a JSON object, or one in a string")
    operation = text_in(event, "operationType")
    if operation in _NO_DOCUMENTS:
        return Change(ChangeKind.IGNORED, {}, why="a change of a collection, not of a document")
    if operation not in _OPERATIONS:
        raise fault("operationType is not one that change streams have")
    key = _document(event, "documentKey")
    if key.get("_id") is None:
        raise fault(f"documentKey._id is {state_of(key, '_id')}", Reason.NO_ID)
    if operation == "delete":
        before = event.get("fullDocumentBeforeChange")
        known = {} if before is None else _document(event, "fullDocumentBeforeChange")
        return Change(ChangeKind.DELETE, {**known, **key})
    return Change(ChangeKind.UPSERT, {**_full_document(event, operation), "_id": key["_id"]})


def _full_document(event: JsonObject, operation: str) -> JsonObject:
    """The document after the change.

    An update's may be null although it is looked up, when the document was deleted before that. Nothing tells the two
    apart where a converter writes every field, so that is a fault, too: to pass over an update could leave stale text.
    """
    if operation == "update" and event.get("fullDocument") is None:
        raise fault(
            f"fullDocument is {state_of(event, 'fullDocument')}: set fullDocument=updateLookup at the change stream; "
            "where it is set, the document was deleted before it was looked up"
        )
    return _document(event, "fullDocument")


def _document(event: JsonObject, name: str) -> JsonObject:
    document = parse(event.get(name), name)
    if type(document) is not dict:
        raise fault(f"{name} is {state_of(event, name)}; it must be a JSON object, or one in a string")
    return with_whole_id(document)


def _event(payload: object) -> JsonObject | None:
    """The event itself, which the connector's text output wraps as a string; None where it is no object."""
    if type(payload) is str:
        try:
            payload = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return None
    return payload if type(payload) is dict else None
