"""A client without gRPC: same calls, same errors, a tenth of the time. For tests that run thousands of schedules."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from qdrant_client import grpc as pb
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

from worker.embedded.qdrant.refusals import Refusal, Severed
from worker.embedded.qdrant.service import Service


class DirectStub:
    """Stands in for a client's `grpc_points` or `grpc_collections`: `await stub.Upsert(request, timeout=…)`.

    Raises what the client raises: `grpc.aio.AioRpcError`, and `ResourceExhaustedResponse` where the server names a
    time to wait. Requests are handed over as they are, so the caller must not change them afterwards.
    """

    def __init__(self, service: Service, name: str = "Points") -> None:
        self._service = service
        self._name = name

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        full_name = f"{self._name}.{method}"

        async def call(request: Any, timeout: float | None = None, **_: object) -> Any:  # noqa: ASYNC109  # grpc's own
            try:
                async with asyncio.timeout(timeout):
                    return await self._service.serve(full_name, request)
            except Refusal as refusal:
                raise _raised(refusal) from None
            except Severed:
                raise _raised(Refusal(grpc.StatusCode.UNAVAILABLE, "Connection reset by peer")) from None
            except TimeoutError:
                raise _raised(Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")) from None

        return call


class DirectClient:
    """Stands in for an `AsyncQdrantClient` wherever only its stubs, `info` and `close` are used."""

    def __init__(self, service: Service) -> None:
        self.grpc_points = DirectStub(service, "Points")
        self.grpc_collections = DirectStub(service, "Collections")
        self._root = DirectStub(service, "Qdrant")

    async def info(self) -> Any:
        """Name and version of the server."""
        return await self._root.HealthCheck(pb.HealthCheckRequest())

    async def close(self, **_: object) -> None:
        """Nothing to close: the service belongs to whoever made it."""


def _raised(refusal: Refusal) -> Exception:
    trailers = dict(refusal.trailers)
    if refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED and "retry-after" in trailers:
        return ResourceExhaustedResponse(message=refusal.details, retry_after_s=int(trailers["retry-after"]))
    return grpc.aio.AioRpcError(  # type: ignore[no-any-return]  # grpc publishes no types
        refusal.code,
        initial_metadata=grpc.aio.Metadata(),
        trailing_metadata=grpc.aio.Metadata(*refusal.trailers),
        details=refusal.details,
    )
