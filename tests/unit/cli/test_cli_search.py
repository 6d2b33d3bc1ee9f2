"""`streamdex search`: a collection with documents, an empty one, none, and questions that cannot be embedded."""

import asyncio
import uuid

import pytest

from harness.cli import JINA_KEY, MARK, QDRANT_KEY, Cli, Services
from harness.index import write_of
from streamdex.config import Settings
from streamdex.embed import Embedder, resolve
from streamdex.index import Index, WriteJob
from streamdex.telemetry import Health, Metrics

DOCUMENTS = {
    "keys": "Rotate the API key every ninety days.",
    "lunch": "The canteen serves lunch\nfrom noon.",
    "7": "Backups are kept for a year.",
}
QUESTION = "when does the canteen serve lunch?"


@pytest.fixture
def collection() -> str:
    """A name of the test's own."""
    return f"search-{uuid.uuid4().hex[:8]}"


async def index_documents(services: Services, collection: str, documents: dict[str, str]) -> None:
    settings = Settings(
        jina={"api_key": JINA_KEY, "base_url": services.jina.base_url},
        qdrant={
            "url": "http://127.0.0.1",
            "grpc_port": services.qdrant_port,
            "api_key": QDRANT_KEY,
            "collection": collection,
        },
    )
    profile, metrics = resolve(settings.jina), Metrics()
    embedder = Embedder(settings.jina, profile, Health(), metrics)
    index = await Index.open(settings, profile.fingerprint, profile.dimension, metrics)
    for rank, (key, text) in enumerate(documents.items(), start=64):
        write = write_of(key, rank, [text], metadata={"team": "ops"})
        (vector,) = await embedder.embed_once([text])
        await index.writer.write([WriteJob(write, {write.chunks[0].id: vector}, index.writer.check(write))])
    await index.close()
    await embedder.close()


def test_the_nearest_come_first(cli: Cli, services: Services, collection: str) -> None:
    asyncio.run(index_documents(services, collection, DOCUMENTS))
    said = cli("search", QUESTION, "--json", "--limit", "2", env=services.environment("documents", collection))
    assert said.exit_code == 0
    first, second = said.json
    assert first["score"] > second["score"]
    del first["score"]
    assert first == {
        "document_id": "lunch",
        "chunk": 0,
        "text": DOCUMENTS["lunch"],
        "metadata": {"team": "ops"},
    }
    assert services.jina.stats.log[-1].sent["task"] == "retrieval.query"


def test_for_people_each_hit_has_two_lines(cli: Cli, services: Services, collection: str) -> None:
    asyncio.run(index_documents(services, collection, DOCUMENTS))
    said = cli("search", QUESTION, env=services.environment("documents", collection))
    assert said.exit_code == 0
    told = said.out.splitlines()
    assert len(told) == 2 * len(DOCUMENTS)
    assert told[0].endswith("lunch  (chunk 0)")
    assert told[1] == "The canteen serves lunch from noon."


def test_an_empty_collection_says_so(cli: Cli, services: Services, collection: str) -> None:
    asyncio.run(index_documents(services, collection, {}))
    environment = services.environment("documents", collection)
    assert cli("search", QUESTION, env=environment) == (0, "Nothing found: the collection is empty.\n", "")
    assert cli("search", QUESTION, "--json", env=environment).json == []


def test_no_collection_is_told_with_the_fix(cli: Cli, services: Services, collection: str) -> None:
    said = cli("search", QUESTION, env=services.environment("documents", collection))
    assert said.exit_code == 2
    assert said.err.splitlines() == [
        f"Error: there is no collection {collection}",
        "  where: qdrant.collection",
        "  fix:   Start the worker first: it makes it.",
    ]


@pytest.mark.parametrize(
    ("fault", "argument", "said"),
    [
        ("status", "503", "Error: Jina answered 503"),
        ("refuse", "canteen", "Error: Jina answered 400"),
        ("zero", "", "Error: the answer is wrong"),
    ],
)
def test_a_question_that_cannot_be_embedded_is_one_line(
    fault: str, argument: str, said: str, cli: Cli, services: Services, collection: str
) -> None:
    injected = services.jina.inject(fault, argument)
    found = cli("search", QUESTION, env=services.environment("documents", collection))
    assert found.exit_code == 1
    assert found.err.startswith(said)
    assert found.err.count("\n") == 1
    assert "canteen" not in found.err
    assert injected.fired == 1


def test_a_refused_key_is_told_with_the_fix(cli: Cli, services: Services, collection: str) -> None:
    found = cli(
        "search", QUESTION, env=services.environment("documents", collection, jina__api_key=f"jina_{MARK}_wrong")
    )
    assert found.exit_code == 2
    what, fix = found.err.splitlines()
    assert what.startswith("Error: Jina answered 401")
    assert fix.startswith("  fix:   Put a valid key in jina.api_key")


def test_a_collection_of_other_vectors_is_refused(cli: Cli, services: Services, collection: str) -> None:
    asyncio.run(index_documents(services, collection, {}))
    said = cli("search", QUESTION, env=services.environment("documents", collection, jina__dimensions="512"))
    assert said.exit_code == 2
    assert "the collection holds vectors of 1024 dimensions" in said.err
