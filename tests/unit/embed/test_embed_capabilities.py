"""The capability table against the stand-in, which has a table of its own and refuses what a model does not list.

Every model with every task and dimension that is offered goes over HTTP through the real client; and what is refused
at start would have been refused by the service as well.
"""

import math
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from streamdex.config import JinaSettings
from streamdex.embed import MODELS, Profile, Vector, resolve
from streamdex.embed.http.client import JinaClient
from streamdex.embed.models import EmbeddingModel, Fields
from streamdex.errors import ConfigurationError, SuspectFault
from streamdex.standins.jina import MODELS as STAND_INS
from streamdex.standins.jina import JinaServer

KEY = "any-key"
ADVISED = (256, 512, 768, 1024)
TEXTS = ["Rotate the API key every ninety days.", "The canteen serves lunch from noon."]
ALL_TASKS = {task for model in MODELS.values() for task in model.tasks}


def dimensions_of(model: EmbeddingModel) -> list[int | None]:
    """None, for the model's own; the ends of its range, the middle, and the advised steps that lie within."""
    smallest = model.smallest or model.dimension
    middle = (smallest + model.dimension) // 2
    return [
        None,
        *sorted({smallest, middle, model.dimension, *(n for n in ADVISED if smallest <= n <= model.dimension)}),
    ]


def not_offered(model: EmbeddingModel) -> Iterator[tuple[str, Any]]:
    """Settings, one at a time, that the model cannot do."""
    smallest = model.smallest or model.dimension
    yield from (("dimensions", number) for number in {1, smallest - 1, model.dimension + 1})
    yield from (("task", task) for task in sorted(ALL_TASKS - set(model.tasks)))
    yield ("task", "retrieval.passages")
    if not model.late_chunking:
        yield ("late_chunking", True)


@asynccontextmanager
async def connected(server: JinaServer, **settings: Any) -> AsyncIterator[tuple[JinaClient, Profile]]:
    chosen = JinaSettings(api_key=KEY, base_url=server.base_url, **settings)
    profile = resolve(chosen)
    client = JinaClient(chosen, profile)
    try:
        yield client, profile
    finally:
        await client.close()


async def embed(server: JinaServer, client: JinaClient, fields: Fields, texts: list[str] = TEXTS) -> list[Vector]:
    """Embed through the client; what arrived at the server must be exactly these fields."""
    answer = await client.embed(texts, fields)
    note = server.stats.log[-1]
    assert note.status == 200
    assert {"model": note.model, **note.sent} == dict(fields)
    return answer.vectors


def length(vector: Vector) -> float:
    return math.hypot(*struct.unpack(f"<{len(vector) // 4}f", vector))


def test_both_tables_know_the_same_models() -> None:
    assert set(MODELS) == set(STAND_INS)


@pytest.mark.parametrize("name", MODELS)
async def test_every_task_and_dimension_offered_is_accepted(name: str, jina: JinaServer) -> None:
    model = MODELS[name]
    for dimensions in dimensions_of(model):
        async with connected(jina, model=name, dimensions=dimensions) as (client, _):
            for task in (None, *model.tasks):
                profile = resolve(JinaSettings(model=name, dimensions=dimensions, task=task))
                assert profile.dimension == (dimensions or model.dimension)
                assert profile.passage_fields.get("task") == (task or model.document_task)
                for fields in (profile.passage_fields, profile.query_fields):
                    vectors = await embed(jina, client, fields)
                    assert [len(vector) for vector in vectors] == [4 * profile.dimension] * len(TEXTS), fields
                    assert all(length(vector) == pytest.approx(1, abs=1e-5) for vector in vectors), fields
    assert jina.stats.accepted == len(dimensions_of(model)) * (1 + len(model.tasks)) * 2


def test_v3_has_its_five_tasks_and_the_range_that_is_advised() -> None:
    v3 = MODELS["jina-embeddings-v3"]
    assert set(v3.tasks) == {
        "retrieval.query",
        "retrieval.passage",
        "text-matching",
        "classification",
        "separation",
    }
    assert set(dimensions_of(v3)) == {None, 32, 256, 512, 528, 768, 1024}


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.late_chunking])
async def test_late_chunking_is_sent_with_documents_and_not_with_questions(name: str, jina: JinaServer) -> None:
    async with connected(jina, model=name, late_chunking=True) as (client, profile):
        assert profile.passage_fields["late_chunking"] is True
        together = await embed(jina, client, profile.passage_fields)
        assert "late_chunking" not in profile.query_fields
        await embed(jina, client, profile.query_fields)
    async with connected(jina, model=name) as (client, profile):
        apart = await embed(jina, client, profile.passage_fields)
    assert len(set(together + apart)) == 2 * len(TEXTS)


@pytest.mark.parametrize("name", MODELS)
async def test_truncate_lets_the_service_cut_what_it_refuses_otherwise(name: str, jina: JinaServer) -> None:
    too_long = ["word " * (MODELS[name].context_tokens + 1)]
    async with connected(jina, model=name) as (client, profile):
        assert "truncate" not in profile.passage_fields
        with pytest.raises(SuspectFault, match="INPUT_TOKEN_LIMIT_EXCEEDED"):
            await client.embed(too_long, profile.passage_fields)
    async with connected(jina, model=name, truncate=True) as (client, profile):
        assert profile.passage_fields["truncate"] is True
        (vector,) = await embed(jina, client, profile.passage_fields, too_long)
    assert len(vector) == 4 * profile.dimension


@pytest.mark.parametrize("name", MODELS)
async def test_what_is_refused_at_start_the_service_refuses_as_well(name: str, jina: JinaServer) -> None:
    model = MODELS[name]
    async with httpx.AsyncClient(trust_env=False, headers={"authorization": f"Bearer {KEY}"}) as raw:
        for setting, value in not_offered(model):
            with pytest.raises(ConfigurationError) as caught:
                resolve(JinaSettings(model=name, **{setting: value}))
            assert caught.value.where == f"jina.{setting}"
            assert names_what_is_possible(model, setting, caught.value.fix), caught.value.fix
            body = {"model": name, "input": "a text", setting: value}
            answer = await raw.post(f"{jina.base_url}/embeddings", json=body)
            assert answer.status_code == 422, (setting, value)
    assert jina.stats.accepted == 0


def names_what_is_possible(model: EmbeddingModel, setting: str, fix: str) -> bool:
    """Whether the fix holds the model's own list."""
    if setting == "dimensions":
        smallest = model.smallest or model.dimension
        return (f"{smallest} to {model.dimension}" if model.smallest else f"{model.dimension} only") in fix
    if setting == "task":
        return all(task in fix for task in model.tasks) if model.tasks else "no tasks" in fix
    return all(other.name in fix for other in MODELS.values() if other.late_chunking)
