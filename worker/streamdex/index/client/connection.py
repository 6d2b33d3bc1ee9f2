"""The connection: qdrant_client's gRPC stubs over a channel of our own, with limits, faults and metrics.

Not its `AsyncQdrantClient`: that sends messages only, where the frequent requests are bytes (see `wire.py`), and each
call passes an interceptor there, which costs as much as the call.
"""

import math
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import grpc
from qdrant_client import grpc as q

from streamdex.config import QdrantSettings
from streamdex.errors import AccountFault, ConfigurationError, Service, ServiceFault, StreamdexError
from streamdex.index.client.faults import fault_of
from streamdex.telemetry import Metrics

OLDEST_SERVER = (1, 16)  # older ones ignore update_filter and overwrite
LONGEST_VERSION = 32
CLOSE_GRACE_S = 5.0

GRPC_OPTIONS: Mapping[str, int] = {
    "grpc.use_local_subchannel_pool": 1,  # else all channels of the process share one connection and its back-off
    "grpc.max_reconnect_backoff_ms": 1000,  # back from an outage in 1 s instead of 9
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
}
SENT_AS_BYTES: Mapping[str, Any] = {
    "Upsert": q.PointsOperationResponse,
    "UpdateBatch": q.UpdateBatchResponse,
    "Get": q.GetResponse,
}


class Connection:
    """One gRPC channel to Qdrant, recreated when a key file has another key.

    One channel, not the client's three: after an outage each channel has a back-off of its own, so a probe on one would
    tell nothing of the next; one HTTP/2 connection carries our few requests in flight as fast.
    """

    def __init__(self, settings: QdrantSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._key = settings.read_api_key()
        self._client = make_client(settings, self._key)
        self._interrupted = False
        self.deadline_s = settings.timeout_s
        # The server should time out first, so that it can still say so.
        self.server_timeout_s = max(1, math.floor(settings.timeout_s * 0.8))

    async def points(self, method: str, request: Any) -> Any:
        """Call a method of Qdrant's Points service. Raises the faults of `faults.py`.

        `request` is a message, for the methods of SENT_AS_BYTES its bytes.
        """
        return await self._call(method, self._client.points, request)

    async def collections(self, method: str, request: Any) -> Any:
        """Call a method of Qdrant's Collections service. Raises the faults of `faults.py`."""
        return await self._call(method, self._client.collections, request)

    async def server_version(self) -> str:
        """What the server calls itself, such as 1.18.3."""
        return str((await self._ask("HealthCheck", self._client.qdrant, q.HealthCheckRequest())).version)

    async def close(self) -> None:
        """Close the channel; requests in flight get a few seconds. Safe twice."""
        await self._client.close(CLOSE_GRACE_S)

    async def _call(self, method: str, stub: Any, request: Any) -> Any:
        if self._interrupted:
            await self._probe()
        started_s = time.perf_counter()
        try:
            return await self._ask(method, stub, request)
        finally:
            self._metrics.request_seconds.labels("qdrant", method).observe(time.perf_counter() - started_s)
            self._metrics.counts.requests_ended += 1

    async def _ask(self, method: str, stub: Any, request: Any) -> Any:
        try:
            answer = await getattr(stub, method)(request, timeout=self.deadline_s, metadata=self._client.metadata)
        except grpc.aio.AioRpcError as error:
            # Not "from error": its text is the server's and may quote ids and payload.
            raise await self._fault(method, error) from None
        if answer is None:  # grpc's way to say that it is no message of Qdrant's
            self._metrics.requests_failed.labels("qdrant", "garbled").inc()
            raise ServiceFault(Service.QDRANT, f"Qdrant's answer cannot be read ({method})", unanswered=True)
        return answer

    async def _probe(self) -> None:
        """Ask for the server's health before anything else is sent after an outage.

        A request that meets a dead connection may have arrived: it is in doubt, and its document waits. The probe keeps
        every further attempt during the outage from renewing that wait.
        """
        try:
            await self.server_version()
        except ServiceFault as fault:
            raise ServiceFault(Service.QDRANT, fault.message) from None  # nothing of ours was sent
        self._interrupted = False

    async def _fault(self, method: str, error: grpc.aio.AioRpcError) -> StreamdexError:
        code = error.code()
        fault = fault_of(method, code, error.trailing_metadata() or ())
        self._metrics.requests_failed.labels("qdrant", code.name.lower()).inc()
        if code is grpc.StatusCode.UNAVAILABLE:
            self._interrupted = True
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            await self._reread_key()
        return fault

    async def _reread_key(self) -> None:
        """Take up a rotated key: the caller's next attempt uses it."""
        try:
            key = self._settings.read_api_key()
        except ConfigurationError as error:
            raise AccountFault(Service.QDRANT, error.what, error.fix) from None
        if key != self._key:
            self._key = key
            old, self._client = self._client, make_client(self._settings, key)
            await old.close(CLOSE_GRACE_S)


class GrpcClient:
    """Qdrant's services over one channel. `metadata` goes with each call."""

    def __init__(self, channel: grpc.aio.Channel, key: str | None) -> None:
        self.metadata = () if key is None else (("api-key", key),)
        # The generated stubs carry no types.
        self.points: Any = q.PointsStub(channel)  # type: ignore[no-untyped-call]
        for method, answer in SENT_AS_BYTES.items():
            call = channel.unary_unary(f"/qdrant.Points/{method}", response_deserializer=answer.FromString)
            setattr(self.points, method, call)
        self.collections: Any = q.CollectionsStub(channel)  # type: ignore[no-untyped-call]
        self.qdrant: Any = q.QdrantStub(channel)  # type: ignore[no-untyped-call]
        self._channel = channel

    async def close(self, grace_s: float) -> None:
        """Close the channel; requests in flight get so long. Safe twice."""
        await self._channel.close(grace_s)


def make_client(settings: QdrantSettings, key: str | None) -> GrpcClient:
    """A client with a channel of its own. Raises ConfigurationError for a URL that is none."""
    target, secure = target_of(settings.url, settings.grpc_port)
    options = tuple(GRPC_OPTIONS.items())
    if secure:
        return GrpcClient(grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options), key)
    return GrpcClient(grpc.aio.insecure_channel(target, options), key)


def target_of(url: str, port: int) -> tuple[str, bool]:
    """Where gRPC finds the server, and whether over TLS. Raises ConfigurationError for a URL that is none."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host = parts.hostname
    except ValueError:  # its words may quote credentials that stand in the URL
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            "not a URL", "qdrant.url", "Write it as http://host or https://host; the port is qdrant.grpc_port."
        )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", parts.scheme == "https"


async def require_version(connection: Connection) -> None:
    """Refuse a server whose writes know no condition. Raises ConfigurationError, or a fault when it does not answer."""
    version = await connection.server_version()
    numbers = re.match(r"v?(\d{1,9})\.(\d{1,9})", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        shown = version if len(version) <= LONGEST_VERSION and version.isprintable() else "of an unreadable version"
        raise ConfigurationError(
            f"Qdrant {shown} has no conditional writes",
            "qdrant.url",
            f"Use Qdrant {oldest} or newer; older ones would overwrite newer documents.",
        )
