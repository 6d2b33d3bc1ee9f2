"""A client without gRPC: same calls, same errors, a tenth of the time. For tests that run thousands of schedules."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from qdrant_client import grpc as pb

from streamdex.standins.qdrant.refusals import QdrantRefusal, Severed
from streamdex.standins.qdrant.service import QdrantService

_AS_BYTES: Mapping[str, Any] = {
    "Points.Upsert": pb.UpsertPoints,
    "Points.UpdateBatch": pb.UpdateBatchPoints,
    "Points.Get": pb.GetPoints,
}


class DirectStub:
    """Stands in for one of the generated stubs: `await stub.Upsert(request, timeout=…)`.

    Raises `grpc.aio.AioRpcError`, as they do. A request that is a message is handed over as it is, so the caller must
    not change it afterwards; it may also be bytes.
    """

    def __init__(self, service: QdrantService, name: str = "Points") -> None:
        self._service = service
        self._name = name

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        full_name = f"{self._name}.{method}"
        requested = _AS_BYTES.get(full_name)

        async def call(request: Any, timeout: float | None = None, **_: object) -> Any:  # noqa: ASYNC109  # grpc's own
            message = requested.FromString(request) if requested and isinstance(request, bytes) else request
            try:
                async with asyncio.timeout(timeout):
                    return await self._service.serve(full_name, message)
            except QdrantRefusal as refusal:
                raise _raised(refusal) from None
            except Severed:
                raise _raised(QdrantRefusal(grpc.StatusCode.UNAVAILABLE, "Connection reset by peer")) from None
            except TimeoutError:
                raise _raised(QdrantRefusal(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")) from None

        return call


class DirectClient:
    """Stands in for the worker's own client of Qdrant's services."""

    metadata = ()

    def __init__(self, service: QdrantService) -> None:
        self.points = DirectStub(service, "Points")
        self.collections = DirectStub(service, "Collections")
        self.qdrant = DirectStub(service, "Qdrant")

    async def close(self, *_: object) -> None:
        """Nothing to close: the service belongs to whoever made it."""


def _raised(refusal: QdrantRefusal) -> Exception:
    return grpc.aio.AioRpcError(  # type: ignore[no-any-return]  # grpc publishes no types
        refusal.code,
        initial_metadata=grpc.aio.Metadata(),
        trailing_metadata=grpc.aio.Metadata(*refusal.trailers),
        details=refusal.details,
    )
