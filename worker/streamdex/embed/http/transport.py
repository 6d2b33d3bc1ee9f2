"""httpx on aiohttp's transport. httpx gives the interface: proxies from the environment, own authorities, separate time
limits. aiohttp's parser takes a third of the CPU that httpx's own takes.

An answer is several hundred kilobytes of vectors that are wanted whole. The transport's own bounds (16 KiB at a time,
and reading pauses at 128 KiB) cost 5 % of a worker's CPU.
"""

from typing import Any, cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient
from httpx_aiohttp.transport import AiohttpResponseStream

READ_BYTES = 2**20


class HttpClient(HttpxAiohttpClient):
    """An `httpx.AsyncClient` that reads up to `READ_BYTES` at a time."""

    def _init_transport(self, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return options.pop("transport", None) or _Transport(**options)

    def _init_proxy_transport(self, proxy: httpx.Proxy, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return _Transport(proxy=proxy, **options)


class _Transport(AiohttpTransport):
    def get_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self.ssl_context,
            limit=self.limits.max_connections or 0,  # 0 is aiohttp's word for no limit
            keepalive_timeout=self.limits.keepalive_expiry,
        )
        return aiohttp.ClientSession(connector=connector, read_bufsize=READ_BYTES)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        cast("AiohttpResponseStream", response.stream).CHUNK_SIZE = READ_BYTES
        return response
