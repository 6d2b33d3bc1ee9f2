"""Recreates the consumer when its client is stuck or dead, logs why, and backs off when that does not help."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from streamdex.errors import ConfigurationError, ServiceFault
from streamdex.intake.consumer.session import Session
from streamdex.intake.consumer.watch import ConsumerRestart
from streamdex.retry import backoff_s, unless_set
from streamdex.telemetry import ACCOUNT_REFUSED, KAFKA_RESTARTED, KAFKA_UNREACHABLE, Health, Metrics, emit

STABLE_S = 60.0  # a consumer that lived so long was not part of a crash loop
HEALTH_NAME = "kafka connection"


class Supervisor:
    """Runs one session after the other. `open_next` makes one and raises ConfigurationError or ServiceFault."""

    def __init__(
        self,
        open_next: Callable[[], Awaitable[Session]],
        work: Callable[[], Awaitable[ConsumerRestart | None]],
        stopping: asyncio.Event,
        health: Health,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`work` works with the newest session; it returns why that must end, or None when a stop was asked for."""
        self._open_next = open_next
        self._work = work
        self._stopping = stopping
        self._health = health
        self._restarts = metrics.counts.restarts
        self._restarts.update({cause.value: 0 for cause in ConsumerRestart})
        self._clock = clock
        self._sleep = sleep
        self._attempt = 0
        self._recreated = 0

    async def run(self, session: Session) -> None:
        """Run until a stop is asked for. The last session is left open: whoever stops also drains it."""
        while True:
            born_s = self._clock()
            cause = await self._work()
            if cause is None:
                return
            if self._clock() - born_s >= STABLE_S:
                self._attempt = 0
            self._recreated += 1
            emit(KAFKA_RESTARTED, client="consumer", cause=cause.value, restarts=self._recreated)
            self._restarts[cause.value] += 1
            await session.close()
            following = await self._open_retrying()
            if following is None:
                return
            session = following

    async def _open_retrying(self) -> Session | None:
        """The next session; None when a stop came first. What would end a start only pauses a running worker."""
        while not self._stopping.is_set():
            await self._pause()
            try:
                session = await unless_set(self._stopping, self._open_next())
            except (ServiceFault, ConfigurationError) as fault:
                signal = ACCOUNT_REFUSED if isinstance(fault, ConfigurationError) else KAFKA_UNREACHABLE
                self._health.hold(HEALTH_NAME, str(fault), signal)
            else:
                self._health.release(HEALTH_NAME)
                return session
        return None

    async def _pause(self) -> None:
        """Back off, but not past a stop."""
        self._attempt += 1
        await unless_set(self._stopping, self._sleep(backoff_s(self._attempt - 1)))
