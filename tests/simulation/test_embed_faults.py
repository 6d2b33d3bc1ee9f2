"""The embedder in virtual time: service faults that must never be taken for a bad input, and bad inputs to be found."""

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest

from harness.clock import run_virtually
from harness.embed_jobs import EmbedJobs
from streamdex.config import JinaSettings
from streamdex.embed import Embedder, EmbedJob, resolve
from streamdex.embed.suspects import ENOUGH_FAILURES
from streamdex.errors import Reason
from streamdex.telemetry import Health, Metrics

DIMENSION = 32
VECTOR = base64.b64encode(np.ones(DIMENSION, dtype="<f4").tobytes()).decode()
Reply = tuple[int, dict[str, object]]
Faults = Callable[[list[str], float], Reply | None]

REFUSED: Reply = (400, {"detail": {"message": "Failed to encode text", "code": "INPUT_INVALID"}})
DOWN: Reply = (503, {"detail": "Service unavailable", "code": "SERVICE_UNAVAILABLE"})
MISSHAPEN: Reply = (200, {"data": []})


def chance(seed: int) -> random.Random:
    return random.Random(seed)


@dataclass
class Service:
    """A service at the network's edge: `faults` may answer a request instead of it."""

    faults: Faults
    latency_s: float = 0.1
    requests: int = 0
    requests_with_inputs: int = 0
    spoiled: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    keys: list[str] = field(default_factory=list)
    fault_headers: dict[str, str] = field(default_factory=dict)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        texts = orjson.loads(request.content)["input"]
        self.requests += 1
        self.requests_with_inputs += texts != ["word"]
        self.keys.append(request.headers.get("authorization", ""))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.latency_s)
        self.in_flight -= 1
        reply = self.faults(texts, asyncio.get_running_loop().time())
        if reply is not None:
            self.spoiled += 1
            return httpx.Response(reply[0], headers=self.fault_headers, json=reply[1])
        data = [{"index": index, "embedding": VECTOR} for index in range(len(texts))]
        return httpx.Response(200, json={"data": data, "usage": {"total_tokens": 10 * len(texts)}})


@dataclass
class World:
    """An embedder at work and what it has come to."""

    embedder: Embedder
    service: Service
    health: Health
    jobs: EmbedJobs

    @property
    def done(self) -> list[EmbedJob]:
        return self.jobs.done

    @property
    def dead_letters(self) -> list[EmbedJob]:
        return list(self.jobs.faults)

    def submit(self, *texts: str) -> None:
        for text in texts:
            self.jobs.submit((text,), (10,))

    async def until_done(self, count: int, limit_s: float = 3600.0) -> None:
        async with asyncio.timeout(limit_s):
            while len(self.done) < count:
                await asyncio.sleep(1.0)


@asynccontextmanager
async def world(faults: Faults, seed: int = 1, latency_s: float = 0.1, **settings: object) -> AsyncIterator[World]:
    jina = JinaSettings.model_validate({"api_key": "sample", "dimensions": DIMENSION, "concurrency": 8, **settings})
    service, health = Service(faults, latency_s), Health()
    embedder = Embedder(
        jina,
        resolve(jina),
        health,
        Metrics(),
        clock=asyncio.get_running_loop().time,
        rng=chance(seed).random,
        transport=httpx.MockTransport(service.handle),
    )
    jobs = EmbedJobs(embedder)
    running = asyncio.create_task(embedder.run())
    try:
        yield World(embedder, service, health, jobs)
    finally:
        await jobs.cancel()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await embedder.close()


def fine(_texts: list[str], _now_s: float) -> Reply | None:
    return None


def at_random(share: float, reply: Reply, seed: int) -> Faults:
    rng = chance(seed)
    return lambda _texts, _now_s: reply if rng.random() < share else None


def poisoned(reply: Reply, marker: str = "bad") -> Faults:
    return lambda texts, _now_s: reply if any(marker in text for text in texts) else None


def test_all_is_well() -> None:
    async def main() -> None:
        async with world(fine) as at:
            at.submit(*(f"text {number}" for number in range(1000)))
            await at.until_done(1000)
            assert not at.dead_letters
            assert at.service.requests <= 1000 // 64 + 2  # full requests, and no canary without faults
            assert at.service.most_in_flight <= 8

    run_virtually(main())


