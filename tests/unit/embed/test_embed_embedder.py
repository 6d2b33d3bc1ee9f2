"""The embedder against the embedded Jina-compatible server, over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from harness.embed_jobs import EmbedJobs
from harness.fixtures_jina import StartJina
from streamdex.config import JinaSettings
from streamdex.embed import MODELS, Embedder, EmbedJob, resolve
from streamdex.errors import AccountFault, Reason, RecordFault, ServiceFault, SuspectFault
from streamdex.standins.jina import FieldMode, JinaFaultKind, JinaServer, Options
from streamdex.telemetry import Health, Metrics

KEY = "jina_canary_key_0123456789"
SPEED = 50  # the embedder's seconds pass so much faster: backoffs cost the tests little


class Setup:
    """An embedder at work on one server."""

    def __init__(self, server: JinaServer, **settings: Any) -> None:
        fast = {"requests_per_minute": 1_000_000, "tokens_per_minute": 1_000_000_000, "api_key": KEY}
        jina = JinaSettings.model_validate({"base_url": server.base_url, "dimensions": 64, **fast, **settings})
        self.profile = resolve(jina)
        self.health = Health()
        self.metrics = Metrics()
        self.embedder = Embedder(
            jina,
            self.profile,
            self.health,
            self.metrics,
            sleep=_fast_sleep,
            clock=_fast_clock,
            rng=lambda: 0.5,
        )

        self.jobs = EmbedJobs(self.embedder)

    @property
    def done(self) -> list[EmbedJob]:
        return self.jobs.done

    @property
    def faults(self) -> dict[EmbedJob, RecordFault]:
        return self.jobs.faults

    def submit(self, *texts: str, together: bool = False) -> EmbedJob:
        return self.jobs.submit(texts, [max(1, len(text) // 4) for text in texts], together=together)

    async def until_done(self, count: int) -> None:
        await self.until(lambda: len(self.done) >= count)

    async def until(self, condition: Callable[[], bool], limit_s: float = 30.0) -> None:
        async with asyncio.timeout(limit_s):
            while not condition():
                self.jobs.one_ended.clear()
                with_limit = asyncio.wait_for(self.jobs.one_ended.wait(), 0.02)
                await asyncio.gather(with_limit, return_exceptions=True)

    def value(self, metric: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"streamdex_{metric}_total", labels) or 0.0


def _fast_clock() -> float:
    return time.monotonic() * SPEED


async def _fast_sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / SPEED)


@asynccontextmanager
async def embedder_on(server: JinaServer, **settings: Any) -> AsyncIterator[Setup]:
    at = Setup(server, **settings)
    running = asyncio.create_task(at.embedder.run())
    try:
        yield at
    finally:
        await at.jobs.cancel()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await at.embedder.close()


async def test_every_text_gets_its_own_vector(jina: JinaServer) -> None:
    async with embedder_on(jina) as at:
        jobs = [
            at.submit(*(f"document {number} part {part}" for part in range(number % 4 + 1))) for number in range(300)
        ]
        await at.until_done(300)
        again = await at.embedder.embed_once(["document 3 part 2"])
    assert not at.faults
    assert all(len(job.vectors) == len(job.texts) for job in jobs)
    assert all(len(vector) == 4 * 64 for job in jobs for vector in job.vectors)
    assert np.allclose(np.frombuffer(again[0], "<f4"), np.frombuffer(jobs[3].vectors[2], "<f4"))
    assert jina.stats.accepted <= 750 // 64 + 3
    assert at.value("inputs_embedded") == 750
    assert at.value("tokens_billed") == jina.stats.tokens_billed - jina.stats.log[-1].tokens
    assert at.embedder.statistics.queued_bytes == 0


@pytest.mark.parametrize("name", MODELS)
async def test_the_strict_server_takes_all_that_the_table_offers(name: str, jina: JinaServer) -> None:
    model = MODELS[name]
    for task in (None, *model.tasks):
        for dimensions in {model.dimension, model.smallest or model.dimension}:
            for late_chunking in {False, model.late_chunking}:
                for truncate in (False, True):
                    settings = {
                        "task": task,
                        "dimensions": dimensions,
                        "late_chunking": late_chunking,
                        "truncate": truncate,
                    }
                    at = Setup(jina, model=name, **settings)
                    passage = await at.embedder.embed_once(["a passage"])
                    query = await at.embedder.embed_once(["a query"], at.profile.query_task)
                    await at.embedder.close()
                    assert [len(vector) for vector in passage + query] == [4 * dimensions] * 2
                    sent = jina.stats.log[-2].sent
                    assert sent.get("task") == (task or model.document_task)
                    assert sent.get("embedding_type") == "base64"


async def test_aliases_or_strict_makes_no_difference_to_us(start_jina: StartJina) -> None:
    server = await start_jina(Options(fields=FieldMode.ALIASES))
    async with embedder_on(server) as at:
        at.submit("text")
        await at.until_done(1)
    assert not at.faults


@pytest.mark.parametrize(
    "kind",
    [
        JinaFaultKind.WRONG_COUNT,
        JinaFaultKind.WRONG_DIMENSION,
        JinaFaultKind.NAN,
        JinaFaultKind.INFINITE,
        JinaFaultKind.ZERO,
        JinaFaultKind.DUPLICATE_INDEX,
        JinaFaultKind.MISSING_INDEX,
        JinaFaultKind.INDEX_OUT_OF_RANGE,
        JinaFaultKind.TRUNCATED_JSON,
        JinaFaultKind.HTML,
        JinaFaultKind.RESET,
    ],
)
async def test_a_wrong_answer_is_asked_for_again_and_never_passed_on(kind: JinaFaultKind, jina: JinaServer) -> None:
    fault = jina.inject(kind, "200" if kind is JinaFaultKind.HTML else "", times=1)
    async with embedder_on(jina) as at:
        jobs = [at.submit(f"text {number}") for number in range(8)]
        await at.until_done(8)
        expected = await at.embedder.embed_once([job.texts[0] for job in jobs])
    assert fault.fired == 1
    assert not at.faults
    assert [job.vectors[0] for job in jobs] == expected
    assert (
        at.value("requests_failed", service="jina", kind="service" if kind is JinaFaultKind.RESET else "wrong_answer")
        == 1
    )


async def test_another_order_is_no_fault(jina: JinaServer) -> None:
    fault = jina.inject(JinaFaultKind.SHUFFLED, times=1)
    async with embedder_on(jina) as at:
        jobs = [at.submit(f"text {number}") for number in range(8)]
        await at.until_done(8)
        expected = await at.embedder.embed_once([job.texts[0] for job in jobs])
    assert fault.fired == 1
    assert [job.vectors[0] for job in jobs] == expected
    assert jina.stats.requests == 2


async def test_a_refused_text_is_dead_lettered_and_its_document_with_it(jina: JinaServer) -> None:
    fault = jina.inject(JinaFaultKind.REFUSE, "poison")
    async with embedder_on(jina) as at:
        at.submit("a", "poison", "c")
        for number in range(200):
            at.submit(f"text {number}")
        await at.until_done(201)
    assert fault.fired >= 2
    ((job, found),) = at.faults.items()
    assert len(job.texts) == 3
    assert found.reason is Reason.REFUSED_BY_EMBEDDER
    assert "poison" not in str(found)
    assert at.embedder.statistics.waiting_requests == 0


async def test_a_text_over_the_models_context_is_left_to_the_service(jina: JinaServer) -> None:
    async with embedder_on(jina) as at:
        long = at.submit("word " * 9000)
        at.submit("word")
        await at.until_done(2)
    assert list(at.faults) == [long]
    assert "INPUT_TOKEN_LIMIT_EXCEEDED" in at.faults[long].message


async def test_with_truncate_it_passes(jina: JinaServer) -> None:
    async with embedder_on(jina, truncate=True) as at:
        at.submit("word " * 9000)
        await at.until_done(1)
    assert not at.faults


async def test_late_chunking_sends_one_document_a_request(jina: JinaServer) -> None:
    async with embedder_on(jina, late_chunking=True) as at:
        jobs = [at.submit("a chunk", "another", "a third", together=True) for _ in range(5)]
        await at.until_done(5)
    assert not at.faults
    assert all(len(job.vectors) == 3 for job in jobs)
    assert sorted(note.inputs for note in jina.stats.log) == [3] * 5
    assert all(note.sent["late_chunking"] is True for note in jina.stats.log)


@pytest.mark.parametrize(
    ("texts", "reason", "message"),
    [
        (("word " * 8000, "word " * 8000), Reason.TOO_MANY_TOKENS, "8192 tokens at most"),
        (("word",) * 513, Reason.TOO_MANY_CHUNKS, "512 chunks at most, this document has 513"),
    ],
    ids=["tokens", "chunks"],
)
async def test_late_chunking_refuses_a_document_that_no_request_holds(
    texts: tuple[str, ...], reason: Reason, message: str, jina: JinaServer
) -> None:
    async with embedder_on(jina, late_chunking=True) as at:
        at.submit(*texts, together=True)
        await at.until_done(1)
    (fault,) = at.faults.values()
    assert fault.reason is reason
    assert message in fault.message
    assert jina.stats.requests == 0


async def test_a_late_chunked_document_is_dead_lettered_whole(jina: JinaServer) -> None:
    jina.inject(JinaFaultKind.REFUSE, "poison")
    async with embedder_on(jina, late_chunking=True) as at:
        bad = at.submit("a", "poison", together=True)
        at.submit("a", "b", together=True)
        await at.until_done(2)
    assert list(at.faults) == [bad]


async def test_a_job_without_texts_is_done_at_once(jina: JinaServer) -> None:
    async with embedder_on(jina) as at:
        assert await at.embedder.embed(EmbedJob((), ())) == []
        assert at.embedder.queued_inputs == 0


async def test_an_account_refused_holds_until_the_key_file_changes(start_jina: StartJina, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    server = await start_jina(Options(api_key="new"))
    async with embedder_on(server, api_key=None, api_key_file=file) as at:
        at.submit("text")
        await at.until(lambda: bool(at.health.reasons))
        assert "jina.api_key" in at.health.reasons["jina"]
        assert at.embedder.statistics.circuit_breaker_open
        file.write_text("new")
        await at.until_done(1)
        assert not at.faults
        assert at.health.reasons == {}


@pytest.mark.parametrize("argument", ["402", "403:AUTHZ_INSUFFICIENT_BALANCE", "400:INPUT_MODEL_NOT_FOUND", "404"])
async def test_what_a_person_must_fix_holds_and_dead_letters_nothing(argument: str, jina: JinaServer) -> None:
    fault = jina.inject(JinaFaultKind.STATUS, argument, times=2)
    with capture_logs() as lines:
        async with embedder_on(jina) as at:
            for number in range(100):
                at.submit(f"text {number}")
            await at.until(lambda: bool(at.health.reasons))
            await at.until_done(100)
            await at.until(lambda: not at.health.reasons)
    assert fault.fired == 2
    assert not at.faults
    assert [line["event"] for line in lines] == ["account.refused", "service.back"]


async def test_a_limit_is_waited_out(start_jina: StartJina) -> None:
    server = await start_jina()
    fault = server.inject(JinaFaultKind.STATUS, "429:RATE_TOKEN_LIMIT_EXCEEDED", times=3)
    async with embedder_on(server) as at:
        for number in range(500):
            at.submit(f"text {number}")
        await at.until_done(500)
    assert fault.fired == 3
    assert not at.faults
    assert server.stats.times_embedded("text 499") == 1
    assert at.value("retries", service="jina") == 3


async def test_concurrency_is_kept(start_jina: StartJina) -> None:
    server = await start_jina()
    async with embedder_on(server, concurrency=3) as at:
        for number in range(2000):
            at.submit(f"text {number}")
        await at.until_done(2000)
    assert server.stats.peak_concurrency <= 3


async def test_what_was_not_sent_is_not_begun_and_can_be_withdrawn(jina: JinaServer) -> None:
    jina.inject(JinaFaultKind.HANG, match="first")
    async with embedder_on(jina, concurrency=1) as at:
        first = at.submit("first")
        await at.until(lambda: jina.in_flight == 1)
        mine, others = [at.submit(f"mine {n}") for n in range(3)], [at.submit(f"other {n}") for n in range(3)]
        await at.until(lambda: at.embedder.queued_inputs == 6)
        back = at.embedder.not_begun([first, *mine])
        assert back == mine
        await at.jobs.cancel(back)
        await asyncio.sleep(0)
        assert at.embedder.queued_inputs == 3
        assert at.done == []
        assert at.embedder.not_begun([*mine, *others]) == others
    assert all(not job.vectors[0] for job in [*mine, *others])


async def test_what_is_paid_for_can_be_cancelled_as_well_and_is_not_sent_again(jina: JinaServer) -> None:
    """A drain was cut short: what comes later is for nobody, and what fails later must not be tried again."""
    broken = jina.inject(JinaFaultKind.STATUS, "503", match="in trouble", times=2)
    async with embedder_on(jina) as at:
        mine, other = at.submit("in trouble"), at.submit("the other")
        await at.until(lambda: broken.fired > 0)
        await at.jobs.cancel([mine])
        for number in range(10):
            at.submit(f"text {number}")
        await at.until_done(11)
    assert mine not in at.done
    assert other in at.done
    assert jina.stats.times_embedded("in trouble") == 0


async def test_a_bug_of_ours_in_one_text_dead_letters_that_text(jina: JinaServer) -> None:
    """A lone surrogate cannot be sent: the request fails in our own hands, with an exception nobody foresaw."""
    with capture_logs() as lines:
        async with embedder_on(jina) as at:
            bad = at.submit("lone \ud800 surrogate")
            for number in range(30):
                at.submit(f"text {number}")
            await at.until_done(31)
    assert list(at.faults) == [bad]
    assert at.faults[bad].reason is Reason.INTERNAL
    assert at.value("internal_faults") >= 5
    bugs = [line for line in lines if line["event"] == "internal.fault"]
    assert bugs
    assert not any("surrogate" in str(line) for line in bugs)


async def test_callers_that_are_cancelled_while_the_answer_comes_cost_nobody_else_a_vector(jina: JinaServer) -> None:
    jina.inject(JinaFaultKind.STATUS, "503", match="left", times=1)
    async with embedder_on(jina) as at:
        jobs = [at.submit(f"text {number}") for number in range(2000)]
        leaving = [at.submit(f"left {number}", "another text of it") for number in range(2000)]
        await at.until_done(1)
        await at.jobs.cancel(leaving)
        await at.until(lambda: set(jobs) <= set(at.done))
        await at.until(lambda: at.embedder.statistics.in_flight_requests == 0)
        statistics = at.embedder.statistics
        await at.embedder.close()
    assert not at.faults
    assert (statistics.queued_inputs, statistics.queued_tokens, statistics.queued_bytes) == (0, 0, 0)
    assert jina.stats.inputs_embedded < 2000 + 4000


async def test_closing_twice_is_safe(jina: JinaServer) -> None:
    async with embedder_on(jina) as at:
        await at.embedder.close()


@pytest.mark.parametrize(("argument", "kind"), [("401", AccountFault), ("400", SuspectFault), ("503", ServiceFault)])
async def test_embed_once_tries_once_and_raises(argument: str, kind: type[Exception], jina: JinaServer) -> None:
    fault = jina.inject(JinaFaultKind.STATUS, argument)
    at = Setup(jina)
    with pytest.raises(kind):
        await at.embedder.embed_once(["text"])
    await at.embedder.close()
    assert fault.fired == 1


async def test_the_key_shows_in_no_line_repr_or_fault(jina: JinaServer) -> None:
    for argument in ("401", "429", "503", "422", "418"):
        jina.inject(JinaFaultKind.STATUS, argument, times=1)
    jina.inject(JinaFaultKind.REFUSE, "poison")
    with capture_logs() as lines:
        async with embedder_on(jina) as at:
            at.submit("poison")
            await at.until(lambda: bool(at.health.reasons))
            at.submit("text")
            await at.until_done(2)
    message = f"{lines} {at.done} {at.faults} {at.embedder!r} {at.profile} {vars(at.embedder)}"
    assert lines
    assert KEY not in message
    assert "poison" not in message


async def test_past_its_budget_nothing_is_sent_or_dead_lettered_and_the_reason_is_shown(
    jina: JinaServer,
) -> None:
    async with embedder_on(jina, tokens_per_run=3) as at:
        at.submit("the first text, which uses up the budget")
        await at.until_done(1)
        at.submit("the second text, which waits")
        await at.until(lambda: "budget" in at.health.reasons and at.embedder.queued_inputs == 1)
        assert len(at.done) == 1
    assert "jina.tokens_per_run" in at.health.reasons["budget"]
    assert jina.stats.inputs_embedded == 1
