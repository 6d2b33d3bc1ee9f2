"""The pacing put to the test, in virtual time: each function is one scenario and returns what it came to.

Shared by the tests, which hold the figures to bands, and by `make simulate`, which prints them all.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, quantiles

from harness.clock import run_virtually
from simulation.rejected_clients import REJECTED
from simulation.simulated_load import Sizes, replicas, uniform
from simulation.simulated_service import USUAL, Latency, Sent, SimulatedService, limits
from streamdex.embed.pacing.batch_size import LARGEST_SHARE
from streamdex.embed.pacing.rate import KeyLimits, RateLimiter
from streamdex.standins.jina.limits import Limiter
from streamdex.standins.jina.windows import WindowKind

Key = tuple[int, int, int]  # requests a minute, tokens a minute, at once
PAID: Key = (500, 2_000_000, 50)
FREE: Key = (100, 100_000, 2)
WARM_S = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """`used`: of what could be used, from the warm-up to the end; `in_flight` on average then.

    `refused`: 429s of all attempts in that time.
    """

    requests_used: float
    tokens_used: float
    in_flight: float
    requests: int
    refused: int
    sent: Sequence[Sent] = field(repr=False)

    @property
    def used(self) -> float:
        """Of the limit that binds."""
        return max(self.requests_used, self.tokens_used)

    @property
    def refused_share(self) -> float:
        """429s of all attempts."""
        return self.refused / self.requests


def measure(service: SimulatedService, key: Key, begin_s: float, end_s: float, refused_from_s: float = 0.0) -> Result:
    """What the service took between two times, and what it refused up to then."""
    passed = [one for one in service.log if begin_s <= one.at_s < end_s and one.refused is None]
    sent = [one for one in service.log if refused_from_s <= one.at_s < end_s]
    minutes = (end_s - begin_s) / 60
    return Result(
        requests_used=len(passed) / minutes / key[0],
        tokens_used=sum(one.tokens for one in passed) / minutes / key[1],
        in_flight=sum(one.took_s for one in passed) / (end_s - begin_s),
        requests=len(sent),
        refused=sum(one.refused is not None for one in sent),
        sent=sent,
    )


def refused_by(sent: Sequence[Sent], key: Key, window: WindowKind, phase_s: float) -> int:
    """How many of these requests a server would have refused that counts in this window, its minutes beginning then.

    Where none was refused, nothing that was sent depends on the window: so one run is put to all of them.
    """
    limiter = Limiter(limits(window, phase_s, (key[0], key[1], len(sent))))  # requests at once are the run's own
    return sum(limiter.admit(one.at_s, one.tokens) is not None for one in sent)


def new_service(seed: int, window: WindowKind, key: Key, latency: Latency = USUAL) -> SimulatedService:
    """A service whose minutes begin anywhere."""
    rng = random.Random(seed)
    return SimulatedService(limits(window, 60 * rng.random(), key), rng, latency)


def saturated(
    window: WindowKind,
    *,
    sizes: Sizes = uniform,
    count: int = 1,
    key: Key = PAID,
    latency: Latency = USUAL,
    minutes: float = 4,
    seed: int = 1,
    together: bool = False,
) -> Result:
    """More to do than the key allows, for minutes; estimates are off by a fifth, and a fifth more at random."""

    async def main() -> Result:
        service = new_service(seed, window, key, latency)
        shares = (1 / count,) * count
        async with replicas(
            service, key, shares, sizes, estimate_error=0.2, true_per_estimate=1.2, together=together
        ) as team:
            for one in team:
                one.saturate()
            await asyncio.sleep(WARM_S + 60 * minutes)
        return measure(service, key, WARM_S, WARM_S + 60 * minutes)

    return run_virtually(main())


def attainable(key: Key, base_s: float, per_1k_s: float) -> float:
    """Part of the tokens per minute that can pass at all, with the largest requests that the pacing makes."""
    requests, tokens, slots = key
    largest = LARGEST_SHARE * tokens
    seconds = base_s + per_1k_s * largest / 1000 + 0.06
    return min(1.0, slots / seconds * 60 * largest / tokens, requests * largest / tokens)


@dataclass(frozen=True, slots=True)
class Waits:
    """Documents under a load below the limits. `until_sent_s` is the median."""

    until_sent_s: float
    done: "Done"
    refused: int


@dataclass(frozen=True, slots=True)
class Done:
    """Seconds from a document's coming to its vectors."""

    p50_s: float
    mean_s: float
    p90_s: float

    @classmethod
    def of(cls, latencies_s: Sequence[float]) -> "Done":
        """From those of single documents."""
        return cls(median(latencies_s), fmean(latencies_s), quantiles(latencies_s, n=10)[-1])


