"""The admin server. It runs in the worker's own event loop: when that is stuck, no answer is the right answer."""

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol, Self

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamdex.admin.health import HealthSnapshot, StallDetector, unready_reasons
from streamdex.config import AdminSettings
from streamdex.telemetry import ADMIN_LISTENS, Metrics, emit
from streamdex.web_server import WebServer, listen

OBSERVE_EVERY_S = 1.0
MOST_CONNECTIONS = 256  # further ones are answered with 503, so that nobody uses up the worker's files and memory


class ObservedWorker(Protocol):
    """The worker, which cannot be imported here: it is built on this package."""

    @property
    def metrics(self) -> Metrics:
        """Its metrics."""

    def health_snapshot(self) -> HealthSnapshot:
        """What its health is decided from; called every second."""

    def status(self) -> Mapping[str, object]:
        """Its status in JSON's types: no secret, document id or text."""


class AdminServer:
    """Serves `/livez`, `/readyz`, `/status` and `/metrics`. An async context manager.

    Entering raises ConfigurationError when it cannot listen.
    """

    def __init__(self, settings: AdminSettings, worker: ObservedWorker) -> None:
        self._settings = settings
        self._worker = worker
        self._stalls = StallDetector()
        self._observing: asyncio.Task[None] | None = None
        paths = {"/livez": self._livez, "/readyz": self._readyz, "/status": self._status, "/metrics": self._metrics}
        app = Starlette(routes=[Route(path, endpoint) for path, endpoint in paths.items()])
        self._server = WebServer(app, limit_concurrency=MOST_CONNECTIONS)

    async def _livez(self, _: Request) -> Response:
        stall = self._stalls.stall()
        return _json({"live": stall is None, "reasons": {"stall": stall} if stall else {}}, ok=stall is None)

    async def _readyz(self, _: Request) -> Response:
        reasons = unready_reasons(self._worker.health_snapshot())
        return _json({"ready": not reasons, "reasons": reasons}, ok=not reasons)

    async def _status(self, _: Request) -> Response:
        reasons = unready_reasons(self._worker.health_snapshot())
        stall = self._stalls.stall()
        return _json({"live": stall is None, "ready": not reasons, "reasons": reasons, **self._worker.status()})

    async def _metrics(self, _: Request) -> Response:
        return Response(self._worker.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def __aenter__(self) -> Self:
        listener = listen(self._settings.host, self._settings.port, "admin.host, admin.port")
        host, port = listener.getsockname()[:2]
        await self._server.start(listener)
        self._observing = asyncio.create_task(self._observe_forever())
        emit(ADMIN_LISTENS, host=host, port=port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._observing is not None:
            self._observing.cancel()
            await asyncio.wait({self._observing})
        await self._server.stop()

    async def _observe_forever(self) -> None:
        while True:
            before_s = time.monotonic()
            self._stalls.observe(self._worker.health_snapshot(), before_s)
            await asyncio.sleep(OBSERVE_EVERY_S)
            self._worker.metrics.loop_delay.observe(max(0.0, time.monotonic() - before_s - OBSERVE_EVERY_S))


def _json(body: Mapping[str, object], *, ok: bool = True) -> Response:
    content = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Response(content, status_code=200 if ok else 503, media_type="application/json")
