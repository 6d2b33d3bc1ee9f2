"""Requests that read points."""

from typing import Any

from qdrant_client import grpc as pb
from qdrant_edge import (
    CountRequest,
    FacetRequest,
    Filter,
    Query,
    QueryRequest,
    ScoredPoint,
    ScrollRequest,
    SearchParams,
)

from streamdex.standins.qdrant.filters import decode_filter
from streamdex.standins.qdrant.payloads import (
    decode_id,
    decode_vector,
    encode_id,
    encode_payload,
    encode_record,
    encode_vectors,
    payload_selection,
    vector_selection,
)
from streamdex.standins.qdrant.refusals import not_built, wrong_input
from streamdex.standins.qdrant.store import Collection

_DEFAULT_LIMIT = 10


def retrieve(collection: Collection, request: pb.GetPoints) -> pb.GetResponse:
    """Points by their ids; absent ones are left out, and payloads too unless asked for."""
    ids: list[Any] = [decode_id(point_id) for point_id in request.ids]
    payload = payload_selection(request.with_payload, default=False)
    records = collection.shard.retrieve(ids, payload, vector_selection(request.with_vectors))
    return pb.GetResponse(result=map(encode_record, records))


def scroll(collection: Collection, request: pb.ScrollPoints) -> pb.ScrollResponse:
    """One page of points in the order of their ids, and where the next one begins."""
    if request.HasField("order_by"):
        raise not_built("ordered scrolling")
    page = ScrollRequest(
        offset=decode_id(request.offset) if request.HasField("offset") else None,
        limit=request.limit if request.HasField("limit") else _DEFAULT_LIMIT,
        filter=_filter_of(request),
        with_payload=payload_selection(request.with_payload, default=True),
        with_vector=vector_selection(request.with_vectors),
    )
    records, following = collection.shard.scroll(page)
    return pb.ScrollResponse(
        result=map(encode_record, records), next_page_offset=None if following is None else encode_id(following)
    )


def count(collection: Collection, request: pb.CountPoints) -> pb.CountResponse:
    """How many points match; always exact."""
    number = collection.shard.count(CountRequest(exact=True, filter=_filter_of(request)))
    return pb.CountResponse(result=pb.CountResult(count=number))


def facet(collection: Collection, request: pb.FacetCounts) -> pb.FacetResponse:
    """How often each value of an indexed field occurs."""
    limit = request.limit if request.HasField("limit") else _DEFAULT_LIMIT
    wanted = FacetRequest(key=request.key, limit=limit, exact=True, filter=_filter_of(request))
    hits = [pb.FacetHit(value=_facet_value(hit.value), count=hit.count) for hit in collection.shard.facet(wanted).hits]
    return pb.FacetResponse(hits=hits)


def query(collection: Collection, request: pb.QueryPoints) -> pb.QueryResponse:
    """The points nearest to a vector; without a query, any points that match the filter."""
    if request.prefetch:
        raise not_built("prefetched queries")
    using = request.using if request.HasField("using") else ""
    wanted = QueryRequest(
        limit=request.limit if request.HasField("limit") else _DEFAULT_LIMIT,
        offset=request.offset,
        query=_nearest(collection, request.query, using) if request.HasField("query") else None,
        filter=_filter_of(request),
        score_threshold=request.score_threshold if request.HasField("score_threshold") else None,
        params=SearchParams(exact=request.params.exact),
        with_payload=payload_selection(request.with_payload, default=False),
        with_vector=vector_selection(request.with_vectors),
    )
    return pb.QueryResponse(result=map(_encode_scored, collection.shard.query(wanted)))


def search(collection: Collection, request: pb.SearchPoints) -> pb.SearchResponse:
    """The points nearest to a vector: the older form of `query`."""
    using = request.vector_name if request.HasField("vector_name") else ""
    _check_has_vectors(collection, using)
    if request.HasField("sparse_indices"):
        raise not_built("sparse vectors in the older search; use a query")
    wanted = QueryRequest(
        limit=request.limit,
        offset=request.offset,
        query=Query.Nearest(request.vector[:], using or None),
        filter=_filter_of(request),
        score_threshold=request.score_threshold if request.HasField("score_threshold") else None,
        params=SearchParams(exact=request.params.exact),
        with_payload=payload_selection(request.with_payload, default=False),
        with_vector=vector_selection(request.with_vectors),
    )
    return pb.SearchResponse(result=map(_encode_scored, collection.shard.query(wanted)))


def _nearest(collection: Collection, message: pb.Query, using: str) -> Query:
    _check_has_vectors(collection, using)
    if message.WhichOneof("variant") != "nearest":
        raise not_built(f"the query {message.WhichOneof('variant')}")
    nearest = message.nearest
    match nearest.WhichOneof("variant"):
        case "dense":
            return Query.Nearest(nearest.dense.data[:], using or None)
        case "sparse":
            return Query.Nearest(decode_vector(pb.Vector(sparse=nearest.sparse)), using or None)
        case kind:
            raise not_built(f"the query by {kind}")


def _check_has_vectors(collection: Collection, using: str) -> None:
    if collection.sizes is None:
        raise wrong_input(f"Not existing vector name error: {using}")


def _filter_of(request: Any) -> Filter | None:
    return decode_filter(request.filter) if request.HasField("filter") else None


def _encode_scored(point: ScoredPoint) -> pb.ScoredPoint:
    return pb.ScoredPoint(
        id=encode_id(point.id),
        score=point.score,
        version=point.version,
        payload=encode_payload(point.payload or {}),
        vectors=encode_vectors(point.vector),
    )


def _facet_value(value: Any) -> pb.FacetValue:
    match value:
        case bool():
            return pb.FacetValue(bool_value=value)
        case int():
            return pb.FacetValue(integer_value=value)
        case _:
            return pb.FacetValue(string_value=str(value))
