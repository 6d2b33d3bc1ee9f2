"""Requests that change points, as operations of the engine."""

from collections.abc import Sequence
from typing import Any

from qdrant_client import grpc as pb
from qdrant_edge import Filter, IntegerIndexParams, KeywordIndexParams, PayloadSchemaType, UpdateMode, UpdateOperation

from streamdex.standins.qdrant.filters import decode_filter
from streamdex.standins.qdrant.payloads import decode_id, decode_payload, decode_point
from streamdex.standins.qdrant.refusals import not_built, wrong_input
from streamdex.standins.qdrant.store import Collection

_UPDATE_MODES = {
    pb.UpdateMode.Upsert: UpdateMode.Upsert,
    pb.UpdateMode.InsertOnly: UpdateMode.InsertOnly,
    pb.UpdateMode.UpdateOnly: UpdateMode.UpdateOnly,
}
_INDEX_TYPES = {
    pb.FieldTypeKeyword: PayloadSchemaType.Keyword,
    pb.FieldTypeInteger: PayloadSchemaType.Integer,
    pb.FieldTypeFloat: PayloadSchemaType.Float,
    pb.FieldTypeGeo: PayloadSchemaType.Geo,
    pb.FieldTypeText: PayloadSchemaType.Text,
    pb.FieldTypeBool: PayloadSchemaType.Bool,
    pb.FieldTypeDatetime: PayloadSchemaType.Datetime,
    pb.FieldTypeUuid: PayloadSchemaType.Uuid,
}


def upsert(collection: Collection, points: Sequence[pb.PointStruct], guard: Any) -> UpdateOperation:
    """Insert or replace points. `guard` is the message that carries `update_filter` and `update_mode`.

    The filter is checked against each point as it stands; ids that are absent are inserted; points that fail are
    skipped without a word. Of an id that comes twice the last copy is written.
    """
    return UpdateOperation.upsert_points(
        [decode_point(point, collection.sizes) for point in points],
        condition=decode_filter(guard.update_filter) if guard.HasField("update_filter") else None,
        update_mode=_UPDATE_MODES[guard.update_mode],
    )


def delete(selector: pb.PointsSelector) -> UpdateOperation:
    """Delete points by ids, present or not, or by filter."""
    ids, condition = _selected(selector)
    if condition is not None:
        return UpdateOperation.delete_points_by_filter(condition)
    return UpdateOperation.delete_points(ids)


def set_payload(request: Any) -> UpdateOperation:
    """Merge fields into payloads. By ids, an absent one is NOT_FOUND; by filter, nothing is missed."""
    ids, condition = _selected(request.points_selector)
    key = request.key if request.HasField("key") else None
    payload = decode_payload(request.payload)
    if condition is not None:
        return UpdateOperation.set_payload_by_filter(condition, payload, key)
    return UpdateOperation.set_payload(ids, payload, key)


def overwrite_payload(request: Any) -> UpdateOperation:
    """Replace whole payloads, by ids or by filter."""
    ids, condition = _selected(request.points_selector)
    key = request.key if request.HasField("key") else None
    payload = decode_payload(request.payload)
    if condition is not None:
        return UpdateOperation.overwrite_payload_by_filter(condition, payload, key)
    return UpdateOperation.overwrite_payload(ids, payload, key)


def delete_payload(request: Any) -> UpdateOperation:
    """Remove fields from payloads, by ids or by filter."""
    ids, condition = _selected(request.points_selector)
    if condition is not None:
        return UpdateOperation.delete_payload_by_filter(condition, request.keys[:])
    return UpdateOperation.delete_payload(ids, request.keys[:])


def clear_payload(selector: pb.PointsSelector) -> UpdateOperation:
    """Empty payloads, by ids or by filter."""
    ids, condition = _selected(selector)
    if condition is not None:
        return UpdateOperation.clear_payload_by_filter(condition)
    return UpdateOperation.clear_payload(ids)


def batched(collection: Collection, operation: pb.PointsUpdateOperation) -> UpdateOperation:
    """One operation of an `UpdateBatch`."""
    match operation.WhichOneof("operation"):
        case "upsert":
            return upsert(collection, operation.upsert.points, operation.upsert)
        case "delete_points":
            return delete(operation.delete_points.points)
        case "set_payload":
            return set_payload(operation.set_payload)
        case "overwrite_payload":
            return overwrite_payload(operation.overwrite_payload)
        case "delete_payload":
            return delete_payload(operation.delete_payload)
        case "clear_payload":
            return clear_payload(operation.clear_payload.points)
        case None:
            raise wrong_input("Operation is missing")
        case kind:
            raise not_built(f"the operation {kind}")


def create_index(request: pb.CreateFieldIndexCollection) -> UpdateOperation:
    """Index a payload field. Parameters are taken over for keyword and integer fields."""
    params = request.field_index_params
    match params.WhichOneof("index_params"):
        case "keyword_index_params":
            schema: Any = KeywordIndexParams(is_tenant=params.keyword_index_params.is_tenant or None)
        case "integer_index_params":
            wanted = {field.name: value for field, value in params.integer_index_params.ListFields()}
            schema = IntegerIndexParams(lookup=wanted.get("lookup"), range=wanted.get("range"))
        case _:
            schema = _INDEX_TYPES[request.field_type]
    return UpdateOperation.create_field_index(request.field_name, schema)


def _selected(selector: pb.PointsSelector) -> tuple[list[Any], Filter | None]:
    """Either ids or a filter."""
    match selector.WhichOneof("points_selector_one_of"):
        case "points":
            return [decode_id(point_id) for point_id in selector.points.ids], None
        case "filter":
            return [], decode_filter(selector.filter)
    raise wrong_input("PointsSelector is missing")
