"""A worker through all that may go wrong, at its most talkative: no key, password, text, metadata or id comes out.

Every secret and everything of the user's carries the mark; nothing that is logged, printed, counted, held up as a
reason or written into a dead letter's own headers may.
"""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import grpc
import orjson
import pytest
import real_services
import structlog
import uvicorn
from kafka_broker import KafkaBroker, free_ports
from kafka_tools import Kafka, Message
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from worker_process import WorkerProcess

from worker.config import Settings
from worker.embed.client import Client
from worker.embedded.broker import EmbeddedBroker
from worker.embedded.jina import JinaServer, Options
from worker.embedded.qdrant import EmbeddedQdrant, Fault, Kind
from worker.embedded.qdrant.refusals import Refusal
from worker.errors import StreamdexError
from worker.index import Index
from worker.pipeline import Pipeline
from worker.plan import Planner
from worker.search import search_collection
from worker.telemetry import configure_logging

MARK = "kakapo"
JINA_KEY = f"jina_{MARK}"
QDRANT_KEY = f"qdrant_{MARK}"
REFUSED = f"a {MARK} that Jina refuses"
BAD = f"a {MARK} that Qdrant refuses"
LIMIT_S = 60.0

JINA_FAULTS = [
    ("status", "400"),
    ("status", "401"),
    ("status", "402"),
    ("status", "403"),
    ("status", "422"),
    ("status", "429"),
    ("status", "500"),
    ("status", "503"),
    ("html", "200"),
    ("html", "502"),
    ("truncated-json", ""),
    ("wrong-count", "-1"),
    ("wrong-count", "1"),
    ("duplicate-index", ""),
    ("missing-index", ""),
    ("index-out-of-range", ""),
    ("wrong-dimension", ""),
    ("nan", ""),
    ("zero", ""),
    ("hang", "0.1"),
    ("reset", ""),
]
QDRANT_CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
QDRANT_KINDS = [
    Kind.RATE_LIMITED,
    Kind.INSUFFICIENT_STORAGE,
    Kind.DISK_FULL,
    Kind.WAIT_TIMEOUT,
    Kind.LOST_ANSWER,
    Kind.RESET,
]
POISON = [
    Message(f"key-{MARK}".encode(), f"{MARK}, not JSON".encode()),
    Message(None, json.dumps({"text": f"{MARK} without an id"}).encode()),
    Message(b"\xff" + MARK.encode(), json.dumps({"text": MARK}).encode()),
    Message(f"key-{MARK}".encode(), json.dumps({"id": {"a": MARK}, "text": MARK}).encode()),
    Message(f"key-{MARK}".encode(), json.dumps({"text": MARK, MARK: "an unknown field"}).encode()),
    Message(f"key-{MARK}".encode(), json.dumps({"text": [MARK]}).encode()),
    Message(f"key-{MARK}".encode(), json.dumps({"text": MARK, "op": MARK}).encode()),
    Message(f"key-{MARK}".encode(), json.dumps({"text": MARK, "metadata": MARK}).encode()),
    Message(f"key-{MARK}".encode(), json.dumps({"text": MARK, "version": MARK}).encode()),
    Message(f"key-{MARK}".encode(), b'{"text": "kakapo", "metadata": ' + b'{"kakapo":' * 40 + b"1" + b"}" * 41),
    Message(f"key-{MARK}".encode(), json.dumps({"text": MARK, "metadata": {MARK: 2**70}}).encode()),
    Message(f"key-{MARK}".encode(), json.dumps({"text": f"{MARK} " * 1000}).encode()),
    Message(f"key-{MARK}".encode(), None, [("streamdex.version", MARK.encode())]),
    Message(f"key-{MARK}".encode(), b'{"text": "kakapo"}', [("__streamdex.topic", MARK.encode())]),
]
LARGEST_BYTES = 4096


class Neighbours(NamedTuple):
    """Where the worker's neighbours are, all of them embedded."""

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


@pytest.fixture
async def neighbours() -> AsyncIterator[Neighbours]:
    broker = EmbeddedBroker()
    async with JinaServer(Options(api_key=JINA_KEY)) as jina, EmbeddedQdrant(api_key=QDRANT_KEY) as qdrant:
        yield Neighbours(Kafka(broker.start()), jina, qdrant)
    broker.stop()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits become short: what is looked at here is what is said, not when."""
    monkeypatch.setattr("worker.retry.BASE_S", 0.02)
    monkeypatch.setattr("worker.retry.CAP_S", 0.1)
    monkeypatch.setattr("worker.embed.valve.ACCOUNT_RETRY_S", 0.05)


class Heard:
    """All that a worker in this process says."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.log = io.StringIO()
        self._capture = capture
        self._more: list[str] = []

    def note(self, *things: object) -> None:
        """Add what is said elsewhere: reasons, metrics, exceptions."""
        self._more.extend(f"{thing} {thing!r}" for thing in things)

    def all(self) -> str:
        """Everything, in lower case."""
        printed = self._capture.readouterr()
        return "\n".join([self.log.getvalue(), printed.out, printed.err, *self._more]).lower()


