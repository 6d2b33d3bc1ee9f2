"""Listens in the worker's own event loop: a loop that is stuck answers nothing, and that is the right answer then."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from worker.admin.judgement import Pulse, Vitals, hindrances
from worker.config import AdminSettings
from worker.errors import ConfigurationError
from worker.telemetry import ADMIN_LISTENS, Metrics, emit

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
        config = uvicorn.Config(
            _uncancelled(self._app()),
            http="h11",  # there is no other without further packages
            ws="none",
            lifespan="off",
            log_config=None,  # the process's own logging stays as it is
            access_log=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
        )
        # Not `Server.serve`: that takes over the process's signals, and ticks ten times a second.
        self._uvicorn = uvicorn.Server(config)

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
        listener = _listen(self._settings.host, self._settings.port)
        host, port = listener.getsockname()[:2]
        config = self._uvicorn.config
        config.load()
        self._uvicorn.lifespan = config.lifespan_class(config)
        await self._uvicorn.startup(sockets=[listener])
        self._beating = asyncio.create_task(self._beat_for_ever())
        emit(ADMIN_LISTENS, host=host, port=port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait({self._beating})
        for server in self._uvicorn.servers:
            server.close()
        state = self._uvicorn.server_state
        under_way = list(state.tasks)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the transports' own callbacks close the sockets
        for server in self._uvicorn.servers:
            await server.wait_closed()

    async def _beat_for_ever(self) -> None:
        while True:
            before_s = time.monotonic()
            self._pulse.beat(self._subject.vitals(), before_s)
            await asyncio.sleep(BEAT_S)
            self._subject.metrics.loop_delay.observe(max(0.0, time.monotonic() - before_s - BEAT_S))


def _json(body: Mapping[str, object], *, ok: bool = True) -> Response:
    content = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Response(content, status_code=200 if ok else 503, media_type="application/json")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigurationError(
            f"the admin server cannot listen on {host}, port {port}: {reason}",
            "admin.host, admin.port",
            "Choose another port, or 0 for a free one: two workers on one machine need two.",
        ) from None


def _uncancelled(app: ASGIApp) -> ASGIApp:
    """A request that the end cancels ends quietly; uvicorn would log it as a crash of the application."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return run
