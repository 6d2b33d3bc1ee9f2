"""A TCP proxy for one link, on which faults can be set; each counts how often it acted.

A fault is set on a link and taken off again. What it did to a connection stays done: bytes that were swallowed cannot
come later, so such a connection is cut when the fault is taken off.
"""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

PIECE_BYTES = 65_536
_LINGER_NOT = struct.pack("ii", 1, 0)  # SO_LINGER with 0 s: the close is a reset


class Mode(StrEnum):
    """What a fault does to a link."""

    DROP = "drop"  # closes the connections there are, and each new one
    RESET = "reset"  # the same by RST, in the midst of what is being sent
    DELAY = "delay"  # each piece comes `delay_s` later
    BLACKHOLE = "blackhole"  # takes connections and bytes, and lets nothing through
    DRIP = "drip"  # lets `rate_bytes` a second through


@dataclass(slots=True, eq=False)
class LinkFault:
    """One fault. `hits` counts connections that were ended, and pieces of data that were held back or swallowed."""

    mode: Mode
    delay_s: float = 0.2
    rate_bytes: int = 4096
    hits: int = 0


class _Connection:
    """Two sockets, joined."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.writers = (near, far)
        self.coalesced: LinkFault | None = None

    def close(self) -> None:
        for writer in self.writers:
            writer.close()

    def reset(self) -> None:
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # the other side was faster
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            writer.transport.abort()


class Link:
    """Listens on `port` of 127.0.0.1 (0 takes a free one) and forwards to the same machine's `upstream_port`.

    An async context manager.
    """

    def __init__(self, name: str, port: int, upstream_port: int) -> None:
        self.name = name
        self.port = port
        self._upstream_port = upstream_port
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.fault: LinkFault | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.reset()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def set(self, fault: LinkFault) -> None:
        """Put a fault on the link, which must have none; connections that stand feel it at once."""
        if self.fault is not None:
            raise RuntimeError(f"{self.name} has a fault already")
        self.fault = fault
        if fault.mode in (Mode.DROP, Mode.RESET):
            for connection in tuple(self._connections):
                self._end(connection, fault)

    def heal(self, fault: LinkFault) -> None:
        """Take a fault off; safe twice. Connections that lack what it swallowed are reset."""
        if self.fault is fault:
            self.fault = None
        for connection in tuple(self._connections):
            if connection.coalesced is fault:
                connection.reset()

    def _end(self, connection: _Connection, fault: LinkFault) -> None:
        fault.hits += 1
        if fault.mode is Mode.RESET:
            connection.reset()
        else:
            connection.close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        fault = self.fault
        if fault is not None and fault.mode in (Mode.DROP, Mode.RESET):
            self._end(_Connection(writer, writer), fault)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            _Connection(writer, writer).reset()  # as the service itself would refuse
            return
        await self._join(_Connection(writer, far_writer), reader, far_reader)

    async def _join(self, connection: _Connection, near: asyncio.StreamReader, far: asyncio.StreamReader) -> None:
        self._connections.add(connection)
        near_writer, far_writer = connection.writers
        pumps = [
            asyncio.create_task(self._pump(connection, near, far_writer)),
            asyncio.create_task(self._pump(connection, far, near_writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)  # half-open is nobody's use here
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            connection.close()
            self._connections.discard(connection)

    async def _pump(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE_BYTES):
                await self._forward(connection, data, writer)

    async def _forward(self, connection: _Connection, data: bytes, writer: asyncio.StreamWriter) -> None:
        fault = self.fault
        if connection.coalesced is not None:
            connection.coalesced.hits += 1  # once there is a gap, nothing may follow it
            return
        if fault is None:
            writer.write(data)
            await writer.drain()
            return
        fault.hits += 1
        match fault.mode:
            case Mode.BLACKHOLE:
                connection.coalesced = fault
            case Mode.DELAY:
                await asyncio.sleep(fault.delay_s)
                writer.write(data)
                await writer.drain()
            case Mode.DRIP:
                await self._drip(fault, data, writer)
            case Mode.DROP | Mode.RESET:
                self._end(connection, fault)

    async def _drip(self, fault: LinkFault, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Ten small pieces a second, and the rest at once when the fault is taken off."""
        size = max(1, fault.rate_bytes // 10)
        start = 0
        while start < len(data) and self.fault is fault:
            writer.write(data[start : start + size])
            await writer.drain()
            start += size
            await asyncio.sleep(0.1)
        writer.write(data[start:])
        await writer.drain()
