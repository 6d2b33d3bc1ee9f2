"""The server over real HTTP: answers, errors, limits, faults and statistics as a client meets them."""

import asyncio
import json
import logging
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import numpy as np
import pybase64
import pytest

from streamdex.errors import ConfigurationError
from streamdex.standins.jina import (
    ErrorShape,
    FieldMode,
    JinaFaultKind,
    JinaServer,
    Latency,
    Limits,
    Options,
    QuotaHeaders,
    WindowKind,
)
from streamdex.standins.jina.stats import digest

V3 = "jina-embeddings-v3"
KEY = {"authorization": "Bearer canary-key"}


async def _post(
    server: JinaServer, texts: list[str] | None = None, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    body = {"model": V3, "input": ["a text"] if texts is None else texts, **fields}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.post(f"{server.base_url}/embeddings", json=body, headers={**KEY, **(headers or {})})


class Clock:
    """Virtual time: `sleep` returns when the test has moved the time on far enough."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.sleeping = asyncio.Event()
        self._moved = asyncio.Condition()

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        self.sleeping.set()
        async with self._moved:
            await self._moved.wait_for(lambda: self.now_s >= until_s)

    async def move(self, seconds: float) -> None:
        async with self._moved:
            self.now_s += seconds
            self._moved.notify_all()


async def test_an_answer_has_vectors_usage_and_says_that_it_is_a_stand_in(jina: JinaServer) -> None:
    response = await _post(jina, ["one", "two words"], task="retrieval.passage", embedding_type="base64", dimensions=64)
    answer = response.json()
    assert response.status_code == 200
    assert response.headers["x-streamdex-stand-in"] == "lexical vectors"
    assert answer["usage"] == {"total_tokens": 3 + 4}
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert len(np.frombuffer(pybase64.b64decode(answer["data"][0]["embedding"]), dtype="<f4")) == 64


async def test_a_full_request_of_512_inputs_passes(jina: JinaServer) -> None:
    texts = [f"text number {place} " + "word " * 200 for place in range(512)]
    answer = (await _post(jina, texts, embedding_type="base64")).json()
    assert len(answer["data"]) == 512
    assert jina.stats.inputs_embedded == 512


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ({}, "AUTH_MISSING_API_KEY"),
        ({"authorization": "Basic abc"}, "AUTH_INVALID_FORMAT"),
        ({"authorization": "Bearer"}, "AUTH_INVALID_FORMAT"),
        ({"authorization": "Bearer other"}, "AUTH_INVALID_API_KEY"),
    ],
)
async def test_wrong_keys_are_refused(start_jina: Any, authorization: dict[str, str], code: str) -> None:
    server = await start_jina(Options(api_key="canary-key"))
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{server.base_url}/embeddings"
        response = await client.post(url, json={"model": V3, "input": "x"}, headers=authorization)
    assert (response.status_code, response.json()["code"]) == (401, code)
    assert (await _post(server)).status_code == 200


async def test_the_three_shapes_of_errors(jina: JinaServer, start_jina: Any) -> None:
    flat = (await _post(jina, model="nope")).json()
    nested = (await _post(jina, ["x " * 9000])).json()
    validation = (await _post(jina, task_type="t")).json()
    assert set(flat) == {"detail", "request_id", "code"}
    assert set(nested["detail"]) == {"message", "request_id", "code"}
    assert set(validation) == {"detail", "errors"}
    forced = await start_jina(Options(error_shape=ErrorShape.NESTED))
    assert (await _post(forced, model="nope")).json()["detail"]["code"] == "INPUT_MODEL_NOT_FOUND"


async def test_aliases_are_taken_where_that_is_switched_on(jina: JinaServer, start_jina: Any) -> None:
    lenient = await start_jina(Options(fields=FieldMode.ALIASES))
    assert (await _post(jina, task_type="retrieval.passage")).status_code == 422
    assert (await _post(lenient, task_type="retrieval.passage")).status_code == 200


async def test_requests_per_minute(start_jina: Any) -> None:
    clock = Clock()
    server = await start_jina(
        Options(limits=Limits(requests_per_minute=2), quota_headers=QuotaHeaders.SECONDS), clock_s=clock
    )
    first, second, third = [await _post(server) for _ in range(3)]
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert third.json()["code"] == "RATE_REQUEST_LIMIT_EXCEEDED"
    assert "2/2 requests per minute" in third.json()["detail"]
    clock.now_s += float(third.headers["retry-after"])
    assert (await _post(server)).status_code == 200


async def test_tokens_per_minute(start_jina: Any) -> None:
    server = await start_jina(Options(limits=Limits(tokens_per_minute=10, window=WindowKind.SLIDING_LOG)))
    responses = [await _post(server, ["two words"]) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[2].json()["code"] == "RATE_TOKEN_LIMIT_EXCEEDED"
    assert "retry-after" not in responses[2].headers
    assert server.stats.tokens_billed == 8


async def test_concurrent_requests(start_jina: Any) -> None:
    clock = Clock()
    server = await start_jina(
        Options(limits=Limits(concurrency=1), latency=Latency(base_ms=50, per_1k_tokens_ms=1000)),
        clock_s=clock,
        sleep=clock.sleep,
    )
    slow = asyncio.create_task(_post(server))
    await clock.sleeping.wait()
    refused = await _post(server)
    assert refused.json()["detail"] == "Concurrency limit exceeded: 1/1 concurrent requests."
    assert refused.json()["code"] == "RATE_CONCURRENCY_LIMIT_EXCEEDED"
    await clock.move(0.055)  # 4 tokens at 1 s per 1,000 on top of 50 ms
    assert (await slow).status_code == 200
    assert (server.in_flight, server.stats.peak_concurrency) == (0, 1)


@pytest.mark.parametrize(("counted", "status"), [(False, 200), (True, 429)])
async def test_rejected_requests_may_count(start_jina: Any, counted: bool, status: int) -> None:
    clock = Clock()
    limits = Limits(requests_per_minute=1, window=WindowKind.SLIDING_LOG, count_rejected=counted)
    server = await start_jina(Options(limits=limits), clock_s=clock)
    assert (await _post(server)).status_code == 200
    clock.now_s += 30
    assert (await _post(server)).status_code == 429
    clock.now_s += 31
    assert (await _post(server)).status_code == status


async def test_retry_after_as_a_date_and_as_nonsense(start_jina: Any) -> None:
    limits = Limits(requests_per_minute=1, phase_s=10.0)
    dated = await start_jina(
        Options(limits=limits, quota_headers=QuotaHeaders.DATE), clock_s=Clock(), wall_clock_s=lambda: 1_800_000_000.0
    )
    absurd = await start_jina(Options(limits=limits, quota_headers=QuotaHeaders.ABSURD), clock_s=Clock())
    for server in (dated, absurd):
        await _post(server)
    wait_s = parsedate_to_datetime((await _post(dated)).headers["retry-after"]).timestamp() - 1_800_000_000
    assert wait_s == 30  # at 1000 s, the minute that began at 970 s ends at 1030 s
    assert int((await _post(absurd)).headers["retry-after"]) > 86_400


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422, 429, 500, 502, 503, 504])
async def test_any_error_status_by_header_once(jina: JinaServer, status: int) -> None:
    response = await _post(jina, headers={"x-streamdex-fault": f"status:{status}"})
    assert response.status_code == status
    assert "detail" in response.json()
    assert (await _post(jina)).status_code == 200
    assert jina.faults.fired == {JinaFaultKind.STATUS: 1}


async def test_refused_text_fails_its_batch_and_no_other(jina: JinaServer) -> None:
    fault = jina.inject("refuse", match="poison")
    batch = await _post(jina, ["fine", "poison"])
    assert batch.status_code == 400
    assert batch.json()["detail"].endswith("Failed to encode text")
    assert (await _post(jina, ["poison"])).status_code == 400
    assert (await _post(jina, ["fine"])).status_code == 200
    assert fault.fired == 2
    assert (jina.stats.times_embedded("fine"), jina.stats.times_embedded("poison")) == (1, 0)


async def test_bodies_that_are_no_answers(jina: JinaServer) -> None:
    html = await _post(jina, headers={"x-streamdex-fault": "html:200"})
    assert html.status_code == 200
    assert html.headers["content-type"] == "text/html"
    truncated = await _post(jina, headers={"x-streamdex-fault": "truncated-json"})
    assert truncated.status_code == 200
    with pytest.raises(ValueError, match=r"delimiter|Expecting|Unterminated"):
        truncated.json()


@pytest.mark.parametrize("kind", ["nan", "inf", "zero"])
async def test_spoiled_vectors_of_the_input_with_the_marker(jina: JinaServer, kind: str) -> None:
    fault = jina.inject(kind, match="marked")
    answer = (await _post(jina, ["plain", "marked"], embedding_type="base64")).json()
    plain, marked = (
        np.frombuffer(pybase64.b64decode(item["embedding"]), dtype="<f4").astype(np.float64) for item in answer["data"]
    )
    assert np.isfinite(plain).all()
    assert plain.any()
    assert not np.isfinite(marked).all() or not marked.any()
    assert fault.fired == 1


async def test_a_spoiled_vector_in_json_numbers_holds_null(jina: JinaServer) -> None:
    jina.inject("nan")
    assert (await _post(jina)).json()["data"][0]["embedding"][0] is None


async def test_shuffled_rows_keep_their_indexes(jina: JinaServer) -> None:
    right = (await _post(jina, ["a", "b"])).json()["data"]
    jina.inject("shuffled")
    shuffled = (await _post(jina, ["a", "b"])).json()["data"]
    assert [item["index"] for item in shuffled] == [1, 0]
    assert shuffled[::-1] == right


async def test_a_reset_connection(jina: JinaServer) -> None:
    fault = jina.inject("reset", times=1)
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.post(f"{jina.base_url}/embeddings", json={"model": V3, "input": "x"}, headers=KEY)
    assert (await _post(jina)).status_code == 200
    assert fault.fired == 1
    assert jina.stats.responses == {0: 1, 200: 1}


async def test_a_hanging_request_ends_with_its_client(jina: JinaServer) -> None:
    fault = jina.inject("hang", times=1)
    hanging = asyncio.create_task(_post(jina))
    await _until(lambda: fault.fired == 1)
    assert jina.in_flight == 1
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    await _until(lambda: jina.in_flight == 0)
    assert (await _post(jina)).status_code == 200


async def test_a_hang_with_seconds_ends_in_a_reset(jina: JinaServer) -> None:
    with pytest.raises(httpx.TransportError):
        await _post(jina, headers={"x-streamdex-fault": "hang:0.01"})


async def test_a_dripping_answer_is_complete_in_the_end(jina: JinaServer) -> None:
    response = await _post(jina, headers={"x-streamdex-fault": "drip:0.05"})
    assert len(response.json()["data"]) == 1
    assert jina.faults.fired == {JinaFaultKind.DRIP: 1}


async def test_an_unknown_fault_header_is_refused_and_nothing_fires(jina: JinaServer) -> None:
    assert (await _post(jina, headers={"x-streamdex-fault": "gremlins"})).status_code == 422
    assert not jina.faults.fired


async def test_faults_and_statistics_over_the_control_endpoints(jina: JinaServer) -> None:
    root = jina.base_url.removesuffix("/v1")
    async with httpx.AsyncClient(trust_env=False) as client:
        added = await client.post(f"{root}/_control/faults", json={"kind": "status", "argument": "503", "times": 1})
        wrong = await client.post(f"{root}/_control/faults", json={"kind": "status", "argument": "ok"})
        failed = await _post(jina, task="retrieval.passage")
        await client.post(f"{root}/_control/faults", json={"kind": "nan"})
        cleared = await client.delete(f"{root}/_control/faults")
        await _post(jina)
        stats = (await client.get(f"{root}/_control/stats")).json()
    assert (added.status_code, wrong.status_code, failed.status_code, cleared.status_code) == (201, 422, 503, 204)
    assert stats["faults_fired"] == {"status": 1}
    assert (stats["requests"], stats["accepted"], stats["responses"]) == (2, 1, {"503": 1, "200": 1})
    assert stats["log"][0]["sent"] == {"task": "retrieval.passage"}
    assert stats["log"][0]["fault"] == "status"


async def test_one_fault_is_asked_after_and_taken_back_by_its_number(jina: JinaServer) -> None:
    faults = f"{jina.base_url.removesuffix('/v1')}/_control/faults"
    async with httpx.AsyncClient(trust_env=False) as client:
        first = (await client.post(faults, json={"kind": "status", "argument": "503"})).json()["number"]
        second = (await client.post(faults, json={"kind": "status", "argument": "500"})).json()["number"]
        assert (await _post(jina)).status_code == 503
        assert (await client.get(f"{faults}/{first}")).json()["fired"] == 1
        assert (await client.delete(f"{faults}/{first}")).json()["fired"] == 1
        assert (await _post(jina)).status_code == 500
        assert (await client.get(f"{faults}/{first}")).json()["fired"] == 1
        assert (await client.delete(f"{faults}/{second}")).json()["fired"] == 1
        assert (await client.delete(f"{faults}/{second + 1}")).status_code == 404
    assert (await _post(jina)).status_code == 200


@pytest.mark.parametrize(("argument", "header"), [("", None), ("7", "7"), ("absurd", "31536000")])
async def test_a_throttle_asks_for_a_wait_as_it_is_told(jina: JinaServer, argument: str, header: str | None) -> None:
    jina.inject("throttle", argument, times=1)
    refused = await _post(jina)
    assert (refused.status_code, refused.headers.get("retry-after")) == (429, header)


async def test_a_throttle_names_the_wait_as_a_date(jina: JinaServer) -> None:
    jina.inject("throttle", "date:60")
    refused = await _post(jina)
    ahead_s = parsedate_to_datetime(refused.headers["retry-after"]).timestamp() - time.time()
    assert 0 < ahead_s <= 61


async def test_what_is_billed_is_written_down_and_so_is_whether_it_was_answered(tmp_path: Path) -> None:
    bill = tmp_path / "billing.jsonl"
    async with JinaServer(Options(billing_log=bill)) as jina:
        await _post(jina, ["a text", "another"], headers={"user-agent": "replica-1"})
        jina.inject("status", "503", times=1)
        await _post(jina)
        cut = jina.inject("cut", times=1)
        with pytest.raises(httpx.TransportError):
            await _post(jina)
        assert cut.fired == 1
    whole, broken = (json.loads(line) for line in bill.read_text().splitlines())
    assert (whole["worker"], whole["answered"], whole["fault"]) == ("replica-1", True, None)
    assert whole["inputs"] == [[digest("a text"), 2], [digest("another"), 2]]
    assert 0 < whole["began"] <= whole["at"]
    assert (broken["answered"], broken["fault"]) == (False, "cut")
    assert "text" not in bill.read_text()


@pytest.mark.parametrize(
    "order", [{"kind": "nan", "times": "often"}, {"kind": "nan", "when": "now"}, {"kind": "gremlins"}, ["nan"]]
)
async def test_orders_that_are_no_fault_are_refused(jina: JinaServer, order: object) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{jina.base_url.removesuffix('/v1')}/_control/faults", json=order)
    assert answer.status_code == 422
    assert (await _post(jina)).status_code == 200


async def test_statistics_name_what_was_sent_and_count_texts(jina: JinaServer) -> None:
    await _post(jina, ["same", "same", "other"], normalized=True, truncate=False)
    await _post(jina, ["same"], shade="green")
    stats = jina.stats
    assert (stats.requests, stats.accepted, stats.inputs_embedded) == (2, 1, 3)
    assert (stats.times_embedded("same"), stats.times_embedded("other")) == (2, 1)
    accepted, refused = stats.log
    assert accepted.sent == {"normalized": True, "truncate": False}
    assert (accepted.model, accepted.inputs, accepted.tokens) == (V3, 3, 3 * 3)
    assert (refused.status, refused.sent) == (422, {"shade": None})


async def test_neither_keys_nor_texts_are_logged_or_shown(
    start_jina: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server = await start_jina(Options(api_key="canary-key"))
    await _post(server, ["canary text"])
    await _post(server, ["canary text"], wrong="canary")
    await _post(server, ["canary text"], headers={"x-streamdex-fault": "refuse:canary"})
    with pytest.raises(httpx.TransportError):
        await _post(server, ["canary text"], headers={"x-streamdex-fault": "reset"})
    assert [note.status for note in server.stats.log] == [200, 422, 400, 0]
    seen = caplog.text + "".join(capfd.readouterr()) + repr(server.options) + repr(server.stats)
    assert "canary" not in seen


async def test_too_large_a_body_is_refused(start_jina: Any) -> None:
    server = await start_jina(Options(max_body_bytes=1000))
    assert (await _post(server, ["x" * 2000])).status_code == 413


async def test_a_port_in_use_is_a_configuration_error(jina: JinaServer) -> None:
    port = int(jina.base_url.split(":")[2].removesuffix("/v1"))
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
        await JinaServer(Options(port=port)).start()


async def test_stopping_is_safe_before_the_start_and_twice_and_frees_the_port() -> None:
    await JinaServer().stop()
    server = JinaServer()
    await server.start()
    port = int(server.base_url.split(":")[2].removesuffix("/v1"))
    await server.stop()
    await server.stop()
    async with JinaServer(Options(port=port)) as again:
        assert (await _post(again)).status_code == 200


async def test_a_stop_waits_for_answers_under_way_as_long_as_it_is_told(start_jina: Any) -> None:
    clock = Clock()
    server = await start_jina(Options(latency=Latency(base_ms=10)), clock_s=clock, sleep=clock.sleep)
    under_way = asyncio.create_task(_post(server))
    await clock.sleeping.wait()
    stopping = asyncio.create_task(server.stop(grace_s=30))
    await asyncio.sleep(0)
    await clock.move(1)
    await stopping
    assert (await under_way).status_code == 200


async def test_a_stop_without_grace_cuts_what_hangs(caplog: pytest.LogCaptureFixture) -> None:
    async with JinaServer() as server:
        fault = server.inject("hang")
        hanging = asyncio.create_task(_post(server))
        await _until(lambda: fault.fired == 1)
    with pytest.raises(httpx.TransportError):
        await hanging
    assert caplog.text == ""


async def _until(condition: Any) -> None:
    """Wait for what the server does in its own tasks."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)
