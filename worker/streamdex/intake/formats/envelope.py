"""Our own envelope: `{"id": "…", "op": "upsert", "text": "…", "metadata": {…}, "version": 7}`.

Everything but `text` may be left out, or be null. A field we do not know is refused rather than dropped: a misspelt
`metdata` would otherwise lose data in silence.
"""

from streamdex.errors import Reason
from streamdex.intake.formats.ids import id_from_key, id_text
from streamdex.intake.formats.values import (
    EventLimits,
    check_metadata,
    fault,
    kind_of,
    load_exactly,
    load_object,
    read_version,
)
from streamdex.model import Event, JsonObject, Position, Record

_FIELDS = frozenset(("id", "op", "text", "metadata", "version"))


def decode_envelope(record: Record, value: bytes, position: Position, limits: EventLimits) -> Event:
    """The event in `value`, the record's. Raises RecordFault."""
    body = load_object(value, limits.record_bytes)
    if not body.keys() <= _FIELDS:
        known = ", ".join(sorted(_FIELDS))
        message = f"there is an unknown field; the known ones are {known}; mapping.* reads other shapes"
        raise fault(message, Reason.UNKNOWN_FIELD)
    found = body.get("id")
    document_id = id_from_key(record.key) if found is None else id_text(found)
    version = read_version(body.get("version"), limits)
    op = body.get("op")
    if op == "delete":
        return Event(document_id, None, {}, version, position)
    if op is not None and op != "upsert":
        raise fault('op must be "upsert" or "delete"', Reason.WRONG_TYPE)
    text = body.get("text")
    if type(text) is not str:
        raise _no_text(body)
    metadata = body.get("metadata")
    if not metadata:
        return Event(document_id, text, _no_metadata(metadata), version, position)
    if type(metadata) is not dict:
        raise fault(f"metadata is {kind_of(metadata)}, not an object", Reason.WRONG_TYPE)
    check_metadata(metadata, limits.metadata_levels, lambda: load_exactly(value)["metadata"])
    return Event(document_id, text, metadata, version, position)


def _no_text(body: JsonObject) -> Exception:
    if body.get("text") is None:
        what = "null" if "text" in body else "missing"
        return fault(f'text is {what}; a delete says "op": "delete"', Reason.MISSING_FIELD)
    return fault(f"text is {kind_of(body['text'])}, not a string", Reason.WRONG_TYPE)


def _no_metadata(metadata: object) -> JsonObject:
    if metadata is None or metadata == {}:
        return {}
    raise fault(f"metadata is {kind_of(metadata)}, not an object", Reason.WRONG_TYPE)