@pytest.mark.parametrize(
    "reply", [REFUSED, DOWN, (200, {"nothing": 1}), (400, {})], ids=["400", "503", "wrong", "bare"]
)
def test_when_everything_fails_nothing_is_dead_lettered_and_little_is_sent(reply: Reply) -> None:
    async def main() -> None:
        hours = 3
        async with world(lambda _texts, now_s: reply if now_s < hours * 3600 else None) as at:
            at.submit(*(f"text {number}" for number in range(2000)))
            await asyncio.sleep(hours * 3600)
            assert not at.done
            assert at.service.spoiled == at.service.requests
            assert at.service.requests <= 20 + hours * 3600 / 10  # a probe every 16 s ± 30 %
            assert at.embedder.statistics.circuit_breaker_open
            assert "jina" in at.health.reasons
            await at.until_done(2000)
            assert not at.dead_letters
            assert not at.health.reasons

    run_virtually(main())


BROWN_OUTS = [(reply, share) for reply in (REFUSED, DOWN, MISSHAPEN) for share in (0.1, 0.5, 0.8)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("reply", "share"), BROWN_OUTS, ids=lambda value: str(value[0] if isinstance(value, tuple) else value)
)
def test_a_brown_out_dead_letters_nothing(reply: Reply, share: float, seed: int) -> None:
    async def main() -> None:
        async with world(at_random(share, reply, seed), seed) as at:
            for number in range(200):
                at.submit(*(f"text {number}.{place}" for place in range(chance(number).randint(1, 8))))
                await asyncio.sleep(2.0)
            await asyncio.sleep(600.0)
            assert not at.dead_letters
            assert at.service.spoiled > 5

    run_virtually(main())


@pytest.mark.parametrize("reply", [REFUSED, DOWN, MISSHAPEN], ids=["400", "503", "wrong"])
@pytest.mark.parametrize("count", [1, 2, 64])
def test_bad_inputs_in_the_first_request_are_found_and_the_rest_passes(reply: Reply, count: int) -> None:
    async def main() -> None:
        async with world(poisoned(reply)) as at:
            texts = [f"bad {place}" for place in range(count)] + [f"text {place}" for place in range(64 - count)]
            chance(count).shuffle(texts)
            at.submit(*texts)
            await at.until_done(64)
            assert {job.texts[0] for job in at.dead_letters} == {text for text in texts if "bad" in text}
            reasons = {fault.reason for fault in at.jobs.faults.values()}
            assert reasons == {Reason.WRONG_ANSWER if reply[0] == 200 else Reason.REFUSED_BY_EMBEDDER}
            assert not at.embedder.statistics.circuit_breaker_open
            assert not at.health.reasons

    run_virtually(main())


def test_a_lone_refused_text_is_dead_lettered_after_its_contrast() -> None:
    async def main() -> None:
        async with world(poisoned(REFUSED)) as at:
            at.submit("bad")
            await at.until_done(1)
            (fault,) = at.jobs.faults.values()
            assert fault.attempts == at.service.requests_with_inputs == ENOUGH_FAILURES + 1
            assert "bad" not in str(fault)

    run_virtually(main())


def test_bad_inputs_do_not_delay_the_others() -> None:
    """Healthy traffic goes on at its pace while a bad input (5xx, the slowest to isolate) comes every few requests."""

    async def main() -> None:
        async with world(poisoned(DOWN)) as at:
            for number in range(300):
                at.submit(f"text {number}", "bad" if number % 25 == 0 else f"other {number}")
                await asyncio.sleep(0.2)
            await at.until_done(600, limit_s=120.0)
            assert len(at.dead_letters) == 12

    run_virtually(main())


def test_inputs_that_are_too_many_for_the_service_pass_in_smaller_requests() -> None:
    """A server that fails on more than 8 inputs: requests are bisected until they pass, nothing is dead-lettered."""

    async def main() -> None:
        async with world(lambda texts, _now_s: DOWN if len(texts) > 8 else None) as at:
            at.submit(*(f"text {number}" for number in range(256)))
            await at.until_done(256)
            assert not at.dead_letters
            assert at.service.spoiled

    run_virtually(main())


