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


class QdrantFrozen:
    """SIGSTOP to the process, and SIGCONT at the end."""

    def __init__(self, qdrant: QdrantStandIn) -> None:
        self._qdrant = qdrant
        self._ours = False
        self._hits = 0

    async def start(self) -> bool:
        """Freeze it."""
        if self._qdrant.busy:
            return False
        self._qdrant.busy = self._ours = True
        os.kill(self._qdrant.pid, signal.SIGSTOP)
        self._hits = int(await until_frozen(self._qdrant.pid))
        return True

    async def hits(self) -> int:
        """Whether it stood still."""
        return self._hits

    async def end(self) -> None:
        """Let it go on."""
        if self._ours:
            os.kill(self._qdrant.pid, signal.SIGCONT)
            self._qdrant.busy = self._ours = False


class QdrantKilled:
    """SIGKILL to the process, and a new one on its directory at the end."""

    def __init__(self, qdrant: QdrantStandIn) -> None:
        self._qdrant = qdrant
        self._ours = False
        self._hits = 0

    async def start(self) -> bool:
        """Kill it."""
        if self._qdrant.busy:
            return False
        self._qdrant.busy = self._ours = True
        self._hits = int(await self._qdrant.kill() == -signal.SIGKILL)
        return True

    async def hits(self) -> int:
        """Whether it was killed."""
        return self._hits

    async def end(self) -> None:
        """Start it again."""
        if self._ours:
            await self._qdrant.start()
            self._qdrant.busy = self._ours = False
