"""The embedder's pacing from outside: share, limits, key and metrics, on a virtual clock."""

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
from structlog.testing import capture_logs

from harness.clock import run_virtually
from harness.embed_jobs import EmbedJobs
from streamdex.config import JinaSettings
from streamdex.embed import Embedder, EmbedJob, resolve
from streamdex.telemetry import Health, Metrics

VECTOR = [1.0] * 32


class Server:
    """Answers all, or each with what `refuse` gives for its number and key."""

    def __init__(self) -> None:
        self.requests = 0
        self.in_flight = self.most_in_flight = 0
        self.keys: list[str | None] = []
        self.wanted_key: str | None = None
        self.throttles: list[dict[str, str]] = []  # headers and code of the next refusals
        self.headers: dict[str, str] = {}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        self.keys.append(request.headers.get("authorization"))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(1.0)
        self.in_flight -= 1
        if self.throttles:
            headers = self.throttles.pop(0)
            return httpx.Response(429, headers=headers, json={"detail": "x", "code": headers["code"]})
        if self.wanted_key and self.keys[-1] != f"Bearer {self.wanted_key}":
            return httpx.Response(401, json={"detail": "x", "code": "AUTH_INVALID_API_KEY"})
        texts = orjson.loads(request.content)["input"]
        data = [{"index": index, "embedding": _packed()} for index in range(len(texts))]
        return httpx.Response(
            200, headers=self.headers, json={"data": data, "usage": {"total_tokens": 20 * len(texts)}}
        )


def _packed() -> str:
    return base64.b64encode(struct.pack("<32f", *VECTOR)).decode()


@dataclass
class Setup:
    embedder: Embedder
    server: Server
    health: Health
    metrics: Metrics
    jobs: EmbedJobs

    @property
    def done(self) -> list[EmbedJob]:
        return self.jobs.done

    def submit(self, count: int, tokens: int = 10) -> None:
        for number in range(count):
            self.jobs.submit((f"text {number}",), (tokens,))

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"streamdex_{name}", labels) or 0.0


@asynccontextmanager
async def setup(**settings: object) -> AsyncIterator[Setup]:
    jina = JinaSettings.model_validate({"api_key": "sample", "dimensions": 32, **settings})
    server, health, metrics = Server(), Health(), Metrics()
    clock = asyncio.get_running_loop().time
    transport = httpx.MockTransport(server)
    embedder = Embedder(jina, resolve(jina), health, metrics, clock=clock, rng=lambda: 0.5, transport=transport)
    jobs = EmbedJobs(embedder)
    running = asyncio.create_task(embedder.run())
    try:
        yield Setup(embedder, server, health, metrics, jobs)
    finally:
        await jobs.cancel()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await embedder.close()


def test_without_a_share_nothing_goes_and_health_says_why() -> None:
    async def main() -> None:
        async with setup() as at:
            at.embedder.set_share(0.0)
            at.submit(10)
            await asyncio.sleep(3600.0)
            assert at.server.requests == 0
            assert "share" in at.health.reasons
            at.embedder.set_share(0.5)
            await asyncio.sleep(10.0)
            assert len(at.done) == 10
            assert at.health.reasons == {}

    run_virtually(main())


def test_a_share_counts_for_all_three_limits_and_at_once() -> None:
    async def main() -> None:
        async with setup(requests_per_minute=600, tokens_per_minute=60_000, concurrency=20) as at:
            at.submit(6000, tokens=20)  # 120,000 tokens
            await asyncio.sleep(30.0)
            at.embedder.set_share(0.1)
            assert at.embedder.statistics.pacing.slots == 2
            done = len(at.done)
            at.server.most_in_flight = 0
            await asyncio.sleep(2.0)  # what was under way
            at.server.most_in_flight = 0
            await asyncio.sleep(60.0)
            assert at.server.most_in_flight <= 2
            assert len(at.done) - done <= (6_000 + 2_000) / 20
            for _ in range(100):  # set again and again, it goes on
                at.embedder.set_share(0.1)
                await asyncio.sleep(0.5)
            assert len(at.done) - done >= 1.4 * 6_000 / 20

    run_virtually(main())


