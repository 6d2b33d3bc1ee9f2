"""The capability table: what is sent for each model, and what is refused at start."""

from typing import Any

import pytest

from streamdex.config import JinaSettings
from streamdex.embed import MODELS, Profile, resolve
from streamdex.errors import ConfigurationError

V2 = [f"jina-embeddings-v2-base-{language}" for language in ("en", "de", "es", "zh", "code")]


def profile(**settings: Any) -> Profile:
    return resolve(JinaSettings(**settings))


def refusal(**settings: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        profile(**settings)
    return caught.value


def test_the_default_is_v3_for_passages() -> None:
    found = profile()
    assert (found.model, found.dimension, found.max_input_tokens, found.max_inputs) == (
        "jina-embeddings-v3",
        1024,
        8192,
        512,
    )
    assert dict(found.passage_fields) == {
        "model": "jina-embeddings-v3",
        "embedding_type": "base64",
        "dimensions": 1024,
        "normalized": True,
        "task": "retrieval.passage",
    }
    assert found.query_fields == {**found.passage_fields, "task": "retrieval.query"}


@pytest.mark.parametrize("model", V2)
def test_v2_is_sent_neither_task_nor_dimensions(model: str) -> None:
    found = profile(model=model)
    assert dict(found.passage_fields) == {"model": model, "embedding_type": "base64", "normalized": True}
    assert found.query_fields == found.passage_fields
    assert (found.dimension, found.task, found.query_task) == (768, None, None)


@pytest.mark.parametrize(
    ("model", "dimension", "task", "query_task", "context"),
    [
        ("jina-embeddings-v4", 2048, "retrieval.passage", "retrieval.query", 32_768),
        ("jina-embeddings-v5-text-nano", 768, "retrieval.passage", "retrieval.query", 8192),
        ("jina-embeddings-v5-text-small", 1024, "retrieval.passage", "retrieval.query", 32_768),
        ("jina-code-embeddings-0.5b", 896, "nl2code.passage", "nl2code.query", 32_768),
        ("jina-code-embeddings-1.5b", 1536, "nl2code.passage", "nl2code.query", 32_768),
        ("jina-clip-v2", 1024, None, "retrieval.query", 8192),
    ],
)
def test_defaults_of_the_other_models(
    model: str, dimension: int, task: str | None, query_task: str, context: int
) -> None:
    found = profile(model=model)
    assert (found.dimension, found.task, found.query_task, found.max_input_tokens) == (
        dimension,
        task,
        query_task,
        context,
    )
    assert found.passage_fields.get("task") == task
    assert found.query_fields["task"] == query_task


@pytest.mark.parametrize("model", ["jina-embeddings-v4", "jina-code-embeddings-0.5b", "jina-code-embeddings-1.5b"])
def test_normalized_is_not_sent_where_it_is_not_listed(model: str) -> None:
    found = profile(model=model)
    assert "normalized" not in found.passage_fields
    assert found.fingerprint["normalized"] is None


@pytest.mark.parametrize("name", MODELS)
def test_every_task_and_the_ends_of_every_range_are_taken(name: str) -> None:
    model = MODELS[name]
    for task in (None, *model.tasks):
        for dimensions in {None, model.dimension, model.smallest}:
            found = profile(model=name, task=task, dimensions=dimensions)
            assert found.dimension == (dimensions or model.dimension)
            assert found.passage_fields.get("task") == (task or model.document_task)
            assert ("dimensions" in found.passage_fields) == (model.smallest is not None)
            assert found.query_task is None or found.query_task in model.tasks


@pytest.mark.parametrize(
    ("task", "query_task"),
    [("code2nl.passage", "code2nl.query"), ("qa.query", "qa.query")],
)
def test_a_search_uses_the_other_side_of_the_documents_task(task: str, query_task: str) -> None:
    assert profile(model="jina-code-embeddings-0.5b", task=task).query_task == query_task


def test_a_task_without_sides_is_its_own_query_task() -> None:
    assert profile(task="text-matching").query_task == "text-matching"


def test_fields_for_a_task_leave_late_chunking_to_documents() -> None:
    found = profile(late_chunking=True, truncate=True)
    assert found.fields()["late_chunking"] is True
    assert found.fields("retrieval.query") == found.query_fields
    assert "late_chunking" not in found.fields("separation")
    assert found.fields("separation")["task"] == "separation"
    assert found.fields("separation")["truncate"] is True


def test_the_fingerprint_is_what_decides_a_vector() -> None:
    found = profile(dimensions=256, late_chunking=True)
    assert found.fingerprint == {
        "model": "jina-embeddings-v3",
        "dimensions": 256,
        "task": "retrieval.passage",
        "normalized": True,
        "truncate": False,
        "late_chunking": True,
    }
    assert profile(concurrency=3).fingerprint == profile().fingerprint


def test_an_unknown_model_is_refused_with_the_nearest_and_the_list() -> None:
    error = refusal(model="jina-embedding-v3")
    assert error.where == "jina.model"
    assert "Did you mean jina-embeddings-v3?" in error.fix
    assert all(name in error.fix for name in MODELS)


@pytest.mark.parametrize(
    ("settings", "where", "fix"),
    [
        ({"dimensions": 31}, "jina.dimensions", "32 to 1024"),
        ({"dimensions": 1025}, "jina.dimensions", "32 to 1024"),
        ({"model": V2[0], "dimensions": 512}, "jina.dimensions", "768 only"),
        ({"task": "clustering"}, "jina.task", "retrieval.query, retrieval.passage, text-matching"),
        ({"model": V2[0], "task": "retrieval.query"}, "jina.task", "leave it unset"),
        ({"model": "jina-clip-v2", "late_chunking": True}, "jina.late_chunking", "jina-embeddings-v4"),
        ({"dialect": "openai", "model": "mine"}, "jina.dimensions", "length of the vectors"),
        ({"dialect": "openai", "model": "mine", "dimensions": 8, "task": "x"}, "jina.task", "unset"),
        ({"dialect": "openai", "dimensions": 8, "late_chunking": True}, "jina.late_chunking", "jina dialect"),
        ({"dialect": "openai", "dimensions": 8, "truncate": True}, "jina.truncate", "jina dialect"),
    ],
)
def test_what_the_model_cannot_do_is_refused_by_name(settings: dict[str, Any], where: str, fix: str) -> None:
    error = refusal(**settings)
    assert error.where == where
    assert fix in error.fix


def test_the_openai_dialect_sends_model_and_format_alone() -> None:
    found = profile(dialect="openai", model="BAAI/bge-m3", dimensions=1024)
    assert dict(found.passage_fields) == {"model": "BAAI/bge-m3", "encoding_format": "base64"}
    assert found.query_fields == found.passage_fields
    assert (found.dimension, found.max_input_tokens) == (1024, None)
