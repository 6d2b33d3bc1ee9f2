"""Qdrant for tests: the embedded server, or whatever real one can be had."""

import gc
import os
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from qdrant_client import AsyncQdrantClient

from harness.services import MISSING, note_used
from streamdex.standins.qdrant import EmbeddedQdrant

IMAGE = "qdrant/qdrant:v1.18.3"
GIVEN = "QDRANT_URL"
REQUIRED = "STREAMDEX_TEST_QDRANT"  # set to "required", the embedded server does not stand in for a real one


class QdrantAddress(NamedTuple):
    """Where a Qdrant server listens, and in words what it is."""

    host: str
    grpc_port: int
    api_key: str | None
    tells: str

    @property
    def url(self) -> str:
        """As the worker's settings want it; the port is `grpc_port`."""
        return f"http://{self.host}"

    def client(self, **options: Any) -> AsyncQdrantClient:
        """The real client, speaking gRPC; the caller closes it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a key without TLS, on loopback
            return AsyncQdrantClient(
                host=self.host,
                grpc_port=self.grpc_port,
                prefer_grpc=True,
                check_compatibility=False,
                https=False,
                **{"timeout": 30, "api_key": self.api_key, **options},
            )


def address_of(server: EmbeddedQdrant, api_key: str | None = None) -> QdrantAddress:
    """Where an embedded server of a test listens."""
    return QdrantAddress(server.host, server.port, api_key, "embedded, on qdrant-edge")


class QdrantSpace(NamedTuple):
    """A server and a collection name of the test's own; whatever begins with that name is removed afterwards."""

    address: QdrantAddress
    collection: str

    @property
    def host(self) -> str:
        return self.address.host

    @property
    def grpc_port(self) -> int:
        return self.address.grpc_port

    @property
    def api_key(self) -> str | None:
        return self.address.api_key


@pytest.fixture
async def qdrant_server() -> AsyncIterator[EmbeddedQdrant]:
    """An embedded server of the test's own, in the test's event loop."""
    async with EmbeddedQdrant() as server:
        yield server


@pytest.fixture
async def qdrant_client(qdrant_server: EmbeddedQdrant) -> AsyncIterator[AsyncQdrantClient]:
    """The real client of `qdrant_server`."""
    client = address_of(qdrant_server).client()
    yield client
    await client.close()


@pytest.fixture(scope="session")
def real_qdrant(pytestconfig: pytest.Config) -> Iterator[QdrantAddress | None]:
    """A real server: the one of QDRANT_URL, or a container; None where neither can be had."""
    if os.environ.get(GIVEN):
        parts = urlsplit(os.environ[GIVEN])
        port = int(os.environ.get("QDRANT_GRPC_PORT", "6334"))
        yield QdrantAddress(parts.hostname or "localhost", port, os.environ.get("QDRANT_API_KEY"), GIVEN)
        return
    try:
        container = _start_container()
    except Exception as error:  # noqa: BLE001  # whatever keeps Docker from serving, the embedded server stands in
        pytestconfig.stash.setdefault(MISSING, {})["Qdrant server"] = f"container: {type(error).__name__}"
        container = None
    if container is None:
        _drop_sockets()
        yield None
        return
    try:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(6334))
        yield QdrantAddress(host, port, None, f"container {IMAGE}")
    finally:
        container.stop()


def _start_container() -> Any:
    from testcontainers.community.qdrant import QdrantContainer  # asks Docker's settings when imported

    return QdrantContainer(IMAGE).start()


def _drop_sockets() -> None:
    """Docker's client leaves its socket open when the daemon does not answer, which is no fault of any test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def qdrant(real_qdrant: QdrantAddress | None, pytestconfig: pytest.Config) -> AsyncIterator[QdrantSpace]:
    """The best Qdrant there is: QDRANT_URL, a container, or the embedded server on the same engine."""
    async with AsyncExitStack() as stack:
        address = real_qdrant
        if address is None:
            if os.environ.get(REQUIRED) == "required":
                pytest.fail(f"a real Qdrant is required here, and neither {GIVEN} nor Docker offers one", pytrace=False)
            server = await stack.enter_async_context(EmbeddedQdrant())
            address = address_of(server)
        note_used(pytestconfig, "Qdrant", address.tells)
        space = QdrantSpace(address, f"test-{uuid4().hex[:12]}")
        yield space
        await _remove(space)


async def _remove(space: QdrantSpace) -> None:
    client = space.address.client()
    try:
        for collection in (await client.get_collections()).collections:
            if collection.name.startswith(space.collection):
                await client.delete_collection(collection.name)  # takes its aliases along
    finally:
        await client.close()
