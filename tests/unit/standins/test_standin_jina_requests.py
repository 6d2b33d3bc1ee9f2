"""Validation per model, and the answers: pure, without HTTP."""

from typing import Any

import numpy as np
import orjson
import pybase64
import pytest

from streamdex.standins.jina.answers import EmbeddingType, ErrorShape, Refused, number, success
from streamdex.standins.jina.models import MODELS, Model
from streamdex.standins.jina.requests import FieldMode, parse, peek

V3 = "jina-embeddings-v3"
V2 = "jina-embeddings-v2-base-en"
EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def _body(model: str = V3, **fields: Any) -> bytes:
    return orjson.dumps({"model": model, "input": ["a text"], **fields})


def _refused(body: bytes, mode: FieldMode = FieldMode.STRICT) -> dict[str, Any]:
    """The refusal's status and JSON."""
    with pytest.raises(Refused) as caught:
        parse(body, mode)
    answer: dict[str, Any] = orjson.loads(caught.value.answer.body("r1"))
    return {"status": caught.value.answer.status, **answer}


def test_the_table_holds_every_model_with_its_own_dimension() -> None:
    assert {name: model.dimension for name, model in MODELS.items()} == {
        "jina-embeddings-v2-base-en": 768,
        "jina-embeddings-v2-base-de": 768,
        "jina-embeddings-v2-base-es": 768,
        "jina-embeddings-v2-base-zh": 768,
        "jina-embeddings-v2-base-code": 768,
        "jina-embeddings-v3": 1024,
        "jina-embeddings-v4": 2048,
        "jina-embeddings-v5-text-nano": 768,
        "jina-embeddings-v5-text-small": 1024,
        "jina-code-embeddings-0.5b": 896,
        "jina-code-embeddings-1.5b": 1536,
        "jina-clip-v2": 1024,
    }


@EVERY_MODEL
def test_each_model_takes_its_own_tasks_and_refuses_others(model: Model) -> None:
    for task in model.tasks:
        assert parse(_body(model.name, task=task)).task == task
    refused = _refused(_body(model.name, task="summarise"))
    assert refused["status"] == 422
    (error,) = refused["errors"]
    assert error["type"] == ("enum" if model.tasks else "extra_forbidden")
    assert error["field"] == f"body -> {model.name} -> task"


@EVERY_MODEL
def test_each_model_takes_its_own_dimensions_and_refuses_others(model: Model) -> None:
    if model.smallest is None:
        (error,) = _refused(_body(model.name, dimensions=model.dimension))["errors"]
        assert error["type"] == "extra_forbidden"
        return
    for dimension in (model.smallest, model.smallest + 1, model.dimension):
        assert parse(_body(model.name, dimensions=dimension)).dimension == dimension
    wrong: dict[str | int, str] = {
        model.smallest - 1: "greater_than_equal",
        model.dimension + 1: "less_than_equal",
        "64": "int_type",
        True: "int_type",
    }
    for sent, kind in wrong.items():
        (error,) = _refused(_body(model.name, dimensions=sent))["errors"]
        assert (error["type"], error["input"]) == (kind, sent)


@EVERY_MODEL
@pytest.mark.parametrize("flag", ["late_chunking", "normalized", "truncate"])
def test_each_model_takes_only_its_own_flags(model: Model, flag: str) -> None:
    if flag in model.fields:
        assert parse(_body(model.name, **{flag: True})).sent == {flag: True}
        (error,) = _refused(_body(model.name, **{flag: "yes"}))["errors"]
        assert error["type"] == "bool_type"
    else:
        (error,) = _refused(_body(model.name, **{flag: False}))["errors"]
        assert error["type"] == "extra_forbidden"


def test_late_chunking_is_offered_by_v3_and_v4_alone() -> None:
    assert {name for name, model in MODELS.items() if "late_chunking" in model.fields} == {V3, "jina-embeddings-v4"}


def test_unknown_fields_are_refused_together_in_one_answer() -> None:
    refused = _refused(_body(task_type="retrieval.passage", user="u"))
    assert refused["detail"] == "[RID: r1] Validation errors in 2 fields"
    assert [error["type"] for error in refused["errors"]] == ["extra_forbidden"] * 2
    assert refused["errors"][0] == {
        "field": f"body -> {V3} -> task_type",
        "message": "Extra inputs are not permitted",
        "type": "extra_forbidden",
        "input": "retrieval.passage",
    }


def test_aliases_are_understood_where_that_is_switched_on() -> None:
    body = _body(task_type="separation", encoding_format="base64", output_dimensionality=64, truncation=True)
    request = parse(body, FieldMode.ALIASES)
    assert (request.task, request.embedding_type, request.dimension) == ("separation", EmbeddingType.BASE64, 64)
    assert parse(_body(V2, task="retrieval.passage"), FieldMode.ALIASES).task is None
    assert _refused(_body(V2, colour="red"), FieldMode.ALIASES)["status"] == 422


def test_defaults_of_a_plain_request() -> None:
    request = parse(_body())
    assert (request.task, request.dimension, request.normalized) == (None, 1024, False)
    assert request.embedding_type is EmbeddingType.FLOAT
    assert parse(_body("jina-embeddings-v4")).normalized
    assert parse(_body("jina-embeddings-v4")).task == "text-matching"


