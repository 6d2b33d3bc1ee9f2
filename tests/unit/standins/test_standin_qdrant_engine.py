"""The engine without a network: filters mean what they say, indexes reach the engine, clearing leaves nothing."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from qdrant_client import grpc as pb
from qdrant_client import models
from qdrant_client.conversions.conversion import RestToGrpc

from streamdex.standins.qdrant import Engine, QdrantRefusal

M = models
PAYLOADS: dict[int, dict[str, Any]] = {
    1: {"key": "a", "version": 1, "at": "2024-01-01T00:00:00Z", "tags": ["x", "y"]},
    2: {"key": "a", "version": 5, "at": "2024-06-01T00:00:00Z", "tags": []},
    3: {"key": "b", "version": 5, "none": None, "source": {"topic": "t", "offset": 7}},
    4: {"key": "a b", "version": "five", "dotted.key": "d", "parts": [{"n": 1, "s": "p"}, {"n": 2, "s": "q"}]},
}


def point(number: int, payload: dict[str, Any], vector: list[float] | None = None) -> pb.PointStruct:
    struct = M.PointStruct(id=number, vector=vector or [1.0, 0.0], payload=payload)
    return RestToGrpc.convert_point_struct(struct)


def upsert(*points: pb.PointStruct) -> pb.UpsertPoints:
    return pb.UpsertPoints(collection_name="c", wait=True, points=points)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    params = pb.VectorParams(size=2, distance=pb.Cosine)
    config = pb.VectorsConfig(params=params)
    engine.create_collection(pb.CreateCollection(collection_name="c", vectors_config=config))
    engine.upsert(upsert(*(point(number, payload) for number, payload in PAYLOADS.items())))
    yield engine
    engine.close()


def field(key: str, **condition: Any) -> M.FieldCondition:
    return M.FieldCondition(key=key, **condition)


def matching(engine: Engine, condition: M.Filter) -> set[int]:
    request = pb.ScrollPoints(collection_name="c", filter=RestToGrpc.convert_filter(condition))
    return {found.id.num for found in engine.scroll(request).result}


KEY_A = field("key", match=M.MatchValue(value="a"))
VERSION_5 = field("version", match=M.MatchValue(value=5))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (M.Filter(), {1, 2, 3, 4}),
        (M.Filter(must=[KEY_A]), {1, 2}),
        (M.Filter(must=[KEY_A, VERSION_5]), {2}),
        (M.Filter(should=[KEY_A, VERSION_5]), {1, 2, 3}),
        (M.Filter(must_not=[KEY_A]), {3, 4}),
        (M.Filter(must=[VERSION_5], must_not=[KEY_A]), {3}),
        (M.Filter(min_should=M.MinShould(conditions=[KEY_A, VERSION_5], min_count=2)), {2}),
        (M.Filter(must=[M.Filter(should=[M.Filter(must=[KEY_A, VERSION_5]), M.HasIdCondition(has_id=[4])])]), {2, 4}),
        (M.Filter(must=[M.HasIdCondition(has_id=[1, 3, 99])]), {1, 3}),
        (M.Filter(must=[M.HasIdCondition(has_id=[])]), set()),
        (M.Filter(must_not=[field("version", range=M.Range(gt=1))]), {1, 4}),
        (M.Filter(must=[field("version", range=M.Range(gte=1, lt=5))]), {1}),
        (M.Filter(must=[field("version", range=M.Range(lte=5))]), {1, 2, 3}),
        (M.Filter(must=[field("at", range=M.DatetimeRange(gt="2024-03-01T00:00:00Z"))]), {2}),
        (M.Filter(must=[field("key", match=M.MatchAny(any=["b", "a b"]))]), {3, 4}),
        (M.Filter(must=[field("version", match=M.MatchAny(any=[1, 2]))]), {1}),
        (M.Filter(must=[field("key", match=M.MatchExcept(**{"except": ["a"]}))]), {3, 4}),
        (M.Filter(must=[field("tags", match=M.MatchValue(value="y"))]), {1}),
        (M.Filter(must=[field("tags", values_count=M.ValuesCount(gte=1))]), {1}),
        (M.Filter(must=[M.IsEmptyCondition(is_empty=M.PayloadField(key="tags"))]), {2, 3, 4}),
        (M.Filter(must=[M.IsNullCondition(is_null=M.PayloadField(key="none"))]), {3}),
        (M.Filter(must=[field("source.offset", match=M.MatchValue(value=7))]), {3}),
        (M.Filter(must=[field('"dotted.key"', match=M.MatchValue(value="d"))]), {4}),
        (
            M.Filter(
                must=[
                    M.NestedCondition(
                        nested=M.Nested(
                            key="parts",
                            filter=M.Filter(
                                must=[
                                    field("n", match=M.MatchValue(value=1)),
                                    field("s", match=M.MatchValue(value="q")),
                                ]
                            ),
                        )
                    )
                ]
            ),
            set(),
        ),
    ],
)
def test_a_filter_matches_what_it_says(engine: Engine, condition: M.Filter, expected: set[int]) -> None:
    assert matching(engine, condition) == expected


@pytest.mark.parametrize(
    "condition",
    [
        pb.Condition(),
        pb.Condition(field=pb.FieldCondition(key="a[", match=pb.Match(integer=1))),
        pb.Condition(field=pb.FieldCondition(key="a", match=pb.Match())),
        pb.Condition(field=pb.FieldCondition(key="a", match=pb.Match(boolean=True))),
        pb.Condition(field=pb.FieldCondition(key="a", geo_radius=pb.GeoRadius(radius=1))),
        pb.Condition(has_id=pb.HasIdCondition(has_id=[pb.PointId(uuid="no uuid")])),
        pb.Condition(has_id=pb.HasIdCondition(has_id=[pb.PointId()])),
    ],
)
def test_a_condition_that_cannot_be_judged_refuses_the_delete(engine: Engine, condition: pb.Condition) -> None:
    selector = pb.PointsSelector(filter=pb.Filter(must_not=[condition]))
    with pytest.raises(QdrantRefusal) as caught:
        engine.delete(pb.DeletePoints(collection_name="c", points=selector))
    assert caught.value.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)
    assert matching(engine, M.Filter()) == set(PAYLOADS)


def test_payloads_are_overwritten_pruned_and_emptied(engine: Engine) -> None:
    by_filter = pb.PointsSelector(filter=RestToGrpc.convert_filter(M.Filter(must=[KEY_A])))
    by_ids = pb.PointsSelector(points=pb.PointsIdsList(ids=[pb.PointId(num=3)]))
    new = {"key": pb.Value(string_value="new"), "deep": pb.Value(struct_value=pb.Struct())}
    engine.overwrite_payload(pb.SetPayloadPoints(collection_name="c", payload=new, points_selector=by_filter))
    engine.delete_payload(pb.DeletePayloadPoints(collection_name="c", keys=["none", "version"], points_selector=by_ids))
    engine.clear_payload(
        pb.ClearPayloadPoints(
            collection_name="c", points=pb.PointsSelector(points=pb.PointsIdsList(ids=[pb.PointId(num=4)]))
        )
    )
    nested = {"x": pb.Value(integer_value=1)}
    engine.set_payload(pb.SetPayloadPoints(collection_name="c", payload=nested, key="source", points_selector=by_ids))

    request = pb.GetPoints(
        collection_name="c",
        ids=[pb.PointId(num=number) for number in (1, 2, 3, 4)],
        with_payload=pb.WithPayloadSelector(enable=True),
    )
    found = [set(one.payload) for one in engine.retrieve(request).result]
    assert found == [{"key", "deep"}, {"key", "deep"}, {"key", "source"}, set()]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (pb.WithPayloadSelector(include=pb.PayloadIncludeSelector(fields=["version"])), {"version"}),
        (pb.WithPayloadSelector(exclude=pb.PayloadExcludeSelector(fields=["tags", "at"])), {"key", "version"}),
        (pb.WithPayloadSelector(enable=False), set()),
        (None, set()),
    ],
)
def test_only_selected_payload_fields_are_returned(
    engine: Engine, selector: pb.WithPayloadSelector | None, expected: set[str]
) -> None:
    request = pb.GetPoints(collection_name="c", ids=[pb.PointId(num=1)], with_payload=selector)
    assert set(engine.retrieve(request).result[0].payload) == expected


def test_an_index_reaches_the_engine_and_can_be_counted_by(engine: Engine) -> None:
    facets = pb.FacetCounts(collection_name="c", key="key")
    with pytest.raises(QdrantRefusal, match="No appropriate index"):
        engine.facet(facets)

    index = pb.CreateFieldIndexCollection(collection_name="c", field_name="key", field_type=pb.FieldTypeKeyword)
    engine.create_field_index(index)

    hits = {hit.value.string_value: hit.count for hit in engine.facet(facets).hits}
    assert hits == {"a": 2, "b": 1, "a b": 1}
    info = engine.collection_info(pb.GetCollectionInfoRequest(collection_name="c")).result
    assert info.payload_schema["key"].points == 4


def test_clearing_removes_every_point_and_keeps_the_collection(engine: Engine) -> None:
    engine.clear("c")
    assert matching(engine, M.Filter()) == set()
    engine.upsert(upsert(point(9, {"key": "z"})))
    assert matching(engine, M.Filter()) == {9}


def test_an_indexed_segment_takes_guarded_writes_and_deletes_like_any_other(engine: Engine) -> None:
    request = pb.CreateCollection(
        collection_name="indexed",
        vectors_config=pb.VectorsConfig(params=pb.VectorParams(size=2, distance=pb.Cosine)),
        optimizers_config=pb.OptimizersConfigDiff(indexing_threshold=10),
    )
    engine.create_collection(request)
    points = [point(number, {"version": number}, [1.0, number / 1e4]) for number in range(3000)]
    engine.upsert(pb.UpsertPoints(collection_name="indexed", wait=True, points=points))
    assert engine.optimize("indexed")
    info = engine.collection_info(pb.GetCollectionInfoRequest(collection_name="indexed")).result
    assert info.indexed_vectors_count == 3000

    guard = RestToGrpc.convert_filter(M.Filter(must_not=[field("version", range=M.Range(gt=20))]))
    writes = [point(number, {"version": 20, "new": True}) for number in (10, 30)]
    engine.upsert(pb.UpsertPoints(collection_name="indexed", wait=True, points=writes, update_filter=guard))
    old = RestToGrpc.convert_filter(M.Filter(must=[field("version", range=M.Range(lt=20))]))
    engine.delete(pb.DeletePoints(collection_name="indexed", points=pb.PointsSelector(filter=old)))

    low = pb.ScrollPoints(collection_name="indexed", limit=13)
    found = {one.id.num: set(one.payload) for one in engine.scroll(low).result}
    assert found == {10: {"version", "new"}} | {number: {"version"} for number in range(20, 32)}


def test_sparse_and_named_vectors_are_kept(engine: Engine) -> None:
    request = pb.CreateCollection(
        collection_name="named",
        vectors_config=pb.VectorsConfig(
            params_map=pb.VectorParamsMap(map={"dense": pb.VectorParams(size=2, distance=pb.Dot)})
        ),
        sparse_vectors_config=pb.SparseVectorConfig(map={"sparse": pb.SparseVectorParams()}),
    )
    engine.create_collection(request)
    sparse = pb.Vector(sparse=pb.SparseVector(indices=[1, 5], values=[0.5, 2.0]))
    dense = pb.Vector(dense=pb.DenseVector(data=[3.0, 4.0]))
    named = pb.NamedVectors(vectors={"dense": dense, "sparse": sparse})
    both = pb.PointStruct(id=pb.PointId(num=1), vectors=pb.Vectors(vectors=named))
    engine.upsert(pb.UpsertPoints(collection_name="named", points=[both]))

    get = pb.GetPoints(collection_name="named", ids=[both.id], with_vectors=pb.WithVectorsSelector(enable=True))
    found = engine.retrieve(get).result[0].vectors.vectors.vectors
    assert found["dense"].dense.data == [3.0, 4.0]
    assert found["sparse"].sparse == sparse.sparse
    query = pb.QueryPoints(
        collection_name="named", using="sparse", query=pb.Query(nearest=pb.VectorInput(sparse=sparse.sparse))
    )
    assert engine.query(query).result[0].score == pytest.approx(4.25)


@pytest.mark.parametrize(
    "aliases",
    [
        pb.AliasOperations(create_alias=pb.CreateAlias(collection_name="none", alias_name="x")),
        pb.AliasOperations(create_alias=pb.CreateAlias(collection_name="c", alias_name="c")),
        pb.AliasOperations(rename_alias=pb.RenameAlias(old_alias_name="none", new_alias_name="x")),
        pb.AliasOperations(),
    ],
)
def test_a_failing_alias_action_keeps_the_ones_before_it(engine: Engine, aliases: pb.AliasOperations) -> None:
    first = pb.AliasOperations(create_alias=pb.CreateAlias(collection_name="c", alias_name="first"))
    renamed = pb.AliasOperations(rename_alias=pb.RenameAlias(old_alias_name="first", new_alias_name="second"))
    with pytest.raises(QdrantRefusal):
        engine.update_aliases(pb.ChangeAliases(actions=[first, renamed, aliases]))
    described = engine.list_collection_aliases(pb.ListCollectionAliasesRequest(collection_name="c"))
    assert [alias.alias_name for alias in described.aliases] == ["second"]
    delete = pb.AliasOperations(delete_alias=pb.DeleteAlias(alias_name="second"))
    engine.update_aliases(pb.ChangeAliases(actions=[delete, delete]))
    assert not engine.list_aliases(pb.ListAliasesRequest()).aliases
