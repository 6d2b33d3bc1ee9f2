"""Our own envelope: `{"id": "…", "op": "upsert", "text": "…", "metadata": {…}, "version": 7}`.

Everything but `text` may be left out, or be null. A field we do not know is refused rather than dropped: a misspelt
`metdata` would otherwise lose data in silence.
"""

from streamdex.intake.formats.values import (
    check_metadata,
    check_version,
    document_key,
    fault,
    kind_of,
    load_exactly,
    load_object,
)
from streamdex.model import Event, JsonObject, Position, Record

_FIELDS = frozenset(("id", "op", "text", "metadata", "version"))


def decode_envelope(record: Record, value: bytes, position: Position, cap_bytes: int, metadata_levels: int) -> Event:
    """The event in `value`, the record's. Raises RecordFault."""
    body = load_object(value, cap_bytes)
    if not body.keys() <= _FIELDS:
        raise fault(f"there is an unknown field; the known ones are {', '.join(sorted(_FIELDS))}")
    key = document_key(body.get("id"), record.key)
    version = check_version(body.get("version"))
    op = body.get("op")
    if op == "delete":
        return Event(key, None, {}, version, position)
    if op is not None and op != "upsert":
        raise fault('op must be "upsert" or "delete"')
    text = body.get("text")
    if type(text) is not str:
        raise fault(f'text is {kind_of(text) if "text" in body else "missing"}; a delete says "op": "delete"')
    metadata = body.get("metadata")
    if not metadata:
        return Event(key, text, _no_metadata(metadata), version, position)
    if type(metadata) is not dict:
        raise fault(f"metadata is {kind_of(metadata)}, not an object")
    check_metadata(metadata, metadata_levels, lambda: load_exactly(value)["metadata"])
    return Event(key, text, metadata, version, position)


def _no_metadata(metadata: object) -> JsonObject:
    if metadata is None or metadata == {}:
        return {}
    raise fault(f"metadata is {kind_of(metadata)}, not an object")
