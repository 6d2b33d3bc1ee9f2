"""`streamdex estimate` on a real topic: what it says beforehand is what the stand-in bills afterwards."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from harness.deployment import Deployment
from harness.fixtures_jina import StartJina
from harness.fixtures_qdrant import QdrantSpace
from harness.kafka import Kafka, Message
from streamdex.standins.documents import sample_documents
from streamdex.standins.jina import JinaServer, Limits, Options, WindowKind

DOCUMENTS = 400
REQUESTS, TOKENS, CONCURRENCY = 480, 800_000, 8
PRICE = 0.05
TOLERANCE = 0.15  # as its help says


@pytest.fixture
async def jina(start_jina: StartJina) -> JinaServer:
    return await start_jina(Options(limits=Limits(REQUESTS, TOKENS, CONCURRENCY, WindowKind.SLIDING_LOG)))


@pytest.fixture
async def deployment(kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path) -> Deployment:
    topic = await kafka.create_topic(partitions=3)
    return Deployment(kafka, jina, qdrant.address, qdrant.collection, topic, kafka.unique_group(), tmp_path)


async def estimate(deployment: Deployment, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """(exit code, output, errors) of the command, as users run it."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": deployment.kafka.bootstrap_servers,
        "STREAMDEX_KAFKA__TOPICS": deployment.topic,
        "STREAMDEX_KAFKA__GROUP_ID": deployment.group,
        "STREAMDEX_JINA__REQUESTS_PER_MINUTE": str(REQUESTS),
        "STREAMDEX_JINA__TOKENS_PER_MINUTE": str(TOKENS),
        "STREAMDEX_JINA__PRICE_PER_MILLION_TOKENS": str(PRICE),
        "COLUMNS": "120",
        **variables,
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamdex.cli", "estimate", *arguments, env=environment, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode().strip()


@pytest.mark.alone  # starved of CPU, texts come slower than requests may go, which then carry fewer
async def test_what_it_says_is_what_is_billed(deployment: Deployment, jina: JinaServer) -> None:
    # Without the few very long ones, which come first.
    documents = sample_documents(DOCUMENTS + 100, 1_000_000)[100:]
    messages = [Message(one.id.encode(), json.dumps({"id": one.id, "text": one.text}).encode()) for one in documents]
    await deployment.produce([*messages, Message(b"a delete", None), Message(b"not JSON", b"{")])
    code, out, err = await estimate(deployment, "--json")
    assert (code, err) == (0, "")
    whole = json.loads(out)
    assert whole["records"] == whole["sampled"] == DOCUMENTS + 2
    code, out, _ = await estimate(deployment, "--json", "--sample", "150")
    sampled = json.loads(out)
    assert code == 0
    assert sampled["records"] == DOCUMENTS + 2
    assert 130 <= sampled["sampled"] <= 170
    assert sampled["tokens"] == pytest.approx(whole["tokens"], rel=0.3)  # a third of them, of very uneven lengths

    limits = {
        "STREAMDEX_JINA__REQUESTS_PER_MINUTE": str(REQUESTS),
        "STREAMDEX_JINA__TOKENS_PER_MINUTE": str(TOKENS),
        "STREAMDEX_JINA__CONCURRENCY": str(CONCURRENCY),
    }
    await deployment.work_it_off(**limits)
    assert whole["chunks"] == jina.stats.inputs_embedded
    assert whole["tokens"] == pytest.approx(jina.stats.tokens_billed, rel=TOLERANCE)
    assert whole["requests"] == pytest.approx(jina.stats.accepted, rel=0.25)
    assert whole["cost"] == pytest.approx(jina.stats.tokens_billed / 1e6 * PRICE, rel=TOLERANCE)
    times_s = [note.at_s for note in jina.stats.log if note.status == 200]
    assert times_s[-1] - times_s[0] >= 0.75 * 60 * whole["minutes"]  # a busy machine may take longer
    assert whole["bound_by"] == "tokens"

    code, out, _ = await estimate(deployment)
    assert (code, out) == (0, "Nothing waits for the group.\n")
    code, out, err = await estimate(deployment, "--all")
    assert code == 0
    assert f"A backlog of {DOCUMENTS + 2:,} records" in out
    assert f"{whole['tokens']:,}, by estimate" in out
    assert "look at records" in err


async def test_an_empty_topic_costs_nothing(deployment: Deployment) -> None:
    assert await estimate(deployment, "--all") == (0, "Nothing waits: the topic is empty.\n", "")
    code, out, _ = await estimate(deployment, "--json")
    found = json.loads(out)
    assert (code, found["records"], found["tokens"], found["requests"], found["cost"]) == (0, 0, 0, 0, 0.0)


@pytest.mark.parametrize(
    ("variables", "exit_code", "told"),
    [
        ({"STREAMDEX_KAFKA__TOPICS": "missing-topic"}, 2, "the topic missing-topic is not there"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, 1, "127.0.0.1:1"),
        ({"STREAMDEX_JINA__MODEL": "jina-embeddings-v9"}, 2, "jina.model"),
    ],
    ids=["missing topic", "no broker", "unknown model"],
)
async def test_what_is_wrong_is_said_in_one_line_with_its_exit_code(
    deployment: Deployment, variables: dict[str, str], exit_code: int, told: str
) -> None:
    code, out, err = await estimate(deployment, **variables)
    assert (code, out) == (exit_code, "")
    assert told in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 3
