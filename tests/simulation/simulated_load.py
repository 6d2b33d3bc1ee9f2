"""What clients are given to do, and embedders that do it: the shipped embedder, several at once for replicas."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from simulation.simulated_service import DIMENSION, SimulatedService, text
from streamdex.config import JinaSettings
from streamdex.embed import Embedder, EmbedJob, resolve
from streamdex.telemetry import Health, Metrics

BACKLOG_TOKENS = 120_000  # kept waiting by a saturated replica: some batches
Sizes = Callable[[random.Random], int]


def uniform(rng: random.Random) -> int:
    """About 400 tokens."""
    return rng.randint(300, 500)


def heavy_tailed(rng: random.Random) -> int:
    """50 to 8,000 tokens: most small, few large, about 400 on average."""
    return int(min(8000.0, 50 * rng.paretovariate(0.95)))


@dataclass
class Replica:
    """An embedder and what it has done."""

    embedder: Embedder
    rng: random.Random
    sizes: Sizes
    estimate_error: float = 0.0
    true_per_estimate: float = 1.0
    together: bool = False
    saturated: bool = False
    on_submit: Callable[[str, float], None] = lambda _text, _now_s: None
    latencies_s: list[float] = field(default_factory=list)
    _names: "count[int]" = field(default_factory=count)

    def submit(self) -> EmbedJob:
        """One document more."""
        tokens = self.sizes(self.rng)
        error = 1 + self.estimate_error * (2 * self.rng.random() - 1)
        estimate = max(1, round(tokens * error / self.true_per_estimate))
        now_s = asyncio.get_running_loop().time()
        name = text(tokens, next(self._names))
        self.on_submit(name, now_s)
        job = EmbedJob((name,), (estimate,), together=self.together)
        start(self._embed(job, now_s))
        return job

    async def _embed(self, job: EmbedJob, submitted_s: float) -> None:
        await self.embedder.embed(job)
        self.latencies_s.append(asyncio.get_running_loop().time() - submitted_s)
        if self.saturated:
            self.top_up()

    def saturate(self) -> None:
        """Keep more waiting than can go."""
        self.saturated = True
        self.top_up()

    def top_up(self) -> None:
        waiting = self.embedder.statistics.queued_tokens
        while waiting < BACKLOG_TOKENS:
            waiting += sum(self.submit().tokens)

    async def arrivals(self, documents_per_s: float) -> None:
        """Poisson, until cancelled."""
        while True:
            await asyncio.sleep(self.rng.expovariate(documents_per_s))
            self.submit()


def start(coroutine: Coroutine[asyncio.Future[None], None, None]) -> None:
    """Run it to its first wait at once, as eager tasks do from Python 3.12 on: what is submitted is queued by then."""
    with suppress(StopIteration):
        coroutine.send(None).add_done_callback(lambda _: start(coroutine))


@asynccontextmanager
async def replicas(
    service: SimulatedService,
    key: tuple[int, int, int],
    shares: Sequence[float] = (1.0,),
    sizes: Sizes = uniform,
    **how: object,
) -> AsyncIterator[list[Replica]]:
    """Embedders at work on one service, each with its share of the key; ended with the block."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_replica(service, key, share, sizes, how)) for share in shares]


@asynccontextmanager
async def _replica(
    service: SimulatedService, key: tuple[int, int, int], share: float, sizes: Sizes, how: dict[str, object]
) -> AsyncIterator[Replica]:
    requests, tokens, concurrency = key
    limits = {"requests_per_minute": requests, "tokens_per_minute": tokens, "concurrency": concurrency}
    late = bool(how.get("together"))
    settings = JinaSettings.model_validate(
        {"api_key": "sample", "dimensions": DIMENSION, "late_chunking": late, **limits}
    )
    rng = random.Random(service.rng.random())
    embedder = Embedder(
        settings,
        resolve(settings),
        Health(),
        Metrics(),
        clock=asyncio.get_running_loop().time,
        rng=rng.random,
        transport=service,
    )
    replica = Replica(embedder, rng, sizes, **how)  # type: ignore[arg-type]  # options of the dataclass, by name
    embedder.set_share(share)
    running = asyncio.create_task(embedder.run())
    try:
        yield replica
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await embedder.close()
