"""The embedded Jina-compatible server for tests: real HTTP on loopback, in the test's own event loop."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from streamdex.standins.jina import JinaServer, Options

StartJina = Callable[..., Awaitable[JinaServer]]


@pytest.fixture
async def start_jina() -> AsyncIterator[StartJina]:
    """Starts servers, each with its own options: `await start_jina(Options(…), sleep=…)`. They end with the test."""
    async with AsyncExitStack() as stack:

        async def start(options: Options | None = None, **arguments: object) -> JinaServer:
            return await stack.enter_async_context(JinaServer(options, **arguments))  # type: ignore[arg-type]  # passed on as they are

        yield start


@pytest.fixture
async def jina(start_jina: StartJina) -> JinaServer:
    """A server without limits or latency that takes any key and refuses fields that a model does not list."""
    return await start_jina()
