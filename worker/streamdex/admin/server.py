"""The admin server. It runs in the worker's own event loop: when that is stuck, no answer is the right answer."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Self

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


class AdminServer:
    """Serves `/livez`, `/readyz`, `/status` and `/metrics`. An async context manager.

    Entering raises ConfigurationError when it cannot listen.
    """

    def __init__(
        self,
        settings: AdminSettings,
        metrics: Metrics,
        health: Callable[[], HealthSnapshot],
        status: Callable[[], Mapping[str, object]],
    ) -> None:
        """`health` is called every second; `status` gives JSON's types: no secret, document id or text."""
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._status = status
        self._stalls = StallDetector()
        self._observing: asyncio.Task[None] | None = None
        routes = [
            Route("/livez", self._serve_livez),
            Route("/readyz", self._serve_readyz),
            Route("/status", self._serve_status),
            Route("/metrics", self._serve_metrics),
        ]
        self._server = WebServer(Starlette(routes=routes), limit_concurrency=MOST_CONNECTIONS)

    async def _serve_livez(self, _: Request) -> Response:
        stall = self._stalls.stall()
        return _json({"live": stall is None, "reasons": {"stall": stall} if stall else {}}, ok=stall is None)

    async def _serve_readyz(self, _: Request) -> Response:
        reasons = unready_reasons(self._health())
        return _json({"ready": not reasons, "reasons": reasons}, ok=not reasons)

    async def _serve_status(self, _: Request) -> Response:
        reasons = unready_reasons(self._health())
        stall = self._stalls.stall()
        return _json({"live": stall is None, "ready": not reasons, "reasons": reasons, **self._status()})

    async def _serve_metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

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
            self._stalls.observe(self._health(), before_s)
            await asyncio.sleep(OBSERVE_EVERY_S)
            self._metrics.loop_delay.observe(max(0.0, time.monotonic() - before_s - OBSERVE_EVERY_S))


def _json(body: Mapping[str, object], *, ok: bool = True) -> Response:
    content = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Response(content, status_code=200 if ok else 503, media_type="application/json")
