"""Serves an ASGI application in the running event loop."""

import asyncio
import contextlib
import os
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from streamdex.errors import ConfigurationError


class WebServer:
    """Serves the application between `start` and `stop`. `options` are those of uvicorn's `Config`."""

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        config = uvicorn.Config(
            _uncancelled(app),
            http="h11",  # needs no further package, and is the same on every machine
            ws="none",
            lifespan="off",
            log_config=None,  # the process's own logging stays as it is
            access_log=False,
            proxy_headers=False,
            **options,
        )
        # Not `Server.serve`: that takes over the process's signals, and ticks ten times a second.
        self._uvicorn = uvicorn.Server(config)

    @property
    def connections(self) -> list[Any]:
        """uvicorn's protocol objects, one for each open connection."""
        return list(self._uvicorn.server_state.connections)

    async def start(self, listener: socket.socket) -> None:
        """Serve on this socket; `listen` makes one."""
        config = self._uvicorn.config
        config.load()
        self._uvicorn.lifespan = config.lifespan_class(config)
        await self._uvicorn.startup(sockets=[listener])

    async def stop(self, grace_s: float = 0.0) -> None:
        """Stop listening, give requests under way `grace_s` to end, then cancel the rest. Safe twice."""
        if not self._uvicorn.started:
            return
        self._uvicorn.started = False
        for server in self._uvicorn.servers:
            server.close()
        for connection in self.connections:
            connection.shutdown()  # idle ones end now, busy ones after their answer
        under_way = self._uvicorn.server_state.tasks
        if under_way and grace_s > 0:
            await asyncio.wait(set(under_way), timeout=grace_s)
        for connection in self.connections:
            connection.transport.abort()
        left = list(under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)  # the transports' own callbacks close the sockets
        for server in self._uvicorn.servers:
            await server.wait_closed()


def listen(host: str, port: int, where: str) -> socket.socket:
    """A listening socket; port 0 is a free one. Raises ConfigurationError that names `where` host and port are set."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        fix = "Choose another port, or 0 for a free one."
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {reason}", where, fix) from None


def _uncancelled(app: ASGIApp) -> ASGIApp:
    """A request that `stop` cancels ends quietly; uvicorn would log it as a crash of the application."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return run
