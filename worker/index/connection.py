"""The connection: qdrant_client's own gRPC stubs, with limits, fault mapping, metrics, and the key read anew."""

import math
import re
import time
import warnings
from collections.abc import Mapping
from typing import Any

import grpc
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

from worker.config import QdrantSettings
from worker.errors import AccountFault, ConfigurationError, Service, ServiceFault, StreamdexError
from worker.index.faults import fault_of
from worker.telemetry import Metrics

OLDEST_SERVER = (1, 16)  # older ones ignore update_filter and overwrite
LONGEST_VERSION = 32
CLOSE_GRACE_S = 5.0

GRPC_OPTIONS: Mapping[str, int] = {
    "grpc.use_local_subchannel_pool": 1,  # else all channels of the process share one connection and its back-off
    "grpc.max_reconnect_backoff_ms": 1000,  # back from an outage in 1 s instead of 9
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
}


class Connection:
    """One gRPC channel to Qdrant, made anew when a key file has another key.

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
        # The server should give up first, so that it can still say so.
        self.server_timeout_s = max(1, math.floor(settings.timeout_s * 0.8))

    async def points(self, method: str, request: Any) -> Any:
        """Call a method of Qdrant's Points service. Raises the faults of `faults.py`."""
        return await self._call(method, self._client.grpc_points, request)

    async def collections(self, method: str, request: Any) -> Any:
        """Call a method of Qdrant's Collections service. Raises the faults of `faults.py`."""
        return await self._call(method, self._client.grpc_collections, request)

    async def server_version(self) -> str:
        """What the server calls itself, such as 1.18.3."""
        try:
            return str((await self._client.info()).version)
        except (grpc.aio.AioRpcError, ResourceExhaustedResponse) as error:
            raise await self._fault("HealthCheck", error) from None
        except AttributeError:  # the client's own, where grpc gave it None, see `_garbled`
            raise self._garbled("HealthCheck") from None

    async def close(self) -> None:
        """Close the channel; requests in flight get a few seconds. Safe twice."""
        await self._client.close(grpc_grace=CLOSE_GRACE_S)

    async def _call(self, method: str, stub: Any, request: Any) -> Any:
        if self._interrupted:
            await self._probe()
        started_s = time.perf_counter()
        try:
            answer = await getattr(stub, method)(request, timeout=self.deadline_s)
            if answer is None:
                raise self._garbled(method)
            return answer
        except (grpc.aio.AioRpcError, ResourceExhaustedResponse) as error:
            # Not "from error": its text is the server's and may quote ids and payload.
            raise await self._fault(method, error) from None
        finally:
            self._metrics.request_seconds.labels("qdrant", method).observe(time.perf_counter() - started_s)

    def _garbled(self, method: str) -> ServiceFault:
        """For an answer that is no message of Qdrant's: grpc gives None in its place."""
        self._metrics.requests_failed.labels("qdrant", "garbled").inc()
        return ServiceFault(Service.QDRANT, f"Qdrant's answer cannot be read ({method})", unanswered=True)

    async def _probe(self) -> None:
        """Ask for the server's health before anything else is sent after an outage.

        A request that meets a dead connection may have arrived, and its document must then wait out the request
        horizon. The probe keeps every further attempt during the outage from renewing that wait.
        """
        try:
            await self.server_version()
        except ServiceFault as fault:
            raise ServiceFault(Service.QDRANT, fault.message) from None  # nothing of ours was sent
        self._interrupted = False

    async def _fault(self, method: str, error: grpc.aio.AioRpcError | ResourceExhaustedResponse) -> StreamdexError:
        if isinstance(error, ResourceExhaustedResponse):
            fault = fault_of(method, grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=error.retry_after_s)
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
        else:
            code = error.code()
            fault = fault_of(method, code, error.trailing_metadata() or ())
        self._metrics.requests_failed.labels("qdrant", code.name.lower()).inc()
        if code is grpc.StatusCode.UNAVAILABLE:
            self._interrupted = True
        if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            await self._read_key_anew()
        return fault

    async def _read_key_anew(self) -> None:
        """Take up a rotated key: the caller's next attempt uses it."""
        try:
            key = self._settings.read_api_key()
        except ConfigurationError as error:
            raise AccountFault(Service.QDRANT, error.what, error.mend) from None
        if key != self._key:
            self._key = key
            old, self._client = self._client, make_client(self._settings, key)
            await old.close(grpc_grace=CLOSE_GRACE_S)


def make_client(settings: QdrantSettings, key: str | None) -> AsyncQdrantClient:
    """The client whose stubs are used. Raises ConfigurationError for a URL that is none."""
    with warnings.catch_warnings():
        # A key over plain HTTP is usual inside a cluster; whoever set the URL chose it.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return AsyncQdrantClient(
                url=settings.url,
                grpc_port=settings.grpc_port,
                https=settings.url.startswith("https://"),  # else a key alone would turn it on
                api_key=key,
                prefer_grpc=True,
                check_compatibility=False,  # it would ask over REST; `require_version` asks over gRPC
                pool_size=1,
                timeout=math.ceil(settings.timeout_s),
                grpc_options=dict(GRPC_OPTIONS),
            )
        except ValueError:  # the client's words may quote credentials that stand in the URL
            raise ConfigurationError(
                "not a URL", "qdrant.url", "Write it as http://host or https://host; the port is qdrant.grpc_port."
            ) from None


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
