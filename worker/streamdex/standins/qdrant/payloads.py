"""Payloads, ids and vectors between the wire (protobuf) and the engine (Python values)."""

from collections.abc import Mapping
from typing import Any

from qdrant_client import grpc as pb
from qdrant_edge import PayloadSelector, Point, Record, SparseVector

from streamdex.standins.qdrant.refusals import not_built, wrong_input

_INT64 = range(-(2**63), 2**63)


def decode_value(value: pb.Value) -> Any:
    """A payload value as Python has it. An unset kind is null, as on the real server."""
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return {key: decode_value(inner) for key, inner in value.struct_value.fields.items()}
    if kind == "list_value":
        return [decode_value(inner) for inner in value.list_value.values]
    return getattr(value, kind)


def decode_payload(payload: Mapping[str, pb.Value]) -> dict[str, Any]:
    """A whole payload as Python has it."""
    return {key: decode_value(value) for key, value in payload.items()}


def encode_value(value: Any) -> pb.Value:
    """A Python value as the wire has it."""
    if isinstance(value, str):
        return pb.Value(string_value=value)
    if isinstance(value, dict):
        return pb.Value(struct_value=pb.Struct(fields=encode_payload(value)))
    if isinstance(value, list):
        return pb.Value(list_value=pb.ListValue(values=[encode_value(inner) for inner in value]))
    if value is None:
        return pb.Value(null_value=pb.NULL_VALUE)
    return _encode_scalar(value)


def _encode_scalar(value: float) -> pb.Value:
    if isinstance(value, bool):
        return pb.Value(bool_value=value)
    if isinstance(value, int) and value in _INT64:
        return pb.Value(integer_value=value)
    return pb.Value(double_value=value)


def encode_payload(payload: Mapping[str, Any]) -> dict[str, pb.Value]:
    """A whole payload as the wire has it."""
    return {key: encode_value(value) for key, value in payload.items()}


def decode_id(point_id: pb.PointId) -> int | str:
    """A point's id: an unsigned integer or a UUID."""
    match point_id.WhichOneof("point_id_options"):
        case "num":
            return int(point_id.num)
        case "uuid":
            return str(point_id.uuid)
    raise wrong_input("Empty ID is not allowed")


def encode_id(point_id: object) -> pb.PointId:
    """A point's id as the wire has it."""
    return pb.PointId(num=point_id) if isinstance(point_id, int) else pb.PointId(uuid=str(point_id))


def decode_vector(vector: pb.Vector) -> Any:
    """A dense vector as a list of floats, a sparse one as the engine's own type.

    The fields `data` and `indices` are deprecated, yet the real server still takes them.
    """
    kind = vector.WhichOneof("vector")
    if kind == "dense":
        return vector.dense.data[:]
    if kind == "sparse":
        return SparseVector(vector.sparse.indices[:], vector.sparse.values[:])
    if kind is not None or vector.HasField("vectors_count"):
        raise not_built("vectors other than dense and sparse ones")
    if vector.HasField("indices"):
        return SparseVector(vector.indices.data[:], vector.data[:])
    return vector.data[:]


def decode_point(point: pb.PointStruct, sizes: Mapping[str, int] | None) -> Point:
    """A point to be stored. `sizes` are the dimensions of the dense vectors by name; None: the collection takes none.

    Dimensions are checked here, because the engine alone would store the points it meets before the wrong one.
    """
    kind = point.vectors.WhichOneof("vectors_options")
    if kind is None:
        raise wrong_input("Expected some vectors")
    vectors = point.vectors.vectors.vectors if kind == "vectors" else {"": point.vectors.vector}
    decoded = {name: decode_vector(vector) for name, vector in vectors.items()}
    if sizes is None and decoded:
        raise wrong_input(f"Not existing vector name error: {next(iter(decoded))}")
    for name, size in (sizes or {}).items():
        found = len(decoded.get(name, range(size)))
        if found != size:
            raise wrong_input(f"Vector dimension error: expected dim: {size}, got {found}")
    stored = decoded[""] if kind == "vector" else decoded  # a bare list is taken up in a third of the time
    return Point(decode_id(point.id), stored, decode_payload(point.payload))


def encode_vectors(vectors: Any) -> pb.VectorsOutput | None:
    """A point's vectors as the wire has them; None when they were not asked for."""
    if vectors is None:
        return None
    if isinstance(vectors, dict):
        named = {name: _encode_vector(vector) for name, vector in vectors.items()}
        return pb.VectorsOutput(vectors=pb.NamedVectorsOutput(vectors=named))
    return pb.VectorsOutput(vector=_encode_vector(vectors))


def _encode_vector(vector: Any) -> pb.VectorOutput:
    if isinstance(vector, SparseVector):
        return pb.VectorOutput(sparse=pb.SparseVector(indices=vector.indices, values=vector.values))
    return pb.VectorOutput(dense=pb.DenseVector(data=vector))


def encode_record(record: Record) -> pb.RetrievedPoint:
    """A point read back as the wire has it."""
    return pb.RetrievedPoint(
        id=encode_id(record.id), payload=encode_payload(record.payload or {}), vectors=encode_vectors(record.vector)
    )


def payload_selection(selector: pb.WithPayloadSelector, default: bool) -> Any:
    """Which payload fields to return, in the engine's terms."""
    match selector.WhichOneof("selector_options"):
        case "enable":
            return selector.enable
        case "include":
            return PayloadSelector.Include(selector.include.fields[:])
        case "exclude":
            return PayloadSelector.Exclude(selector.exclude.fields[:])
    return default


def vector_selection(selector: pb.WithVectorsSelector) -> bool | list[str]:
    """Which vectors to return, in the engine's terms; none unless asked for."""
    if selector.WhichOneof("selector_options") == "include":
        return list(selector.include.names)
    return bool(selector.enable)
