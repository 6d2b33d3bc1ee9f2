"""The stand-in on a port, in this event loop."""

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Self

from starlette.types import Scope

from streamdex.standins.jina.app import Sleep, create_app
from streamdex.standins.jina.billing import BillingLog
from streamdex.standins.jina.faults import JinaFault, JinaFaultKind, JinaFaults
from streamdex.standins.jina.options import Options
from streamdex.standins.jina.service import JinaService
from streamdex.standins.jina.stats import JinaStats
from streamdex.web_server import WebServer, listen

_KEEP_ALIVE_S = 300  # longer than any client keeps an idle connection: only the client ends them
_LINGER_NOT = struct.pack("ii", 1, 0)  # SO_LINGER with 0 s: the close is a reset


class JinaServer:
    """A Jina-compatible embedding server. An async context manager, or `start` and `stop`.

    Time, sleep and random numbers may be given by tests. `start` raises ConfigurationError when it cannot listen.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        wall_clock_s: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.options = options or Options()
        self._clock_s = clock_s
        self._service = JinaService(self.options, rng, wall_clock_s)
        self._bills = (
            BillingLog(self.options.billing_log, wall_clock_s, self._connected) if self.options.billing_log else None
        )
        app = create_app(self._service, clock_s, sleep, self._cut, self._bills)
        self._server = WebServer(app, timeout_keep_alive=_KEEP_ALIVE_S)
        self._port: int | None = None

    @property
    def base_url(self) -> str:
        """What to set as `jina.base_url`. Only after `start`."""
        if self._port is None:
            raise RuntimeError("the server has not been started")
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self._port}/v1"

    @property
    def stats(self) -> JinaStats:
        """What it has done so far."""
        return self._service.stats

    @property
    def faults(self) -> JinaFaults:
        """The faults set, and how often which kind fired."""
        return self._service.faults

    @property
    def in_flight(self) -> int:
        """Requests being answered at this moment."""
        return self._service.limiter.in_flight

    def inject(
        self,
        kind: JinaFaultKind | str,
        argument: str = "",
        *,
        match: str | None = None,
        times: int | None = None,
        duration_s: float | None = None,
        probability: float = 1.0,
    ) -> JinaFault:
        """Set a fault (see `JinaFault`); its `fired` says how many requests met it."""
        fault = JinaFault(JinaFaultKind(kind), argument, match, times, duration_s, probability)
        return self.faults.add(fault, self._clock_s())

    async def start(self) -> None:
        """Listen. Raises ConfigurationError when the port is taken or the address is not this machine's."""
        listener = listen(self.options.host, self.options.port, f"{self.options.host}:{self.options.port}")
        self._port = listener.getsockname()[1]
        await self._server.start(listener)

    async def stop(self, grace_s: float = 0.0) -> None:
        """Stop listening, give requests under way `grace_s` to end, then cut what is left. Safe twice."""
        await self._server.stop(grace_s)
        if self._bills is not None:
            self._bills.close()

    def _cut(self, scope: Scope) -> None:
        for connection in self._connections_of(scope):
            sock = connection.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # the client was faster
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            connection.transport.abort()

    def _connected(self, scope: Scope) -> bool:
        return any(not connection.transport.is_closing() for connection in self._connections_of(scope))

    def _connections_of(self, scope: Scope) -> list[Any]:
        # Not every protocol class of uvicorn's has `client`; the one chosen above does.
        client = tuple(scope["client"])
        return [one for one in self._server.connections if getattr(one, "client", None) == client]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