def test_new_limits_hold_without_a_restart() -> None:
    async def main() -> None:
        async with setup(requests_per_minute=10, tokens_per_minute=1_000_000, concurrency=1) as at:
            at.submit(100_000, tokens=400)
            await asyncio.sleep(60.0)
            assert 8 <= at.server.requests <= 10
            at.embedder.set_limits(600, 2_000_000, 20)
            before = at.server.requests
            await asyncio.sleep(60.0)
            assert at.server.requests - before > 200
            assert at.server.most_in_flight > 1

    run_virtually(main())


def test_a_new_key_ends_the_hold_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "key"
        file.write_text("old")
        async with setup(api_key=None, api_key_file=file) as at:
            at.server.wanted_key = "new"
            at.submit(1)
            await asyncio.sleep(2.0)
            assert at.embedder.statistics.circuit_breaker_open
            file.write_text("new")
            at.embedder.reread_key()
            await asyncio.sleep(1.5)
            assert len(at.done) == 1
            assert at.server.requests == 2

    run_virtually(main())


def test_too_many_at_once_stops_nothing_but_too_many() -> None:
    async def main() -> None:
        async with setup(requests_per_minute=60_000, tokens_per_minute=10_000_000) as at:
            at.server.throttles = [{"code": "RATE_CONCURRENCY_LIMIT_EXCEEDED"}] * 2
            at.submit(64 * 40, tokens=400)
            await asyncio.sleep(60.0)
            assert len(at.done) == 64 * 40
            assert at.value("throttled_total", limit="concurrency") == 2
            assert at.value("embedding_holds_total") == 0
            assert at.embedder.statistics.pacing.recovery == 1.0

    run_virtually(main())


def test_a_rate_refused_holds_slows_down_and_is_no_outage() -> None:
    async def main() -> None:
        async with setup(requests_per_minute=60_000, tokens_per_minute=10_000_000) as at:
            at.server.throttles = [{"code": "RATE_TOKEN_LIMIT_EXCEEDED", "retry-after": "7"}] * 9
            at.submit(64 * 40, tokens=400)
            await asyncio.sleep(5.0)
            assert at.embedder.statistics.circuit_breaker_open
            assert at.server.requests <= 8
            assert at.health.reasons == {}
            await asyncio.sleep(60.0)
            assert len(at.done) == 64 * 40
            assert at.value("embedding_holds_total") == 1
            assert at.value("limit_recovery") < 1.0

    run_virtually(main())


def test_an_absurd_retry_after_is_logged_and_not_obeyed() -> None:
    async def main() -> None:
        async with setup() as at:
            at.server.throttles = [{"code": "RATE_TOKEN_LIMIT_EXCEEDED", "retry-after": "86400"}]
            at.submit(1)
            with capture_logs() as lines:
                await asyncio.sleep(30.0)
            (line,) = [line for line in lines if line["event"] == "jina.retry_after_capped"]
            assert (line["asked_s"], line["capped_s"]) == (86400.0, 16.0)
            assert len(at.done) == 1

    run_virtually(main())


def test_the_metrics_show_limits_use_and_quota() -> None:
    async def main() -> None:
        async with setup(requests_per_minute=600, tokens_per_minute=600_000) as at:
            at.server.headers = {"x-ratelimit-remaining-requests": "41", "x-ratelimit-remaining-tokens": "9000"}
            at.submit(640, tokens=10)
            await asyncio.sleep(30.0)
            assert at.value("quota_remaining", limit="requests") == 41
            assert at.value("quota_remaining", limit="tokens") == 9000
            assert at.value("tokens_per_estimate") == 2.0
            assert at.value("limit_used", limit="tokens") == 640 * 20
            assert at.value("limit_used", limit="requests") == at.server.requests
            assert at.value("limit_used", limit="concurrency") == 0
            assert 0.9 * 600 < at.value("limit_in_force", limit="requests") < 600
            assert 0.9 * 600_000 < at.value("limit_in_force", limit="tokens") < 600_000
            assert at.value("limit_in_force", limit="concurrency") >= 8
            assert at.value("limit_share") == 1.0
            assert at.value("limit_recovery") == 1.0
            assert at.value("batch_tokens") > 0

    run_virtually(main())
