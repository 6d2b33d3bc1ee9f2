"""Listens in the worker's own event loop: a loop that is stuck answers nothing, and that is the right answer then."""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamdex.admin.judgement import Pulse, Vitals, hindrances
from streamdex.config import AdminSettings
from streamdex.telemetry import ADMIN_LISTENS, Metrics, emit
from streamdex.web_server import WebServer, listen

BEAT_S = 1.0
MOST_CONNECTIONS = 256  # further ones are told 503; nobody may take the worker's files and memory from here


class Subject(Protocol):
    """What is looked at: a worker."""

    @property
    def metrics(self) -> Metrics:
        """Its metrics."""

    def vitals(self) -> Vitals:
        """What health is judged by; called every second."""

    def status(self) -> Mapping[str, object]:
        """How it stands, in what JSON has: no secret, document id or text."""


class AdminServer:
    """Serves `/livez`, `/readyz`, `/status` and `/metrics`. An async context manager.

    Entering raises ConfigurationError when it cannot listen.
    """

    def __init__(self, settings: AdminSettings, subject: Subject) -> None:
        self._settings = settings
        self._subject = subject
        self._pulse = Pulse()
        self._beating: asyncio.Task[None] | None = None
        self._server = WebServer(self._app(), limit_concurrency=MOST_CONNECTIONS)

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/livez", self._livez),
                Route("/readyz", self._readyz),
                Route("/status", self._status),
                Route("/metrics", self._metrics),
            ]
        )

    async def _livez(self, _: Request) -> Response:
        stall = self._pulse.stall()
        return _json({"live": stall is None, "reasons": {"stall": stall} if stall else {}}, ok=stall is None)

    async def _readyz(self, _: Request) -> Response:
        reasons = hindrances(self._subject.vitals())
        return _json({"ready": not reasons, "reasons": reasons}, ok=not reasons)

    async def _status(self, _: Request) -> Response:
        reasons = hindrances(self._subject.vitals())
        stall = self._pulse.stall()
        return _json({"live": stall is None, "ready": not reasons, "reasons": reasons, **self._subject.status()})

    async def _metrics(self, _: Request) -> Response:
        return Response(self._subject.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def __aenter__(self) -> Self:
        listener = listen(self._settings.host, self._settings.port, "admin.host, admin.port")
        host, port = listener.getsockname()[:2]
        await self._server.start(listener)
        self._beating = asyncio.create_task(self._beat_for_ever())
        emit(ADMIN_LISTENS, host=host, port=port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait({self._beating})
        await self._server.stop()

    async def _beat_for_ever(self) -> None:
        while True:
            before_s = time.monotonic()
            self._pulse.beat(self._subject.vitals(), before_s)
            await asyncio.sleep(BEAT_S)
            self._subject.metrics.loop_delay.observe(max(0.0, time.monotonic() - before_s - BEAT_S))


def _json(body: Mapping[str, object], *, ok: bool = True) -> Response:
    content = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Response(content, status_code=200 if ok else 503, media_type="application/json")
