"""What is stored comes back, and guarded writes leave the newest, whatever the values and the order."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import grpc as pb

from streamdex.operations.verify.interpretation import digests_of
from streamdex.standins.qdrant import Engine
from streamdex.standins.qdrant.payloads import decode_payload, encode_payload

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
fast = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    engine.create_collection(
        pb.CreateCollection(
            collection_name="c", vectors_config=pb.VectorsConfig(params=pb.VectorParams(size=3, distance=pb.Dot))
        )
    )
    yield engine
    engine.close()


def upsert(engine: Engine, number: int, payload: dict[str, Any], vector: list[float], **options: Any) -> None:
    point = pb.PointStruct(
        id=pb.PointId(num=number),
        vectors=pb.Vectors(vector=pb.Vector(dense=pb.DenseVector(data=vector))),
        payload=encode_payload(payload),
    )
    engine.upsert(pb.UpsertPoints(collection_name="c", wait=True, points=[point], **options))


def read(engine: Engine, number: int) -> pb.RetrievedPoint:
    request = pb.GetPoints(
        collection_name="c",
        ids=[pb.PointId(num=number)],
        with_payload=pb.WithPayloadSelector(enable=True),
        with_vectors=pb.WithVectorsSelector(enable=True),
    )
    found: pb.RetrievedPoint = engine.retrieve(request).result[0]
    return found


@fast
@given(st.dictionaries(texts, values, max_size=6), st.lists(st.floats(width=32), min_size=3, max_size=3))
def test_payload_and_vector_come_back_as_they_were(
    engine: Engine, payload: dict[str, Any], vector: list[float]
) -> None:
    engine.clear("c")
    upsert(engine, 1, payload, vector)
    found = read(engine, 1)
    assert json.dumps(decode_payload(found.payload), sort_keys=True) == json.dumps(payload, sort_keys=True)
    assert repr(found.vectors.vector.dense.data[:]) == repr(vector)  # repr: not a number equals nothing


@fast
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_of_the_payload_may_come_back_as_a_neighbour_that_a_verification_takes_for_it(
    engine: Engine, value: float
) -> None:
    engine.clear("c")
    upsert(engine, 1, {"value": value}, [1.0, 0.0, 0.0])
    found = decode_payload(read(engine, 1).payload)
    assert not set(digests_of(found)).isdisjoint(digests_of({"value": value}))


@fast
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**53 - 1)), max_size=30))
def test_guarded_writes_in_any_order_leave_the_newest_of_each_point(
    engine: Engine, writes: list[tuple[int, int]]
) -> None:
    engine.clear("c")
    for number, version in writes:
        newer = pb.Condition(field=pb.FieldCondition(key="version", range=pb.Range(gt=version)))
        upsert(engine, number, {"version": version}, [1.0, 0.0, 0.0], update_filter=pb.Filter(must_not=[newer]))
    newest: dict[int, int] = {}
    for number, version in writes:
        newest[number] = max(version, newest.get(number, 0))
    found = engine.scroll(pb.ScrollPoints(collection_name="c", limit=10)).result
    assert {point.id.num: point.payload["version"].integer_value for point in found} == newest
