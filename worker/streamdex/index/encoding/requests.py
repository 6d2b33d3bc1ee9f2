"""What requests are made of that is written as bytes: points, ids and operations; see `wire.py`.

A point is the content of a `PointStruct`, an operation that of a `PointsUpdateOperation`, in parts. Guards and
selections come as messages.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from qdrant_client import grpc as q

from streamdex.index.encoding.values import fields
from streamdex.index.encoding.wire import UUID_BYTES, delimited, key_of, length, varint

_UUID = key_of(q.PointId, "uuid")
_PAYLOAD = key_of(q.PointStruct, "payload")
_CHANGES = {
    "set_payload": key_of(q.PointsUpdateOperation, "set_payload"),
    "overwrite_payload": key_of(q.PointsUpdateOperation, "overwrite_payload"),
}
_CHANGED = key_of(q.PointsUpdateOperation.SetPayload, "payload")
_CHOSEN = key_of(q.PointsUpdateOperation.SetPayload, "points_selector")
_LISTED = key_of(q.PointsUpdateOperation.PointStructList, "points")
_GUARDED = key_of(q.PointsUpdateOperation.PointStructList, "update_filter")
_UPSERT = key_of(q.PointsUpdateOperation, "upsert")
_OPERATION = key_of(q.UpdateBatchPoints, "operations")
_POINT = key_of(q.UpsertPoints, "points")


class IdField:
    """A field of a generated class that holds ids of points."""

    def __init__(self, message: Any, field: str) -> None:
        self._key = key_of(message, field)
        self._head = self._key + varint(len(_UUID) + 1 + UUID_BYTES) + _UUID + varint(UUID_BYTES)

    def holds(self, uuid: str) -> bytes:
        """The field with one id, which need not be one of ours."""
        text = uuid.encode()
        if len(text) == UUID_BYTES:
            return self._head + text
        return self._key + delimited(_UUID + delimited(text))


_ID = IdField(q.PointStruct, "id")
_WANTED = IdField(q.GetPoints, "ids")


def as_point(uuid: str, payload: Sequence[bytes], vectors: Sequence[bytes]) -> bytes:
    """A point with the entries of its payload; `vectors` as `PackedVector` or NO_VECTORS has them."""
    return b"".join((_ID.holds(uuid), _PAYLOAD, _PAYLOAD.join(payload), *vectors))


def upsert(points: Sequence[bytes], guard: q.Filter | None = None) -> list[bytes]:
    """The operation that upserts points, under a guard if there is one."""
    parts = _listed(_LISTED, points)
    if guard is not None:
        parts.append(_GUARDED + delimited(guard.SerializeToString()))
    return [_UPSERT, length(parts), *parts]


def payload_change(entries: Sequence[bytes], which: q.Filter, *, overwrite: bool) -> list[bytes]:
    """The operation that gives the chosen points these payload entries, and with `overwrite` no others."""
    selector = q.PointsSelector(filter=which).SerializeToString()
    parts = [fields(_CHANGED, entries), _CHOSEN, delimited(selector)]
    return [_CHANGES["overwrite_payload" if overwrite else "set_payload"], length(parts), *parts]


def with_operations(request: Any, operations: Iterable[Sequence[bytes]]) -> bytes:
    """An `UpdateBatchPoints` and its operations."""
    parts = [request.SerializeToString()]
    for operation in operations:
        parts += (_OPERATION, length(operation), *operation)
    return b"".join(parts)


def with_points(request: Any, points: Iterable[bytes]) -> bytes:
    """An `UpsertPoints` and its points."""
    return b"".join([request.SerializeToString(), *_listed(_POINT, points)])


def with_ids(request: Any, uuids: Iterable[str]) -> bytes:
    """A `GetPoints` and the ids that it asks for."""
    return b"".join([request.SerializeToString(), *[_WANTED.holds(uuid) for uuid in uuids]])


def _listed(key: bytes, messages: Iterable[bytes]) -> list[bytes]:
    """A field of this key with each message, in parts."""
    parts: list[bytes] = []
    for message in messages:
        parts += (key, varint(len(message)), message)
    return parts


def _no_vectors() -> Sequence[bytes]:
    """Of a point in a collection without vectors, which wants the field all the same."""
    nothing = q.PointStruct()
    nothing.vectors.vectors.SetInParent()
    return (nothing.SerializeToString(),)


NO_VECTORS = _no_vectors()