def at_load(load: float, minutes: float = 4, seed: int = 1) -> Waits:
    """Documents of about 400 tokens come at random, to so many of the tokens per minute."""

    async def main() -> Waits:
        service = new_service(seed, WindowKind.SLIDING_LOG, PAID)
        waits: list[float] = []
        submitted: dict[str, float] = {}

        def on_arrival(texts: list[str], now_s: float) -> None:
            waits.extend(now_s - submitted.pop(one) for one in texts)

        service.on_arrival = on_arrival
        async with replicas(service, PAID) as (one,):
            one.on_submit = submitted.__setitem__
            coming = asyncio.create_task(one.arrivals(load * PAID[1] / 60 / 400))
            await asyncio.sleep(60 * minutes)
            coming.cancel()
        refused = sum(sent.refused is not None for sent in service.log)
        return Waits(median(waits), Done.of(one.latencies_s), refused)

    return run_virtually(main())


def fixed_batches(load: float, size: int, minutes: float = 4, seed: int = 1) -> Done:
    """The same load in batches of `size` documents, sent when full, with the same pacing."""

    async def main() -> Done:
        now = asyncio.get_running_loop().time
        service, rng = new_service(seed, WindowKind.SLIDING_LOG, PAID), random.Random(seed)
        limiter = RateLimiter(KeyLimits(*PAID), size * 400)
        waiting: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        latencies_s: list[float] = []

        async def come() -> None:
            while True:
                await asyncio.sleep(rng.expovariate(load * PAID[1] / 60 / 400))
                waiting.put_nowait((rng.randint(300, 500), now()))

        async def request(batch: Sequence[tuple[int, float]]) -> None:
            await service.serve(sum(tokens for tokens, _ in batch), len(batch))
            latencies_s.extend(now() - at_s for _, at_s in batch)

        async def send(tasks: asyncio.TaskGroup) -> None:
            while True:
                batch = [await waiting.get() for _ in range(size)]
                await asyncio.sleep(limiter.ready_at(now()) - now())
                limiter.charge(sum(tokens for tokens, _ in batch), now())
                tasks.create_task(request(batch))

        async with asyncio.TaskGroup() as tasks:
            forever = [tasks.create_task(come()), tasks.create_task(send(tasks))]
            await asyncio.sleep(60 * minutes)
            for task in forever:
                task.cancel()
        return Done.of(latencies_s)

    return run_virtually(main())


def rejected(client: str, window: WindowKind, minutes: float = 4, seed: int = 1) -> Result:
    """What a client as others write it makes of the paid limits, saturated."""

    async def main() -> Result:
        service = new_service(seed, window, PAID)
        running = asyncio.create_task(REJECTED[client](service, PAID, random.Random(seed)))
        await asyncio.sleep(WARM_S + 60 * minutes)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return measure(service, PAID, WARM_S, WARM_S + 60 * minutes)

    return run_virtually(main())


@dataclass(frozen=True, slots=True)
class Turn:
    """How long a document waited, and how long all before it take at the full rate."""

    waited_s: float
    fair_s: float


def turn_of_a_large_document(ahead: int, seed: int) -> Turn:
    """So many small documents wait when one of 8,000 tokens comes, and as many come after it."""

    async def main() -> Turn:
        service = new_service(seed, WindowKind.SLIDING_LOG, PAID)
        sent_at_s: dict[str, float] = {}
        service.on_arrival = lambda texts, now_s: sent_at_s.update(dict.fromkeys(texts, now_s))
        async with replicas(service, PAID) as (one,):
            for _ in range(ahead):
                one.submit()
            tokens_ahead = one.embedder.statistics.queued_tokens
            one.sizes = lambda _rng: 8_000
            (large,) = one.submit().texts
            one.sizes = uniform
            for _ in range(ahead):
                one.submit()
            while large not in sent_at_s:
                await asyncio.sleep(0.1)
            rate_per_s = one.embedder.statistics.pacing.tokens_per_minute / 60
        return Turn(sent_at_s[large], tokens_ahead / rate_per_s)

    return run_virtually(main())
