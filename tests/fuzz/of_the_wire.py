"""Bytes on the connection to the embedding service: whatever a server or proxy sends, one fault of ours comes of it."""

import asyncio
import contextlib
import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

from pydantic import SecretStr

from fuzz.mutation import mutated
from fuzz.of_jina import ANSWERS, DIMENSION, REFUSALS, ROWS
from fuzz.target import Target, told
from streamdex.config import JinaSettings
from streamdex.embed import resolve
from streamdex.embed.http.client import JinaClient
from streamdex.errors import AccountFault, ServiceFault, SuspectFault

TEXTS = [f"text {place}" for place in range(len(ROWS))]
LIMIT_S = 20.0


def _response(status: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"content-type: application/json", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _chunked(body: bytes) -> bytes:
    parts = [body[start : start + 50] for start in range(0, len(body), 50)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


RESPONSES = [
    *(_response(b"200 OK", answer) for answer in ANSWERS),
    *(_chunked(answer) for answer in ANSWERS),
    _response(b"200 OK", gzip.compress(ANSWERS[0]), b"content-encoding: gzip"),
    _response(b"429 Too Many Requests", REFUSALS[2], b"retry-after: 7"),
    _response(b"400 Bad Request", REFUSALS[3], b"set-cookie: a=b; Max-Age=7"),
    _response(b"302 Found", b"", b"location: http://127.0.0.1:1/elsewhere"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + _response(b"200 OK", ANSWERS[0]),
]


class _Wire:
    """A client, and a server that answers each request with the bytes at hand and hangs up."""

    def __init__(self) -> None:
        self._bytes = b""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        # By its name: cookies of bare addresses are not even looked at.
        settings = JinaSettings(base_url=f"http://localhost:{port}/v1", api_key=SecretStr("key"))
        self._client = JinaClient(settings, replace(resolve(settings), dimension=DIMENSION))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            writer.write(self._bytes)
            writer.close()
            await writer.wait_closed()

    async def embed(self, one: bytes) -> str:
        """What the client makes of these bytes."""
        self._bytes = one
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._client.embed(TEXTS, {"model": "m"})
        except (SuspectFault, ServiceFault, AccountFault) as fault:
            return f"{type(fault).__name__}: {told(fault)}"
        return "vectors"


@contextlib.contextmanager
def _opened() -> Iterator[Callable[[bytes], str]]:
    with asyncio.Runner() as runner:
        wire = runner.run(_Wire().__aenter__())
        try:
            yield lambda one: runner.run(wire.embed(one))
        finally:
            runner.run(wire.__aexit__())


TARGETS = [Target("Jina: bytes of the connection", mutated(RESPONSES), _opened)]
