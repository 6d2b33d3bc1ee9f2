"""The pacing in adversity: wrong limits, other clients, services that slow down or fail. In virtual time."""

import asyncio
from dataclasses import dataclass

from harness.clock import run_virtually
from simulation.scenarios import PAID, Key, Result, attainable, measure, new_service
from simulation.simulated_load import Replica, replicas
from simulation.simulated_service import affine
from streamdex.embed.pacing.share import Share
from streamdex.standins.jina.windows import WindowKind


def configured_too_high(window: WindowKind, minutes: float = 10, seed: int = 1, codes: bool = True) -> Result:
    """The limits are set a quarter above what the key has. Measured after the first minute."""

    async def main() -> Result:
        service = new_service(seed, window, PAID)
        service.codes = codes
        wrong = (PAID[0] * 5 // 4, PAID[1] * 5 // 4, PAID[2])
        async with replicas(service, wrong) as (one,):
            one.saturate()
            await asyncio.sleep(60 * (1 + minutes))
        return measure(service, PAID, 60, 60 * (1 + minutes), 60)

    return run_virtually(main())


def fewer_slots(slots: int, *, codes: bool, minutes: float = 6, seed: int = 1) -> Result:
    """The key has so many concurrent requests, the settings say 50, and answers take long enough to want more."""

    async def main() -> Result:
        true: Key = (PAID[0], PAID[1], slots)
        service = new_service(seed, WindowKind.SLIDING_LOG, true, affine(0.2 * slots, slots / 30))
        service.codes = codes
        async with replicas(service, PAID) as (one,):
            one.saturate()
            await asyncio.sleep(60 * (1 + minutes))
        return measure(service, true, 60, 60 * (1 + minutes), 60)

    return run_virtually(main())


@dataclass(frozen=True, slots=True)
class Drill:
    """`probes` met the faults; `again`: used from 30 s after it, of the limit that binds."""

    probes: int
    again: float


def outage(status: int, failing: float = 1.0, minutes: float = 10, seed: int = 1) -> Drill:
    """All requests, or a part of them at random, are answered by an error, from one minute on for so many minutes."""

    async def main() -> Drill:
        service = new_service(seed, WindowKind.SLIDING_LOG, PAID)
        end_s = 60 * (1 + minutes)
        service.fail_with = lambda now_s: status if 60 <= now_s < end_s and service.rng.random() < failing else None
        async with replicas(service, PAID) as (one,):
            one.saturate()
            await asyncio.sleep(end_s + 150)
        return Drill(service.spoiled, measure(service, PAID, end_s + 30, end_s + 150).used)

    return run_virtually(main())


def another_takes_half(window: WindowKind, minutes: float = 10, seed: int = 1) -> Result:
    """Another client spends half of the key, evenly. What is used is measured against what it leaves."""

    async def main() -> Result:
        service = new_service(seed, window, PAID)
        other_tokens = 0

        async def other() -> None:
            nonlocal other_tokens
            pause_s = 60 / (PAID[0] / 2)
            while True:
                tokens = PAID[1] // PAID[0]
                if service.limiter.admit(asyncio.get_running_loop().time(), tokens) is None:
                    service.limiter.leave()
                    if asyncio.get_running_loop().time() >= 60:
                        other_tokens += tokens
                await asyncio.sleep(pause_s)

        async with replicas(service, PAID) as (one,):
            one.saturate()
            neighbour = asyncio.create_task(other())
            await asyncio.sleep(60 * (1 + minutes))
            neighbour.cancel()
        left = PAID[1] - other_tokens / minutes
        return measure(service, (PAID[0] // 2, round(left), PAID[2]), 60, 60 * (1 + minutes), 60)

    return run_virtually(main())


@dataclass(frozen=True, slots=True)
class Step:
    """Used of the attainable: before the step, from 30 s after it, and from 30 s after it has gone."""

    before: float
    slow: float
    again: float
    refused: int


def latency_step(factor: float, base_s: float, per_1k_s: float, key: Key = PAID, seed: int = 1) -> Step:
    """All answers take so many times longer, and after three minutes as long as before."""

    async def main() -> Step:
        usual, slow = affine(base_s, per_1k_s), affine(factor * base_s, factor * per_1k_s)
        begin_s, end_s = 90.0, 270.0

        def latency(tokens: int, now_s: float, in_work: int) -> float:
            return (slow if begin_s <= now_s < end_s else usual)(tokens, now_s, in_work)

        service = new_service(seed, WindowKind.SLIDING_LOG, key, latency)
        async with replicas(service, key) as (one,):
            one.saturate()
            await asyncio.sleep(end_s + 120)
        best = attainable(key, factor * base_s, factor * per_1k_s)
        at_first = attainable(key, base_s, per_1k_s)
        refused = sum(one.refused is not None for one in service.log)
        return Step(
            before=measure(service, key, 30, begin_s).tokens_used / at_first,
            slow=measure(service, key, begin_s + 30, end_s).tokens_used / best,
            again=measure(service, key, end_s + 30, end_s + 120).tokens_used / at_first,
            refused=refused,
        )

    return run_virtually(main())


def rebalances(window: WindowKind, minutes: float = 10, seed: int = 1) -> Result:
    """Four replicas, and every 20 s the twelve partitions are dealt again, some to replicas that had none."""

    async def main() -> Result:
        service = new_service(seed, window, PAID)
        now = asyncio.get_running_loop().time
        shares = [Share(session_timeout_s=1e9) for _ in range(4)]
        async with replicas(service, PAID, (0.0,) * 4) as team:

            async def obey() -> None:
                while True:
                    for share, one in zip(shares, team, strict=True):
                        one.embedder.set_share(share.at(now()))
                    await asyncio.sleep(0.25)

            async def revoke(share: Share, one: Replica) -> None:
                await asyncio.sleep(service.rng.random())
                share.revoked(now())
                one.embedder.set_share(0.0)

            async def assign(share: Share, partitions: int) -> None:
                await asyncio.sleep(service.rng.random())
                share.assigned(partitions, 12, now())
                share.proven(now())

            for one in team:
                one.saturate()
            obeying = asyncio.create_task(obey())
            while now() < 60 * minutes:
                await asyncio.gather(*(revoke(share, one) for share, one in zip(shares, team, strict=True)))
                ends = sorted(service.rng.sample(range(13), 3))
                dealt = [end - start for start, end in zip([0, *ends], [*ends, 12], strict=True)]
                await asyncio.gather(*(assign(share, count) for share, count in zip(shares, dealt, strict=True)))
                await asyncio.sleep(20.0)
            obeying.cancel()
        return measure(service, PAID, 60, 60 * minutes)

    return run_virtually(main())
