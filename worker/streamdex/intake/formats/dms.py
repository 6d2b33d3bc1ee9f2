"""AWS Database Migration Service with Kafka as its target.

Specification: "Using Apache Kafka as a target for AWS Database Migration Service" of the service's user guide.

Unless the endpoint has `IncludeNullAndEmpty`, a column that is null or empty is left out of the row.
"""

from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.intake.formats.fields import object_in, text_in
from streamdex.intake.formats.values import fault
from streamdex.model import JsonObject, Record

_WRITES = frozenset(("load", "insert", "update"))


def fits(body: JsonObject, _record: Record) -> bool:
    """Whether the record can only be of this format: metadata with a type of record, an operation and a table."""
    metadata = body.get("metadata")
    if type(metadata) is not dict or type(metadata.get("operation")) is not str or "table-name" not in metadata:
        return False
    kind = metadata.get("record-type")
    return kind in ("data", "control") and type(body.get(kind)) is dict


def change_of(body: JsonObject, _record: Record) -> Change:
    """The change that the record says.

    Raises RecordFault for an unknown type of record, an unknown operation, and a row that is missing.
    """
    metadata = object_in(body, "metadata")
    kind = text_in(metadata, "record-type")
    if kind == "control":
        return Change(ChangeKind.IGNORED, {}, why="a control record")
    if kind != "data":
        raise fault("record-type is neither data nor control")
    operation = text_in(metadata, "operation")
    if operation == "delete":
        return Change(ChangeKind.DELETE, object_in(body, "data"))
    if operation not in _WRITES:
        raise fault(f"operation is none of {', '.join(sorted(_WRITES | {'delete'}))}")
    return Change(ChangeKind.UPSERT, object_in(body, "data"))