def test_an_outage_in_the_middle_of_an_isolation_dead_letters_nothing_else() -> None:
    async def main() -> None:
        poison = poisoned(DOWN)

        def faults(texts: list[str], now_s: float) -> Reply | None:
            return DOWN if 5.0 <= now_s < 65.0 else poison(texts, now_s)

        async with world(faults) as at:
            for number in range(400):
                at.submit("bad" if number == 3 else f"text {number}")
                await asyncio.sleep(0.2)
            await at.until_done(400)
            assert [job.texts for job in at.dead_letters] == [("bad",)]

    run_virtually(main())


def test_429_waits_as_asked_lets_one_probe_through_and_dead_letters_nothing() -> None:
    async def main() -> None:
        limited: Reply = (429, {"code": "RATE_TOKEN_LIMIT_EXCEEDED", "detail": "x"})
        limits = {"requests_per_minute": 60_000, "tokens_per_minute": 100_000_000}
        async with world(lambda _texts, now_s: limited if now_s < 30.0 else None, **limits) as at:
            at.service.fault_headers = {"retry-after": "7"}
            at.submit(*(f"text {number}" for number in range(1000)))
            await at.until_done(1000)
            assert not at.dead_letters
            assert at.service.spoiled <= 8 + 4  # those under way at the first one, then a probe each 7 s

    run_virtually(main())


@pytest.mark.parametrize("reply", [None, REFUSED], ids=["vectors", "fault"])
def test_a_job_cancelled_in_the_moment_its_answer_comes_has_no_outcome_and_harms_no_other(reply: Reply | None) -> None:
    """Its future is cancelled by then, and its task has not noticed yet."""

    async def main() -> None:
        def faults(texts: list[str], _now_s: float) -> Reply | None:
            if "leaving" in texts:
                waiting.cancel()
                return reply
            return None

        async with world(faults) as at:
            waiting = asyncio.create_task(at.embedder.embed(EmbedJob(("leaving",), (10,))))
            at.submit("a text", "another")
            await at.until_done(2)
            assert waiting.cancelled()
            assert not at.dead_letters
            assert at.embedder.statistics.queued_inputs == at.embedder.statistics.waiting_requests == 0

    run_virtually(main())


def test_limits_are_kept() -> None:
    async def main() -> None:
        async with world(fine, requests_per_minute=30, tokens_per_minute=1_000_000) as at:
            at.submit(*(f"text {number}" for number in range(512 * 40)))  # requests are scarce, so they go full
            await asyncio.sleep(60.0)
            assert 28 <= at.service.requests <= 30
            await at.until_done(512 * 30)

        async with world(fine, requests_per_minute=10_000, tokens_per_minute=10_000) as at:
            at.submit(*(f"text {number}" for number in range(2000)))
            await asyncio.sleep(60.0)
            assert 900 <= len(at.done) <= 1010  # ten tokens each, and one request of 0.9 % more at once

    run_virtually(main())


@pytest.mark.parametrize(
    ("status", "code", "fix"),
    [
        (401, "AUTH_INVALID_API_KEY", "Put a valid key"),
        (402, None, "Top up"),
        (403, "AUTHZ_INSUFFICIENT_BALANCE", "Top up"),
    ],
)
def test_a_key_that_is_refused_pauses_all_until_its_file_holds_another(
    tmp_path: Path, status: int, code: str | None, fix: str
) -> None:
    """Nothing announces the new key to the worker: it reads the file before each probe."""
    key_file = tmp_path / "key"
    key_file.write_text("good")
    refusal: Reply = (status, {"detail": "the account", "code": code})

    async def main() -> None:
        emptied_s, minutes = 0.5, 10

        def faults(_texts: list[str], now_s: float) -> Reply | None:
            return refusal if now_s > emptied_s and at.service.keys[-1] == "Bearer good" else None

        async with world(faults, api_key=None, api_key_file=key_file) as at:
            for number in range(5_000):
                at.submit(f"text {number}")
            await asyncio.sleep(60.0 * minutes)
            assert 60 * minutes / 18 <= at.service.spoiled <= 60 * minutes / 12 + 8  # a probe each 15 s ± 20 %
            assert fix in at.health.reasons["jina"]
            assert str(status) in at.health.reasons["jina"]
            assert 0 < len(at.done) < 5_000
            key_file.write_text("topped-up")
            await asyncio.sleep(20.0)
            assert not at.health.reasons
            await at.until_done(5_000)
            assert not at.dead_letters

    run_virtually(main())
