"""Two workers, one key, real time: its quota is used up, and nobody is refused."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from harness.deployment import Deployment, until
from harness.fixtures_jina import StartJina
from harness.fixtures_qdrant import QdrantSpace
from harness.kafka import Kafka, Message
from streamdex.standins.jina import Limits, Options, WindowKind

REQUESTS, TOKENS, CONCURRENCY = 120, 60_000, 10
MEASURED_S = 75.0
SETTLING_S = 20.0  # both have their share then, and a first wave is over


def backlog(documents: int) -> list[Message]:
    texts = (f"Document {number} " + "has some words in it, " * 20 for number in range(documents))
    return [
        Message(b"doc-%d" % number, json.dumps({"id": f"doc-{number}", "text": text}).encode())
        for number, text in enumerate(texts)
    ]


@pytest.mark.alone
@pytest.mark.timeout(240)
async def test_two_workers_use_the_key_up_and_are_never_refused(
    kafka: Kafka, start_jina: StartJina, qdrant: QdrantSpace, tmp_path: Path
) -> None:
    limits = Limits(REQUESTS, TOKENS, CONCURRENCY, WindowKind.SLIDING_LOG)
    jina = await start_jina(Options(limits=limits))
    topic = await kafka.create_topic(partitions=4)
    deployment = Deployment(kafka, jina, qdrant.address, qdrant.collection, topic, kafka.unique_group(), tmp_path)
    await deployment.produce(backlog(6_000))
    settings = {
        "STREAMDEX_JINA__REQUESTS_PER_MINUTE": str(REQUESTS),
        "STREAMDEX_JINA__TOKENS_PER_MINUTE": str(TOKENS),
        "STREAMDEX_JINA__CONCURRENCY": str(CONCURRENCY),
        "STREAMDEX_WORKER__DRAIN_TIMEOUT_S": "2",
    }
    async with deployment.worker("one", **settings) as one, deployment.worker("two", **settings) as two:
        await until(lambda: len(two.events("partitions.assigned")) > 0 and len(one.events("partitions.assigned")) > 0)
        await asyncio.sleep(SETTLING_S)
        before, since_s = (jina.stats.accepted, jina.stats.tokens_billed), time.monotonic()
        await asyncio.sleep(MEASURED_S)
        after, minutes = (jina.stats.accepted, jina.stats.tokens_billed), (time.monotonic() - since_s) / 60
    used = (
        (after[0] - before[0]) / (REQUESTS * minutes),
        (after[1] - before[1]) / (TOKENS * minutes),
    )
    assert max(used) >= 0.95, used
    assert jina.stats.responses[429] == 0
