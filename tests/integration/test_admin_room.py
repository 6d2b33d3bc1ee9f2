"""The worker from outside, as an orchestrator sees it: a real process, its endpoints over HTTP."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.deployment import KEY, LIMIT_S, Deployment, message, stream, until
from harness.fixtures_qdrant import QdrantAddress
from harness.kafka import Kafka
from streamdex.standins.jina import JinaFaultKind, JinaServer
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault

PARTITIONS = 4
DOCUMENTS = 40


@pytest.fixture
async def deployment(kafka: Kafka, jina: JinaServer, qdrant_server: EmbeddedQdrant, tmp_path: Path) -> Deployment:
    topic = await kafka.create_topic(partitions=PARTITIONS)
    address = QdrantAddress(qdrant_server.host, qdrant_server.port, None, "embedded")
    return Deployment(kafka, jina, address, "documents", topic, kafka.unique_group(), tmp_path)


class Outside:
    """Asks a worker's admin server."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def code(self, path: str) -> int:
        return (await self._client.get(path)).status_code

    async def status(self) -> dict[str, Any]:
        answer = await self._client.get("/status")
        assert answer.status_code == 200
        return dict(answer.json())

    async def not_ready(self, name: str) -> str:
        """Wait until it is not ready for this reason, and not for that dead."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                answer = await self._client.get("/readyz")
                reasons = answer.json()["reasons"]
                assert (answer.status_code, answer.json()["ready"]) == ((503, False) if reasons else (200, True))
                assert await self.code("/livez") == 200
                if name in reasons:
                    return str(reasons[name])
                await asyncio.sleep(0.1)

    async def ready(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            while await self.code("/readyz") != 200:
                await asyncio.sleep(0.1)

    async def metrics(self) -> str:
        answer = await self._client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        return answer.text

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S):
            while not condition(status := await self.status()):
                await asyncio.sleep(0.1)
            return status


async def test_a_worker_tells_how_it_stands_from_before_its_start_to_its_end(
    deployment: Deployment, qdrant_server: EmbeddedQdrant
) -> None:
    refused = qdrant_server.faults.inject(QdrantFault(FaultKind.UNAVAILABLE))
    async with (
        deployment.worker() as worker,
        httpx.AsyncClient(base_url=await worker.admin_url(), trust_env=False) as client,
    ):
        outside = Outside(client)
        await waiting_for_a_neighbour(outside)
        assert refused.fired > 0
        qdrant_server.faults.heal()
        await outside.ready()
        await working(outside, deployment)
        await embedder_down(outside, deployment)
        await store_down(outside, deployment, qdrant_server)
        told = worker.log + str(await outside.status()) + await outside.metrics()
        hanging = deployment.jina.inject(JinaFaultKind.HANG, "30", times=1)
        await deployment.produce([message("doc-last", "a text whose answer hangs")])
        await until(lambda: hanging.fired > 0)
        os.kill(worker.pid, signal.SIGTERM)
        assert "stopping" in await outside.not_ready("worker")
        assert (await outside.status())["phase"] == "stopping"
        os.kill(worker.pid, signal.SIGTERM)
        assert await worker.wait() == 3
    assert KEY not in told
    assert "doc-" not in told


async def waiting_for_a_neighbour(outside: Outside) -> None:
    await outside.not_ready("qdrant")
    assert "starting" in await outside.not_ready("worker")
    status = await outside.status()
    assert (status["live"], status["ready"], status["phase"]) == (True, False, "starting")
    assert 'streamdex_held{name="qdrant"} 1.0' in await outside.metrics()


async def working(outside: Outside, deployment: Deployment) -> None:
    await deployment.produce(stream(DOCUMENTS, random.Random(1)))
    await deployment.settled()
    records = len(deployment.produced)
    status = await outside.until(lambda status: sum(status["outcomes"].values()) == records)
    assert (status["ready"], status["reasons"], status["phase"]) == (True, {}, "running")
    assert (status["group"], status["topics"]) == (deployment.group, [deployment.topic])
    assert [one["partition"] for one in status["partitions"]] == list(range(PARTITIONS))
    assert sum(one["end"] or 0 for one in status["partitions"]) == records
    assert all(one["settled"] == one["position"] and not one["lag"] for one in status["partitions"])
    assert status["open"] == {"records": 0, "bytes": 0, "full": False}
    assert status["queues"].keys() == {"plan", "embed", "write", "dead_letter"}
    assert status["share"]["in_force"] == 1.0
    assert 0 < status["limits"]["requests"]["used"] <= status["limits"]["requests"]["in_force"]
    metrics = await outside.metrics()
    assert "streamdex_ready 1.0" in metrics
    assert f'streamdex_lag_records{{partition="0",topic="{deployment.topic}"}} 0.0' in metrics
    assert "streamdex_held{" not in metrics


async def embedder_down(outside: Outside, deployment: Deployment) -> None:
    outage = deployment.jina.inject(JinaFaultKind.STATUS, "503")
    await deployment.produce([message(f"doc-new-{number}", f"new text {number}") for number in range(8)])
    await outside.not_ready("jina")
    status = await outside.until(lambda status: status["open"]["records"] == 8)
    assert status["embedding"]["circuit_breaker_open"] is True
    deployment.jina.faults.clear()
    await outside.ready()
    assert outage.fired > 0


async def store_down(outside: Outside, deployment: Deployment, server: EmbeddedQdrant) -> None:
    outage = server.faults.inject(QdrantFault(FaultKind.UNAVAILABLE))
    await deployment.produce([message("doc-more", "one more text")])
    await outside.not_ready("qdrant")
    server.faults.heal()
    await outside.ready()
    assert outage.fired > 0
