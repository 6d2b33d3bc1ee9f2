"""What happens to a request between its arrival and its answer, whatever transport brought it.

Counted, then held up or struck by an injected fault, then delayed at random if reordering is asked for, then
`before` is awaited, then the engine applies it in one synchronous step.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from qdrant_client import grpc as pb

from streamdex.standins.qdrant.engine import METHODS, Engine
from streamdex.standins.qdrant.faults import LANDS_LATER, FaultKind, QdrantFault, QdrantFaults
from streamdex.standins.qdrant.refusals import QdrantRefusal, Severed, not_built

Before = Callable[[str, Any], Awaitable[None]]


class QdrantService:
    """Requests in, answers or `QdrantRefusal`s out.

    `before(method, request)` is awaited before each request is applied; a test steers schedules with it.
    `reorder_s` delays each request at random up to that long, so that those in flight overtake each other.
    """

    def __init__(self, engine: Engine, *, seed: int = 0, reorder_s: float = 0.0) -> None:
        self.engine = engine
        self.faults = QdrantFaults(seed)
        self.before: Before | None = None
        self.reorder_s = reorder_s
        self._rng = random.Random(seed)  # noqa: S311  # a repeatable schedule, not a secret
        self._release = asyncio.Event()
        self._late: set[asyncio.Task[None]] = set()

    @property
    def held(self) -> int:
        """How many requests were answered wrongly or not at all and are still to land."""
        return len(self._late)

    async def serve(self, method: str, request: Any) -> Any:
        """Answers one request; raises `QdrantRefusal`, or `Severed` when the connection is to be cut instead."""
        stats = self.engine.stats
        stats.requests[method] += 1
        try:
            delay_s, fault = self.faults.draw(method, request)
            if delay_s:
                await asyncio.sleep(delay_s)
            if fault is not None:
                return await self._strike(fault, method, request)
            return await self._apply(method, request)
        except (QdrantRefusal, Severed):
            stats.refused[method] += 1
            raise

    async def release(self) -> int:
        """Lets every held request land, waits until all have, and returns how many those were."""
        late = tuple(self._late)
        self._release.set()
        self._release = asyncio.Event()
        await asyncio.gather(*late)
        return len(late)

    async def close(self) -> None:
        """Forgets the held requests: they will never land. Safe twice."""
        late = tuple(self._late)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _apply(self, method: str, request: Any) -> Any:
        if method not in METHODS:
            raise not_built(method)
        if self.reorder_s:
            await asyncio.sleep(self._rng.uniform(0, self.reorder_s))
        if self.before is not None:
            await self.before(method, request)
        return self.engine.handle(method, request)

    async def _strike(self, fault: QdrantFault, method: str, request: Any) -> Any:
        if fault.kind in LANDS_LATER:
            self._hold(fault.delay_s, method, request)
        refusal = fault.refusal()
        if refusal is not None:
            raise refusal
        if fault.kind is FaultKind.WAIT_TIMEOUT:
            return _not_yet(request)
        if fault.kind is FaultKind.UNANSWERED:
            await asyncio.Event().wait()  # until the client's deadline or the server's stop cancels it
        raise Severed

    def _hold(self, delay_s: float | None, method: str, request: Any) -> None:
        task = asyncio.create_task(self._land(self._release, delay_s, method, request))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _land(self, release: asyncio.Event, delay_s: float | None, method: str, request: Any) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await release.wait()
        except TimeoutError:
            pass  # its time has come without a release
        try:
            await self._apply(method, request)
        except QdrantRefusal:
            self.engine.stats.refused[method] += 1  # nobody is left to be told


def _not_yet(request: Any) -> Any:
    result = pb.UpdateResult(status=pb.UpdateStatus.WaitTimeout)
    if isinstance(request, pb.UpdateBatchPoints):
        return pb.UpdateBatchResponse(result=[result] * len(request.operations))
    return pb.PointsOperationResponse(result=result)
