"""Clients as others write them, in the same table: what each of them makes of the same limits."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine

from simulation.simulated_service import SimulatedService
from streamdex.retry import backoff_s

BATCH_INPUTS = 11  # of 400 tokens: about what the requests need to carry
MEAN_TOKENS = 400


def _batch(rng: random.Random) -> int:
    return sum(rng.randint(300, 500) for _ in range(BATCH_INPUTS))


async def _workers(count: int, work: Callable[[], Coroutine[object, object, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(work())


async def semaphore_and_backoff(service: SimulatedService, key: tuple[int, int, int], rng: random.Random) -> None:
    """As many at once as allowed; each waits by itself when refused."""

    async def work() -> None:
        while True:
            await _until_accepted(service, _batch(rng), rng)

    await _workers(key[2], work)


async def full_burst_bucket(service: SimulatedService, key: tuple[int, int, int], rng: random.Random) -> None:
    """A token bucket of one minute for each limit, full at the start, as most rate limiters have it."""
    now = asyncio.get_running_loop().time
    levels, at_s, turn = [float(key[0]), float(key[1])], now(), asyncio.Lock()

    async def take(tokens: int) -> None:
        nonlocal at_s
        async with turn:  # first come, first served
            while True:
                levels[:] = [
                    min(size, level + (now() - at_s) * size / 60) for level, size in zip(levels, key, strict=False)
                ]
                at_s = now()
                short_s = max((1 - levels[0]) * 60 / key[0], (tokens - levels[1]) * 60 / key[1])
                if short_s <= 1e-6:
                    break
                await asyncio.sleep(short_s)
            levels[0] -= 1
            levels[1] -= tokens

    async def work() -> None:
        while True:
            tokens = _batch(rng)
            await take(tokens)
            await _until_accepted(service, tokens, rng, take_again=take)

    await _workers(key[2], work)


async def adaptive_concurrency(service: SimulatedService, key: tuple[int, int, int], rng: random.Random) -> None:
    """The number under way alone is adapted: one more for each round without a refusal, a tenth less after one."""
    limit, in_flight, changed = 1.0, 0, asyncio.Event()

    async def request() -> None:
        nonlocal limit, in_flight
        refused = await service.serve(_batch(rng), BATCH_INPUTS)
        limit = max(1.0, limit * 0.9) if refused else min(key[2], limit + 1 / limit)
        in_flight -= 1
        changed.set()

    async with asyncio.TaskGroup() as tasks:
        while True:
            while in_flight < int(limit):
                in_flight += 1
                tasks.create_task(request())
            await changed.wait()
            changed.clear()


async def _until_accepted(
    service: SimulatedService,
    tokens: int,
    rng: random.Random,
    take_again: Callable[[int], Awaitable[None]] | None = None,
) -> None:
    for attempt in range(1_000_000):
        if await service.serve(tokens, BATCH_INPUTS) is None:
            return
        await asyncio.sleep(backoff_s(attempt, rng.random))
        if take_again:
            await take_again(tokens)


Client = Callable[[SimulatedService, tuple[int, int, int], random.Random], Coroutine[object, object, None]]
REJECTED: dict[str, Client] = {
    "semaphore and backoff": semaphore_and_backoff,
    "full-burst token bucket": full_burst_bucket,
    "adaptive concurrency alone": adaptive_concurrency,
}
