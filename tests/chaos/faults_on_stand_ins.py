"""Faults of the embedding service and of Qdrant: injected ones, and a process that is frozen or killed."""

import asyncio
import contextlib
import os
import signal
from typing import Any

import httpx

from chaos.fleet import until_frozen
from chaos.stand_ins import QdrantStandIn, StandIn


class Injected:
    """A fault that the stand-in was told to have; it counts itself."""

    LOOK_EVERY_S = 0.5

    def __init__(self, stand_in: StandIn, order: dict[str, Any]) -> None:
        self._stand_in = stand_in
        self._order = order
        self._number: int | None = None
        self._hits = 0

    async def start(self) -> bool:
        """Set it; False when the stand-in does not answer, since another fault is at work on it."""
        try:
            self._number = await self._stand_in.inject(self._order)
        except httpx.HTTPError:
            return False
        return True

    async def hits(self) -> int:
        """How many requests met it, as far as the stand-in could be asked."""
        if self._number is not None:
            with contextlib.suppress(httpx.HTTPError):  # frozen, or made anew and without its faults
                self._hits = max(self._hits, await self._stand_in.fired(self._number))
        return self._hits

    async def end(self) -> None:
        """Take it back; a frozen stand-in is asked until it answers."""
        while self._number is not None:
            try:
                self._hits = max(self._hits, await self._stand_in.take_back(self._number))
                self._number = None
            except httpx.HTTPStatusError:
                self._number = None  # made anew, and without its faults
            except httpx.HTTPError:
                await asyncio.sleep(self.LOOK_EVERY_S)


class _QdrantProcess:
    """A fault of the whole process: one at a time. Subclasses say how it strikes, and how it heals."""

    def __init__(self, qdrant: QdrantStandIn) -> None:
        self._qdrant = qdrant
        self._ours = False
        self._hits = 0

    async def start(self) -> bool:
        """Strike; False when another fault has the process."""
        if self._qdrant.busy:
            return False
        self._qdrant.busy = self._ours = True
        self._hits = int(await self._strike())
        return True

    async def hits(self) -> int:
        """Whether it struck."""
        return self._hits

    async def end(self) -> None:
        """Heal."""
        if self._ours:
            await self._heal()
            self._qdrant.busy = self._ours = False

    async def _strike(self) -> bool:
        raise NotImplementedError

    async def _heal(self) -> None:
        raise NotImplementedError


class QdrantFrozen(_QdrantProcess):
    """SIGSTOP to the process, and SIGCONT at the end."""

    async def _strike(self) -> bool:
        os.kill(self._qdrant.pid, signal.SIGSTOP)
        return await until_frozen(self._qdrant.pid)

    async def _heal(self) -> None:
        os.kill(self._qdrant.pid, signal.SIGCONT)


class QdrantKilled(_QdrantProcess):
    """SIGKILL to the process, and a new one on its directory at the end."""

    async def _strike(self) -> bool:
        return await self._qdrant.kill() == -signal.SIGKILL

    async def _heal(self) -> None:
        await self._qdrant.start()
