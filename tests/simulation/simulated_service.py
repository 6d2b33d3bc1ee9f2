"""The embedding service for simulations in virtual time: the embedded server's limits behind a transport in process.

No vectors are computed and no sockets are opened: a simulated minute at the paid limits takes a fraction of a second.
A text is its own size: "400 …" has 400 tokens.
"""

import asyncio
import base64
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
import orjson

from streamdex.standins.jina.limits import Limiter, LimitKind, Limits
from streamdex.standins.jina.windows import WindowKind

DIMENSION = 32
NETWORK_S = 0.02  # one way, at least; at most as much again
CANARY_TOKENS = 5
_VECTOR = base64.b64encode(np.ones(DIMENSION, "<f4").tobytes()).decode()

Latency = Callable[[int, float, int], float]  # (tokens, seconds since the start, requests in work) → seconds


def affine(base_s: float, per_1k_s: float) -> Latency:
    """Seconds whatever the size, and seconds for each 1,000 tokens."""
    return lambda tokens, _now_s, _in_work: base_s + per_1k_s * tokens / 1000


USUAL = affine(0.2, 0.02)


def limits(window: WindowKind, phase_s: float = 0.0, key: tuple[int, int, int] = (500, 2_000_000, 50)) -> Limits:
    """A key's limits, the paid ones by default, as a server counts them."""
    return Limits(*key, window=window, phase_s=phase_s)


def text(tokens: int, name: object = "") -> str:
    """A text of so many tokens for the simulated service."""
    return f"{tokens} {name}"


def tokens_of(one: str) -> int:
    """What the service counts for a text."""
    head = one.split(" ", 1)[0]
    return int(head) if head.isdecimal() else CANARY_TOKENS


@dataclass
class Sent:
    """One request as it met the service. `took_s`: from when it was sent until its answer was there."""

    at_s: float
    tokens: int
    inputs: int
    refused: LimitKind | None
    took_s: float = 0.0


@dataclass
class SimulatedService(httpx.AsyncBaseTransport):
    """Admits, waits, answers. `on_arrival` hears of each request's texts."""

    limits: Limits
    rng: random.Random
    latency: Latency = USUAL
    codes: bool = True  # whether a 429 names its limit
    fail_with: Callable[[float], int | None] = lambda _now_s: None  # a status instead of an answer
    on_arrival: Callable[[list[str], float], None] = lambda _texts, _now_s: None
    log: list[Sent] = field(default_factory=list)
    spoiled: int = 0

    def __post_init__(self) -> None:
        self.limiter = Limiter(self.limits)
        self._bodies: dict[int, bytes] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The transport's side."""
        texts = orjson.loads(await request.aread())["input"]
        now_s = asyncio.get_running_loop().time()
        self.on_arrival(texts, now_s)
        status = self.fail_with(now_s)
        if status is not None:
            self.spoiled += 1
            await asyncio.sleep(NETWORK_S)
            return httpx.Response(status, json={"detail": "spoiled"})
        tokens = sum(map(tokens_of, texts))
        refused = await self.serve(tokens, len(texts))
        if refused is None:
            return httpx.Response(200, content=self._body(len(texts), tokens))
        return httpx.Response(429, json={"detail": "limit exceeded", "code": refused.value} if self.codes else {})

    async def serve(self, tokens: int, inputs: int) -> LimitKind | None:
        """One request, from client to service and back; returns the limit that refused it, if any."""
        now = asyncio.get_running_loop().time
        began_s = now()
        await asyncio.sleep(NETWORK_S * (1 + self.rng.random()))
        refusal = self.limiter.admit(now(), tokens)
        kind = refusal.kind if refusal else None
        sent = Sent(now(), tokens, inputs, kind)
        self.log.append(sent)
        if refusal is None:
            await asyncio.sleep(self.latency(tokens, now(), self.limiter.in_flight))
            self.limiter.leave()
        await asyncio.sleep(NETWORK_S * (1 + self.rng.random()))
        sent.took_s = now() - began_s
        return kind

    def _body(self, inputs: int, tokens: int) -> bytes:
        if inputs not in self._bodies:
            rows = [{"index": index, "embedding": _VECTOR} for index in range(inputs)]
            self._bodies[inputs] = orjson.dumps(rows)
        return b'{"data":%b,"usage":{"total_tokens":%d}}' % (self._bodies[inputs], tokens)
