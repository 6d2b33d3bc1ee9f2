"""The proxy: each mode does what it says, and counts that it did."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chaos.proxy import Link, LinkFault, Mode

LIMIT_S = 20.0


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def linked() -> AsyncIterator[Link]:
    """A link to a server that sends back what it gets."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, Link("test", 0, server.sockets[0].getsockname()[1]) as link:
        yield link


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def says(self, data: bytes) -> bytes:
        """What comes back; raises OSError or IncompleteReadError when the connection ends."""
        self.writer.write(data)
        await self.writer.drain()
        async with asyncio.timeout(LIMIT_S):
            return await self.reader.readexactly(len(data))

    async def is_cut(self) -> bool:
        try:
            async with asyncio.timeout(LIMIT_S):
                return await self.reader.read(1) == b""
        except OSError:
            return True


@asynccontextmanager
async def connected(link: Link) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_without_a_fault_everything_passes() -> None:
    async with linked() as link, connected(link) as client:
        data = bytes(300_000)
        assert await client.says(data) == data


@pytest.mark.parametrize("mode", [Mode.DROP, Mode.RESET])
async def test_drop_and_reset_end_what_there_is_and_what_is_new(mode: Mode) -> None:
    async with linked() as link:
        async with connected(link) as old:
            await old.says(b"before")
            fault = LinkFault(mode)
            link.set(fault)
            assert await old.is_cut()
        assert fault.hits == 1
        async with connected(link) as new:
            assert await new.is_cut()
        assert fault.hits == 2
        link.heal(fault)
        async with connected(link) as healed:
            assert await healed.says(b"after") == b"after"


async def test_a_black_hole_swallows_and_what_lacks_bytes_never_goes_on() -> None:
    async with linked() as link, connected(link) as client:
        await client.says(b"before")
        fault = LinkFault(Mode.BLACKHOLE)
        link.set(fault)
        client.writer.write(b"swallowed")
        await client.writer.drain()
        async with asyncio.timeout(LIMIT_S):
            while not fault.hits:
                await asyncio.sleep(0.01)
        link.heal(fault)
        assert await client.is_cut()
        async with connected(link) as healed:
            assert await healed.says(b"after") == b"after"


async def test_a_delay_holds_each_piece_back_and_loses_none() -> None:
    async with linked() as link, connected(link) as client:
        fault = LinkFault(Mode.DELAY, delay_s=0.01)
        link.set(fault)
        assert await client.says(b"slowly") == b"slowly"
        assert fault.hits == 2  # there and back


async def test_a_drip_lets_the_rest_through_when_it_is_healed() -> None:
    async with linked() as link, connected(link) as client:
        fault = LinkFault(Mode.DRIP, rate_bytes=10)
        link.set(fault)
        answer = asyncio.create_task(client.says(bytes(50_000)))  # more than an hour at this rate
        async with asyncio.timeout(LIMIT_S):
            while not fault.hits:
                await asyncio.sleep(0.01)
        assert not answer.done()
        link.heal(fault)
        assert await answer == bytes(50_000)


async def test_a_link_bears_one_fault_at_a_time() -> None:
    async with linked() as link:
        first = LinkFault(Mode.DELAY)
        link.set(first)
        with pytest.raises(RuntimeError, match="has a fault"):
            link.set(LinkFault(Mode.DROP))
        link.heal(LinkFault(Mode.DROP))
        assert link.fault is first


async def test_a_service_that_is_away_looks_away_through_the_link() -> None:
    async with linked() as away:
        port = away.port
    async with Link("to nowhere", 0, port) as link, connected(link) as client:
        assert await client.is_cut()