@pytest.mark.parametrize(
    ("given", "texts"),
    [("one", ("one",)), ({"text": "one"}, ("one",)), (["one", {"text": "two"}, ""], ("one", "two", ""))],
)
def test_inputs_may_be_a_string_an_object_or_a_list(given: object, texts: tuple[str, ...]) -> None:
    assert parse(_body(input=given)).texts == texts


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (None, "missing"),
        ([], "too_short"),
        (7, "string_type"),
        (["a", 7], "string_type"),
        ([["a"]], "string_type"),
        ([{"image": "x"}], "string_type"),
        (["x"] * 513, "value_error"),
    ],
)
def test_other_inputs_are_refused(given: object, kind: str) -> None:
    refused = _refused(_body(input=given))
    assert refused["status"] == 422
    assert refused["errors"][0]["type"] == kind


def test_512_inputs_are_taken_and_513_refused_in_the_services_words() -> None:
    assert len(parse(_body(input=["x"] * 512)).texts) == 512
    refused = _refused(_body(input=["x"] * 513))
    assert refused["errors"][0]["message"] == "Each input list can contain at most 512 items"


@pytest.mark.parametrize(
    ("body", "kind"), [(b"{", "json_invalid"), (b"[]", "model_attributes_type"), (b"{}", "missing")]
)
def test_bodies_that_are_no_request_are_refused(body: bytes, kind: str) -> None:
    refused = _refused(body)
    assert (refused["status"], refused["errors"][0]["type"]) == (422, kind)


def test_an_unknown_model_has_a_code_of_its_own() -> None:
    refused = _refused(_body("jina-embeddings-v9"))
    assert (refused["status"], refused["code"], refused["request_id"]) == (400, "INPUT_MODEL_NOT_FOUND", "r1")


def test_a_list_of_embedding_types_breaks_the_service() -> None:
    assert _refused(_body(embedding_type=["float", "binary"]))["status"] == 500
    assert _refused(_body(embedding_type="int8"))["status"] == 422


def test_an_over_long_input_is_refused_or_cut() -> None:
    longest, too_long = "x " * 8192, "x " * 8193
    assert parse(_body(input=[longest])).tokens == 8194
    refused = _refused(_body(input=["short", too_long]))
    assert refused["status"] == 400
    assert refused["detail"]["code"] == "INPUT_TOKEN_LIMIT_EXCEEDED"
    assert refused["detail"]["message"].startswith("Input text exceeds the model's maximum of 8194 tokens.")
    cut = parse(_body(input=["short", too_long], truncate=True))
    assert cut.tokens == 3 + 8194
    assert cut.texts[1] == longest.rstrip()


def test_the_inputs_of_late_chunking_are_one_document() -> None:
    halves = ["x " * 5000, "y " * 5000]
    assert parse(_body(input=halves)).tokens == 10_004
    refused = _refused(_body(input=halves, late_chunking=True))
    assert refused["detail"]["code"] == "INPUT_TOKEN_LIMIT_EXCEEDED"
    assert parse(_body(input=halves, late_chunking=True, truncate=True)).tokens == 8194
    assert parse(_body(input=["one", "two"], late_chunking=True)).tokens == 4


def test_nothing_that_people_see_quotes_the_texts() -> None:
    request = parse(_body(input=["canary-text"]))
    assert "canary" not in repr(request)
    with pytest.raises(Refused) as caught:
        parse(_body(input=["a", {"canary": 1}]))
    assert "canary" not in repr(caught.value)
    assert "canary" not in str(peek(_body(input=["canary"], user="canary")))


def _embeddings(embedding_type: EmbeddingType, vectors: np.ndarray[Any, np.dtype[np.float32]]) -> list[Any]:
    answer = orjson.loads(success(V3, number(vectors), embedding_type, 7))
    assert (answer["model"], answer["object"], answer["usage"]) == (V3, "list", {"total_tokens": 7})
    assert [item["index"] for item in answer["data"]] == list(range(len(vectors)))
    assert all(item["object"] == "embedding" for item in answer["data"])
    return [item["embedding"] for item in answer["data"]]


def test_the_four_embedding_types() -> None:
    vectors = np.array([[0.5, -1, 0, 2, 0.1, -0.1, -3, 4], [1, 1, 1, 1, 1, 1, 1, 1]], dtype=np.float32)
    assert _embeddings(EmbeddingType.FLOAT, vectors)[0] == pytest.approx([0.5, -1, 0, 2, 0.1, -0.1, -3, 4])
    decoded = pybase64.b64decode(_embeddings(EmbeddingType.BASE64, vectors)[0])
    assert np.array_equal(np.frombuffer(decoded, dtype="<f4"), vectors[0])
    assert _embeddings(EmbeddingType.UBINARY, vectors) == [[0b10011001], [0b11111111]]
    assert _embeddings(EmbeddingType.BINARY, vectors) == [[0b10011001 - 128], [127]]


def test_prompt_tokens_come_and_go_by_model() -> None:
    rows = number(np.ones((1, 2), dtype=np.float32))
    answer = orjson.loads(success(V2, rows, EmbeddingType.FLOAT, 7, prompt_tokens=True))
    assert answer["usage"] == {"total_tokens": 7, "prompt_tokens": 7}


def test_validation_errors_keep_their_shape() -> None:
    with pytest.raises(Refused) as caught:
        parse(b"{}")
    assert caught.value.answer.shape is ErrorShape.VALIDATION
