"""A worker through all that may go wrong, at its most talkative: no key, password, text, metadata or id comes out.

Every secret and everything of the user's carries the mark; nothing that is logged, printed, counted, held up as a
reason or written into a dead letter's own headers may.
"""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import grpc
import pytest
import structlog

from harness import services as real_services
from harness.bounds import Bound, set_bound
from harness.canaries import JINA_KEY, MARK, QDRANT_KEY, EmbeddedServices, Heard, at_work, echo, guarding
from harness.kafka import Kafka, Message
from harness.kafka_broker import KafkaBroker, free_ports
from harness.processes import WorkerProcess
from streamdex.embed.http.client import JinaClient
from streamdex.errors import StreamdexError
from streamdex.index import Reader, Writer
from streamdex.operations.search import search_collection
from streamdex.plan import Planner
from streamdex.standins.broker import EmbeddedBroker
from streamdex.standins.jina import JinaServer, Options
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault
from streamdex.standins.qdrant.refusals import QdrantRefusal
from streamdex.telemetry import configure_logging

REFUSED = f"a {MARK} that Jina refuses"
BAD = f"a {MARK} that Qdrant refuses"

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
    FaultKind.RATE_LIMITED,
    FaultKind.INSUFFICIENT_STORAGE,
    FaultKind.DISK_FULL,
    FaultKind.WAIT_TIMEOUT,
    FaultKind.LOST_ANSWER,
    FaultKind.RESET,
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
    Message(f"key-{MARK}".encode(), json.dumps({"id": [MARK], "text": MARK}).encode()),
    Message(f"key-{MARK}".encode(), b'{"text": "kakapo", "metadata": ' + b'{"kakapo":' * 40 + b"1" + b"}" * 41),
    Message(f"key-{MARK}".encode(), json.dumps({"text": MARK, "metadata": {MARK: 2**70}}).encode()),
    Message(f"key-{MARK}".encode(), json.dumps({"text": f"{MARK} " * 1000}).encode()),
    Message(f"key-{MARK}".encode(), None, [("streamdex.version", MARK.encode())]),
    Message(f"key-{MARK}".encode(), b'{"text": "kakapo"}', [("__streamdex.topic", MARK.encode())]),
]


@pytest.fixture
async def neighbours() -> AsyncIterator[EmbeddedServices]:
    broker = EmbeddedBroker()
    async with JinaServer(Options(api_key=JINA_KEY)) as jina, EmbeddedQdrant(api_key=QDRANT_KEY) as qdrant:
        yield EmbeddedServices(Kafka(broker.start()), jina, qdrant)
    broker.stop()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits become short: what is looked at here is what is said, not when."""
    set_bound(monkeypatch, Bound.BASE_S, 0.02)
    set_bound(monkeypatch, Bound.CAP_S, 0.1)
    set_bound(monkeypatch, Bound.ACCOUNT_RETRY_S, 0.05)


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


def document(number: int, text: str = f"a text on the {MARK}") -> Message:
    body = {"id": f"{MARK}-{number}", "text": f"{text}, number {number}", "metadata": {MARK: f"{MARK} {number}"}}
    return Message(f"{MARK}-{number}".encode(), json.dumps(body).encode())


async def test_all_that_may_befall_a_record(neighbours: EmbeddedServices, heard: Heard) -> None:
    """Every fault fires while a document is under way, and each document still comes to its end."""
    jina, qdrant = neighbours.jina, neighbours.qdrant
    numbers = iter(range(1000))
    refused = jina.inject("refuse", REFUSED)
    bad = qdrant.faults.inject(QdrantFault(FaultKind.BAD_POINT, marker=BAD))
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
            hit = qdrant.faults.inject(QdrantFault(kind, times=1, delay_s=0.05, retry_after_s=0))
            await worker.settle(document(next(numbers)))
            assert hit.fired == 1, kind
        await worker.settle(document(next(numbers), REFUSED), document(next(numbers), BAD), *POISON)
    assert refused.fired > 0
    assert bad.fired > 0
    dead_letters = await neighbours.kafka.read_all("documents.dlq")
    assert len(dead_letters) >= len(POISON) + 2
    ours = [
        header for dead_letter in dead_letters for header in dead_letter.headers if header[0].startswith("__streamdex.")
    ]
    assert len(ours) >= 12 * len(dead_letters)
    heard.note(*ours, *dead_letters)
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
            raise QdrantRefusal(self._code, f"Wrong input: {MARK} in {str(request)[:500]!r}", (("x-quoted", MARK),))


async def test_bugs_of_ours_that_quote_what_they_met(
    neighbours: EmbeddedServices, heard: Heard, monkeypatch: pytest.MonkeyPatch
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

    methods = [(Planner, "plan"), (JinaClient, "embed"), (Reader, "manifests"), (Writer, "write")]
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
    section: str, changes: dict[str, str], neighbours: EmbeddedServices, heard: Heard
) -> None:
    (closed,) = free_ports(1)
    settings = neighbours.settings(**{section: {key: value.format(closed=closed) for key, value in changes.items()}})
    await neighbours.kafka.produce("documents", [document(1)])
    async with at_work(settings, neighbours.kafka, heard) as worker:
        await worker.until(lambda: section in worker.worker.health.reasons)
    told = heard.all()
    assert section in told
    assert MARK not in told


@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 413, 422, 429, 500, 503])
async def test_answers_that_quote_the_request(status: int, neighbours: EmbeddedServices, heard: Heard) -> None:
    """A server that puts key and question into every place of its answer where words may stand."""
    async with echo(status) as base_url:
        settings = neighbours.settings(jina={"base_url": base_url})
        with pytest.raises(StreamdexError) as caught:
            await search_collection(settings, f"what is a {MARK}?", limit=1)
    heard.note(caught.value, caught.value.__cause__, caught.value.args)
    assert "jina" in str(caught.value).lower() or "answer" in str(caught.value)
    assert MARK not in heard.all()


@pytest.fixture(scope="module")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address at which a real broker asks for a password."""
    plain, guarded, controller = free_ports(3)
    broker = KafkaBroker(
        tmp_path_factory.mktemp("guarded"), 1, plain, {1: controller}, guarding(plain, guarded, controller)
    )
    try:
        broker.start()
    except (OSError, RuntimeError) as error:
        broker.stop()
        raise real_services.refusal(request.config, "Kafka", str(error)) from None
    yield f"127.0.0.1:{guarded}"
    broker.stop()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_password_that_kafka_refuses(
    mechanism: str, guarded_kafka: str, neighbours: EmbeddedServices, tmp_path: Path
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
