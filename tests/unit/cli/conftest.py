"""Fixtures of the commands' tests; what they give is in `harness.cli`."""

from collections.abc import Iterator

import httpx
import pytest

from harness.cli import JINA_KEY, QDRANT_KEY, Services, jina_in_a_thread, qdrant_process
from streamdex.standins.broker import EmbeddedBroker
from streamdex.standins.jina import Options


@pytest.fixture
def services(_services: Services) -> Iterator[Services]:
    """The services, without faults afterwards."""
    yield _services
    _services.jina.faults.clear()
    httpx.delete(f"{_services.qdrant_control}/_control/faults", trust_env=False).raise_for_status()


@pytest.fixture(scope="session")
def _services() -> Iterator[Services]:
    broker = EmbeddedBroker()
    with jina_in_a_thread(Options(api_key=JINA_KEY)) as jina, qdrant_process("--api-key", QDRANT_KEY) as ports:
        yield Services(broker.start(), jina, ports["grpc_port"], f"http://127.0.0.1:{ports['control_port']}")
    broker.stop()
