"""How I/O waits: for a fault that is not a record's to pass, and no longer than until a stop."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streamdex.errors import AccountFault, ServiceFault
from streamdex.telemetry import ACCOUNT_REFUSED, INTERNAL, SERVICE_DOWN, Health, Metrics, emit, trace_hash

T = TypeVar("T")

BASE_S = 0.5
CAP_S = 16.0
LONGEST_RETRY_AFTER_S = 300.0  # limits are counted by the minute: to ask for more is a mistake, and is ignored


def backoff_s(attempt: int, rng: Callable[[], float] = random.random) -> float:
    """Seconds to wait before attempt `attempt` + 1: doubling from 0.5 to 16, ± 30 %. `rng` gives numbers in [0, 1)."""
    return float(min(CAP_S, BASE_S * 2 ** min(attempt, 10)) * (0.7 + 0.6 * rng()))


def obeyed_s(asked_s: float | None) -> float:
    """How long to wait for a Retry-After; instead of an absurd time, the longest wait of our own."""
    if asked_s is None:
        return 0.0
    return asked_s if asked_s <= LONGEST_RETRY_AFTER_S else CAP_S


async def retry_faults(
    action: Callable[[], Awaitable[T]],
    health: Health,
    metrics: Metrics | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """Do `action` until it succeeds, with a backoff after each ServiceFault and AccountFault. It never ends otherwise.

    Other faults (a record's, a suspect's, a bug of ours) pass through: waiting would not fix them. `metrics` count the
    retries; a command whose metrics nobody reads passes none.
    """
    attempt = 0
    held: str | None = None
    while True:
        try:
            result = await action()
        except (ServiceFault, AccountFault) as fault:
            held = fault.service.value
            health.hold(held, str(fault), ACCOUNT_REFUSED if isinstance(fault, AccountFault) else SERVICE_DOWN)
            asked_s = fault.retry_after_s if isinstance(fault, ServiceFault) else None
            await sleep(max(backoff_s(attempt), obeyed_s(asked_s)))
            attempt += 1
            if metrics is not None:
                metrics.retries.labels(held).inc()
        else:
            if held:
                health.release(held)
            return result


async def retry_forever(
    action: Callable[[], Awaitable[T]],
    health: Health,
    metrics: Metrics,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """`retry_faults` that survives bugs of ours as well: one in a single request must not stop the worker."""
    attempt = 0
    while True:
        try:
            return await retry_faults(action, health, metrics, sleep)
        except Exception as error:  # noqa: BLE001  # whatever it is, ending here would lose or stop more than waiting
            metrics.counts.internal_faults += 1
            emit(INTERNAL, kind=type(error).__name__, trace=trace_hash(error), attempts=attempt + 1)
            await sleep(backoff_s(attempt))
            attempt += 1


async def unless_set(event: asyncio.Event, action: Awaitable[T]) -> T | None:
    """The action's result; None when the event comes first, which cancels the action."""
    acting = asyncio.ensure_future(action)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((acting, waiting), return_when=asyncio.FIRST_COMPLETED)
        return acting.result() if acting.done() else None
    finally:
        acting.cancel()
        waiting.cancel()
        await asyncio.gather(acting, waiting, return_exceptions=True)
