"""The gRPC server: Qdrant's own services on a loopback port, in the loop it is started in."""

import asyncio
from pathlib import Path
from typing import Any, Self

import grpc
from qdrant_client import grpc as pb
from qdrant_client.grpc import collections_service_pb2, points_service_pb2, qdrant_pb2

from streamdex.standins.qdrant.engine import Engine, EngineStats
from streamdex.standins.qdrant.faults import WRITES, QdrantFaults
from streamdex.standins.qdrant.refusals import QdrantRefusal, Severed
from streamdex.standins.qdrant.service import Before, QdrantService

SERVICES = {
    "Points": points_service_pb2.DESCRIPTOR.services_by_name["Points"],
    "Collections": collections_service_pb2.DESCRIPTOR.services_by_name["Collections"],
    "Qdrant": qdrant_pb2.DESCRIPTOR.services_by_name["Qdrant"],
}
_UNGUARDED = frozenset({"Qdrant.HealthCheck"})  # answered without a key, as on the real server
_MANAGING = frozenset(
    {"Collections.Create", "Collections.Update", "Collections.Delete", "Collections.UpdateAliases"}
    | {"Points.CreateFieldIndex", "Points.DeleteFieldIndex"}
)
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share it
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class EmbeddedQdrant:
    """A Qdrant server in this process.

    `port` 0 picks a free one. `api_key` and `read_only_api_key` are asked for when set. `directory` keeps the data
    across starts. `seed` and `reorder_s` are for tests, as are `faults`, `before` and `release`.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        read_only_api_key: str | None = None,
        directory: Path | None = None,
        seed: int = 0,
        reorder_s: float = 0.0,
    ) -> None:
        self.host = host
        self.port = port
        self.engine = Engine(directory)
        self.service = QdrantService(self.engine, seed=seed, reorder_s=reorder_s)
        self.api_key = api_key
        self._read_only_api_key = read_only_api_key
        self._server: Any = None
        self._restart = asyncio.Lock()
        self._restarts: set[asyncio.Task[None]] = set()

    @property
    def faults(self) -> QdrantFaults:
        """Where faults are injected and taken back."""
        return self.service.faults

    @property
    def stats(self) -> EngineStats:
        """What was asked of the server so far."""
        return self.engine.stats

    @property
    def before(self) -> Before | None:
        """Awaited with method and request before each request is applied."""
        return self.service.before

    @before.setter
    def before(self, hook: Before | None) -> None:
        self.service.before = hook

    async def start(self) -> Self:
        """Opens the port; raises OSError when it is taken. The data is there from construction on."""
        if self._server is None:
            await self._open()
        return self

    async def stop(self) -> None:
        """Closes connections, held requests and the engine; safe twice and before the start."""
        async with self._restart:  # one under way ends first: gRPC's server cannot be stopped once a stop was cancelled
            if self._server is not None:
                await self._server.stop(0)
                self._server = None
        await asyncio.gather(*self._restarts, return_exceptions=True)
        await self.service.close()
        self.engine.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def release(self) -> int:
        """Lets the requests land that a fault holds back; returns how many."""
        return await self.service.release()

    async def reset_connections(self) -> None:
        """Cuts every connection and listens again on the same port; the data stays."""
        async with self._restart:
            if self._server is not None:
                await self._server.stop(0)
                await self._open()

    async def _open(self) -> None:
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(tuple(self._handler(name) for name in SERVICES))
        try:
            self.port = server.add_insecure_port(f"{self.host}:{self.port}")
        except RuntimeError as error:  # all that grpc says when it cannot bind
            raise OSError(f"cannot listen on {self.host}:{self.port}") from error
        await server.start()
        self._server = server

    def _handler(self, service: str) -> Any:
        methods = {
            method.name: grpc.unary_unary_rpc_method_handler(
                self._answerer(f"{service}.{method.name}"),
                request_deserializer=getattr(pb, method.input_type.name).FromString,
                response_serializer=_serialize,
            )
            for method in SERVICES[service].methods
        }
        return grpc.method_handlers_generic_handler(SERVICES[service].full_name, methods)

    def _answerer(self, method: str) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            try:
                self._authorize(method, dict(context.invocation_metadata() or ()))
                return await self.service.serve(method, request)
            except QdrantRefusal as refusal:
                await context.abort(refusal.code, refusal.details, refusal.trailers)
            except Severed:
                self._cut_connections()
                await asyncio.Event().wait()  # until the cut cancels this request as well

        return answer

    def _authorize(self, method: str, metadata: dict[str, str]) -> None:
        if self.api_key is None or method in _UNGUARDED:
            return
        key = metadata.get("api-key") or metadata.get("authorization", "").removeprefix("Bearer ")
        if key == self.api_key:
            return
        if not key or key != self._read_only_api_key:
            raise QdrantRefusal(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")
        if method in WRITES | _MANAGING:
            raise QdrantRefusal(grpc.StatusCode.PERMISSION_DENIED, "Forbidden: Write access is required")

    def _cut_connections(self) -> None:
        task = asyncio.create_task(self.reset_connections())
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)


def _serialize(response: Any) -> bytes:
    return bytes(response.SerializeToString())