@pytest.fixture(params=["json", "console"])
def heard(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[Heard]:
    log_format: Literal["json", "console"] = request.param
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    found = Heard(capfd)
    configure_logging(log_format, "debug", found.log)
    yield found
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Runner:
    """A worker at work, and the records it is to settle."""

    def __init__(self, pipeline: Pipeline, kafka: Kafka, heard: Heard) -> None:
        self.pipeline = pipeline
        self._kafka = kafka
        self._heard = heard
        self._sent = 0

    async def settle(self, *messages: Message) -> None:
        """Write the records, and wait until the worker is done with them."""
        await self._kafka.produce("documents", messages)
        self._sent += len(messages)
        await self.until(lambda: self.pipeline.metrics.settled().total() >= self._sent)

    def failed(self, service: str, kind: str) -> float:
        """How many requests to a neighbour failed in this way."""
        value = self.pipeline.metrics.registry.get_sample_value
        return value("streamdex_requests_failed_total", {"service": service, "kind": kind}) or 0

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait, and note meanwhile why the worker holds, if it does."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._heard.note(self.pipeline.health.reasons)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def at_work(settings: Settings, kafka: Kafka, heard: Heard) -> AsyncIterator[Runner]:
    pipeline = Pipeline(settings, worker_name="tests")
    running = asyncio.create_task(pipeline.run())
    try:
        yield Runner(pipeline, kafka, heard)
    finally:
        pipeline.stop()
        await running
        heard.note(pipeline, settings, generate_latest(pipeline.metrics.registry))


def document(number: int, text: str = f"a text on the {MARK}") -> Message:
    body = {"id": f"{MARK}-{number}", "text": f"{text}, number {number}", "metadata": {MARK: f"{MARK} {number}"}}
    return Message(f"{MARK}-{number}".encode(), json.dumps(body).encode())


async def test_all_that_may_befall_a_record(neighbours: Neighbours, heard: Heard) -> None:
    """Every fault fires while a document is under way, and each document still comes to its end."""
    jina, qdrant = neighbours.jina, neighbours.qdrant
    numbers = iter(range(1000))
    refused = jina.inject("refuse", REFUSED)
    bad = qdrant.faults.inject(Fault(Kind.BAD_POINT, marker=BAD))
    async with at_work(neighbours.settings(), neighbours.kafka, heard) as worker:
        await worker.settle(document(next(numbers)))
        for kind, argument in JINA_FAULTS:
            fault = jina.inject(kind, argument, times=2)
            await worker.settle(document(next(numbers)))
            assert fault.fired > 0, kind
        for code in QDRANT_CODES:
            refusal = Refuser(code)
            qdrant.before = refusal
            await worker.settle(document(next(numbers)))
            assert refusal.fired == 1, code
            assert worker.failed("qdrant", code.name.lower()) > 0, code
        for kind in QDRANT_KINDS:
            hit = qdrant.faults.inject(Fault(kind, times=1, delay_s=0.05, retry_after_s=0))
            await worker.settle(document(next(numbers)))
            assert hit.fired == 1, kind
        await worker.settle(document(next(numbers), REFUSED), document(next(numbers), BAD), *POISON)
    assert refused.fired > 0
    assert bad.fired > 0
    letters = await neighbours.kafka.read_all("documents.dlq")
    assert len(letters) >= len(POISON) + 2
    ours = [header for letter in letters for header in letter.headers if header[0].startswith("__streamdex.")]
    assert len(ours) >= 12 * len(letters)
    heard.note(*ours, *letters)
    told = heard.all()
    assert "record.dead_lettered" in told
    assert "service.down" in told
    assert "account.refused" in told
    assert MARK not in told


class Refuser:
    """Refuses one write with this code, in words that quote the request, and takes all that come after it."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code
        self.fired = 0

    async def __call__(self, method: str, request: Any) -> None:
        if method == "Points.UpdateBatch" and not self.fired:
            self.fired += 1
            # Trailers have a bound of some KB, past which the client would see another code.
            raise Refusal(self._code, f"Wrong input: {MARK} in {str(request)[:500]!r}", (("x-quoted", MARK),))


async def test_bugs_of_ours_that_quote_what_they_met(
    neighbours: Neighbours, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired: list[str] = []

    def once(owner: type, name: str) -> None:
        """Make a method fail the first time, quoting what it was given."""
        real = getattr(owner, name)

        def fail(self: Any, *arguments: Any, **options: Any) -> Any:
            if name not in fired:
                fired.append(name)
                raise ValueError(f"{MARK}: {arguments} {options}")
            return real(self, *arguments, **options)

        monkeypatch.setattr(owner, name, fail)

    methods = [(Planner, "decide"), (Client, "embed"), (Index, "read_manifests"), (Index, "write")]
    async with at_work(neighbours.settings(), neighbours.kafka, heard) as worker:
        await worker.settle(document(0))
        for number, (owner, name) in enumerate(methods, start=1):
            once(owner, name)
            await worker.settle(document(number), document(100 + number))
    assert fired == [name for _, name in methods]
    told = heard.all()
    assert "internal.fault" in told
    assert MARK not in told


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("jina", {"api_key": f"jina_{MARK}_wrong"}),
        ("qdrant", {"api_key": f"qdrant_{MARK}_wrong"}),
        ("jina", {"base_url": "http://127.0.0.1:{closed}/v1"}),
        ("qdrant", {"grpc_port": "{closed}"}),
        ("kafka", {"bootstrap_servers": "127.0.0.1:{closed}"}),
    ],
)
async def test_neighbours_that_refuse_the_key_or_do_not_answer(
    section: str, changes: dict[str, str], neighbours: Neighbours, heard: Heard
) -> None:
    (closed,) = free_ports(1)
    settings = neighbours.settings(**{section: {key: value.format(closed=closed) for key, value in changes.items()}})
    await neighbours.kafka.produce("documents", [document(1)])
    async with at_work(settings, neighbours.kafka, heard) as worker:
        await worker.until(lambda: worker.pipeline.health.reasons)
        assert list(worker.pipeline.health.reasons) == [section]
    told = heard.all()
    assert section in told
    assert MARK not in told


@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 413, 422, 429, 500, 503])
async def test_answers_that_quote_the_request(status: int, neighbours: Neighbours, heard: Heard) -> None:
    """A server that puts key and question into every place of its answer where words may stand."""
    async with echo(status) as base_url:
        settings = neighbours.settings(jina={"base_url": base_url})
        with pytest.raises(StreamdexError) as caught:
            await search_collection(settings, f"what is a {MARK}?", limit=1)
    heard.note(caught.value, caught.value.__cause__, caught.value.args)
    assert "jina" in str(caught.value).lower() or "answer" in str(caught.value)
    assert MARK not in heard.all()


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


@pytest.fixture(scope="module")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address at which a real broker asks for a password."""
    plain, guarded, controller = free_ports(3)
    broker = KafkaBroker(
        tmp_path_factory.mktemp("guarded"), 1, plain, {1: controller}, _guarding(plain, guarded, controller)
    )
    try:
        broker.start()
    except (OSError, RuntimeError) as error:
        broker.stop()
        raise real_services.refusal(request.config, "Kafka", str(error)) from None
    yield f"127.0.0.1:{guarded}"
    broker.stop()


def _guarding(plain: int, guarded: int, controller: int) -> dict[str, str]:
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


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_password_that_kafka_refuses(
    mechanism: str, guarded_kafka: str, neighbours: Neighbours, tmp_path: Path
) -> None:
    """As a process, so that nothing that is printed in passing is missed. The last mechanism is not enabled."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": guarded_kafka,
        "STREAMDEX_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "STREAMDEX_KAFKA__SASL_MECHANISM": mechanism,
        "STREAMDEX_KAFKA__SASL_USERNAME": f"user-{MARK}",
        "STREAMDEX_KAFKA__SASL_PASSWORD": f"password-{MARK}",
        "JINA_API_KEY": JINA_KEY,
        "STREAMDEX_JINA__BASE_URL": neighbours.jina.base_url,
        "QDRANT_URL": f"http://{neighbours.qdrant.host}",
        "QDRANT_API_KEY": QDRANT_KEY,
        "STREAMDEX_QDRANT__GRPC_PORT": str(neighbours.qdrant.port),
        "STREAMDEX_WORKER__LOG_LEVEL": "debug",
    }
    async with WorkerProcess(environment, tmp_path / "worker.log") as worker:
        assert await worker.wait() == 2
    refused = "Kafka refuses the credentials" if mechanism != "SCRAM-SHA-512" else "do not offer this SASL mechanism"
    assert refused in worker.log
    assert "Traceback" not in worker.log
    assert MARK not in worker.log.lower()
