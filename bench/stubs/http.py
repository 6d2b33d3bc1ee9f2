"""A small HTTP/1.1 server for the stubs: keep-alive, bodies by Content-Length, an answer at once.

A web framework would spend more on a request than the worker does; here it is a search for two line ends.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import orjson


class Request(NamedTuple):
    """What a client asked."""

    method: str
    path: str
    body: bytes


class Response(NamedTuple):
    """Parts of a JSON body, sent one after the other without being joined."""

    parts: tuple[bytes, ...]
    status: int = 200


Handler = Callable[[Request], Response]


def json_response(value: object, status: int = 200) -> Response:
    """A response that holds one JSON value."""
    return Response((orjson.dumps(value),), status)


NOT_FOUND = json_response({"detail": "this stub does not know that path"}, 404)


async def serve_http(handler: Handler, delay_s: float = 0.0) -> asyncio.Server:
    """Listen on a free port of the loopback; each answer to a POST or PUT waits `delay_s` first."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Connection(handler, delay_s), "127.0.0.1", 0)


def port_of(server: asyncio.Server) -> int:
    """The port that a server listens on."""
    return int(server.sockets[0].getsockname()[1])


class _Connection(asyncio.Protocol):
    """One client's connection. Clients here never pipeline, but a request may come in many pieces."""

    def __init__(self, handler: Handler, delay_s: float) -> None:
        self._handler = handler
        self._delay_s = delay_s
        self._received = bytearray()
        self._head: tuple[str, str, int] | None = None  # method, path, bytes of body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._take_request():
            pass

    def _take_request(self) -> bool:
        if self._head is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._head = self._parse_head(bytes(self._received[:end]))
            del self._received[: end + 4]
        method, path, length = self._head
        if len(self._received) < length:
            return False
        request = Request(method, path, bytes(self._received[:length]))
        del self._received[:length]
        self._head = None
        if self._delay_s and method != "GET":
            asyncio.get_running_loop().call_later(self._delay_s, self._answer, request)
        else:
            self._answer(request)
        return True

    def _parse_head(self, head: bytes) -> tuple[str, str, int]:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("expect"):  # curl and others wait for this before a large body
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return method, path.partition("?")[0], int(headers.get("content-length", "0"))

    def _answer(self, request: Request) -> None:
        if self._transport.is_closing():
            return
        response = self._handler(request)
        length = sum(map(len, response.parts))
        head = (
            f"HTTP/1.1 {response.status} -\r\ncontent-type: application/json\r\n"
            f"content-length: {length}\r\nconnection: keep-alive\r\n\r\n"
        )
        self._transport.writelines((head.encode(), *response.parts))
