"""What is answered over HTTP, and that a start and an end leave nothing behind."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest

from streamdex.admin import AdminServer, HealthSnapshot, Phase
from streamdex.admin.health import StallDetector
from streamdex.config import AdminSettings
from streamdex.errors import ConfigurationError
from streamdex.telemetry import Metrics


class StubWorker:
    """A worker as the server sees it."""

    def __init__(self, health_snapshot: HealthSnapshot) -> None:
        self.metrics = Metrics()
        self.now = health_snapshot
        self.looked = asyncio.Event()

    def health_snapshot(self) -> HealthSnapshot:
        self.looked.set()
        return self.now

    def status(self) -> Mapping[str, object]:
        return {"worker": "me", "share": float("inf")}


def server_of(worker: StubWorker, settings: AdminSettings) -> AdminServer:
    return AdminServer(settings, worker.metrics, worker.health_snapshot, worker.status)


@asynccontextmanager
async def served(worker: StubWorker) -> AsyncIterator[httpx.AsyncClient]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with (
        server_of(worker, AdminSettings(port=port)),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


async def test_a_ready_worker() -> None:
    async with served(StubWorker(HealthSnapshot(Phase.RUNNING, partitions=1))) as client:
        live, ready = await client.get("/livez"), await client.get("/readyz")
        assert (live.status_code, live.json()) == (200, {"live": True, "reasons": {}})
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": {}})
        assert (await client.get("/")).status_code == 404
        assert (await client.post("/status")).status_code == 405


async def test_a_worker_that_is_held_is_alive_and_not_ready() -> None:
    async with served(StubWorker(HealthSnapshot(Phase.RUNNING, partitions=1, held={"jina": "no balance"}))) as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"ready": False, "reasons": {"jina": "no balance"}})
        assert (await client.get("/livez")).status_code == 200


async def test_a_stall_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StallDetector, "stall", lambda _: "nothing moves")
    async with served(StubWorker(HealthSnapshot(Phase.RUNNING, partitions=1))) as client:
        live = await client.get("/livez")
        assert (live.status_code, live.json()) == (503, {"live": False, "reasons": {"stall": "nothing moves"}})
        assert (await client.get("/status")).json()["live"] is False


async def test_the_status_is_json_whatever_stands_in_it() -> None:
    async with served(StubWorker(HealthSnapshot(Phase.STARTING))) as client:
        answer = await client.get("/status")
        assert answer.headers["content-type"] == "application/json"
        status = answer.json()
        assert (status["worker"], status["share"]) == ("me", None)
        assert (status["live"], status["ready"], list(status["reasons"])) == (True, False, ["worker"])


async def test_metrics_are_read_again_for_each_scrape() -> None:
    worker = StubWorker(HealthSnapshot(Phase.RUNNING, partitions=1))

    def rebalance() -> None:
        worker.metrics.counts.rebalances += 1

    worker.metrics.before_reading(rebalance)
    async with served(worker) as client:
        for count in (1, 2):
            answer = await client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=")
            assert f"streamdex_rebalances_total {count}.0" in answer.text


async def test_the_worker_is_observed_without_being_asked() -> None:
    worker = StubWorker(HealthSnapshot(Phase.RUNNING))
    async with served(worker):
        await asyncio.wait_for(worker.looked.wait(), 10)


async def test_a_port_in_use_is_refused_with_the_fix() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = AdminSettings(port=taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match=r"cannot listen.*another port, or 0"):
            async with server_of(StubWorker(HealthSnapshot(Phase.STARTING)), settings):
                raise AssertionError("it listens on a taken port")


async def test_signals_stay_as_they_are_and_nothing_is_left_behind() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    tasks = asyncio.all_tasks()
    async with served(StubWorker(HealthSnapshot(Phase.RUNNING))) as client:
        await client.get("/livez")
        assert {number: signal.getsignal(number) for number in before} == before
    assert asyncio.all_tasks() == tasks
