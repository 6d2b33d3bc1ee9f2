"""What the canary tests share: marked secrets, a worker in this process, and all that it prints or logs."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
import pytest
import uvicorn
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harness.kafka import Kafka, Message
from streamdex.config import Settings
from streamdex.run.worker import Worker
from streamdex.standins.jina import JinaServer
from streamdex.standins.qdrant import EmbeddedQdrant

MARK = "kakapo"  # in every secret and in everything of the user's, and in nothing else
JINA_KEY = f"jina_{MARK}"
QDRANT_KEY = f"qdrant_{MARK}"
LARGEST_BYTES = 4096
LIMIT_S = 60.0


class EmbeddedServices(NamedTuple):
    """Where the services of a worker are, all of them stand-ins."""

    kafka: Kafka
    jina: JinaServer
    qdrant: EmbeddedQdrant

    def settings(self, **sections: dict[str, Any]) -> Settings:
        """Settings of a worker of theirs."""
        given: dict[str, dict[str, Any]] = {
            "kafka": {"bootstrap_servers": self.kafka.bootstrap_servers},
            "jina": {"base_url": self.jina.base_url, "api_key": JINA_KEY, "limits": "premium"},
            "qdrant": {
                "url": f"http://{self.qdrant.host}",
                "grpc_port": self.qdrant.port,
                "api_key": QDRANT_KEY,
                "timeout_s": 2,
            },
            "caps": {"record_bytes": LARGEST_BYTES},
            "worker": {"request_horizon_s": 0.2},
        }
        return Settings.model_validate(
            {name: given.get(name, {}) | sections.get(name, {}) for name in given | sections}
        )


class Heard:
    """All that a worker in this process prints, logs and reports."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.log = io.StringIO()
        self._capture = capture
        self._more: list[str] = []

    def note(self, *things: object) -> None:
        """Add what is reported elsewhere: reasons, metrics, exceptions."""
        self._more.extend(f"{thing} {thing!r}" for thing in things)

    def all(self) -> str:
        """Everything, in lower case."""
        printed = self._capture.readouterr()
        return "\n".join([self.log.getvalue(), printed.out, printed.err, *self._more]).lower()


class Runner:
    """A worker at work, and the records it is to settle."""

    def __init__(self, worker: Worker, kafka: Kafka, heard: Heard) -> None:
        self.worker = worker
        self._kafka = kafka
        self._heard = heard
        self._sent = 0

    async def settle(self, *messages: Message) -> None:
        """Write the records, and wait until the worker is done with them."""
        await self._kafka.produce("documents", messages)
        self._sent += len(messages)
        await self.until(lambda: sum(self.worker.metrics.counts.outcomes.values()) >= self._sent)

    def failed(self, service: str, kind: str) -> float:
        """How many requests to a service failed in this way."""
        value = self.worker.metrics.registry.get_sample_value
        return value("streamdex_requests_failed_total", {"service": service, "kind": kind}) or 0

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait, and note meanwhile why the worker holds, if it does."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._heard.note(self.worker.health.reasons)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def at_work(settings: Settings, kafka: Kafka, heard: Heard) -> AsyncIterator[Runner]:
    worker = Worker(settings, worker_name="tests")
    running = asyncio.create_task(worker.run())
    try:
        yield Runner(worker, kafka, heard)
    finally:
        worker.stop()
        await running
        heard.note(worker, settings, generate_latest(worker.metrics.registry))


@asynccontextmanager
async def echo(status: int) -> AsyncIterator[str]:
    async def answer(request: Request) -> Response:
        said = f"{request.headers['authorization']} {await request.body()!r}"
        body = {
            "detail": {"message": said, "code": said},
            "code": said,
            "errors": [{"type": said, "field": said, "message": said, "input": said}],
            "data": [{"index": 0, "object": said, "embedding": said}],
            "usage": {"total_tokens": said},
            "model": said,
        }
        headers = {"retry-after": "x" + MARK, "location": f"http://127.0.0.1:1/{MARK}", f"x-{MARK}": MARK}
        return Response(orjson.dumps(body), status, headers, media_type="application/json")

    app = Starlette(routes=[Route("/v1/embeddings", answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(LIMIT_S):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        await serving


def guarding(plain: int, guarded: int, controller: int) -> dict[str, str]:
    """Properties that give a broker a listener with SASL beside its usual one."""
    login = "org.apache.kafka.common.security"
    listener = "listener.name.sasl_plaintext"
    advertised = f"PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{guarded}"
    return {
        "listeners": f"{advertised},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
        f"{listener}.plain.sasl.jaas.config": f'{login}.plain.PlainLoginModule required user_somebody="right";',
        f"{listener}.scram-sha-256.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
    }
