"""Every call of aiokafka that may hang has a limit: each is made to hang, and what we built on it ends all the same.

The table is complete: the last test finds all such calls in the code.
"""

import ast
import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.structs import OffsetAndMetadata

import streamdex
from streamdex.config import KafkaSettings
from streamdex.deadletter import DeadLetters, Resender
from streamdex.deadletter.headers import dead_letter_headers
from streamdex.deadletter.topics import prepare_topics
from streamdex.errors import Reason, RecordFault, ServiceFault, Stage
from streamdex.intake.back_pressure import BackPressure
from streamdex.intake.consumer.client import FencedConsumer, stop_consumer
from streamdex.intake.consumer.instance import Instance, member_ids
from streamdex.intake.consumer.membership import Membership
from streamdex.intake.consumer.session import Session, open_session
from streamdex.intake.consumer.watch import ConsumerRestart
from streamdex.kafka.client import connection_fault, finished_in_time, survey
from streamdex.kafka.rights import check_group, check_topics
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Partition, Position, Record
from streamdex.standins.produce import Message, create_topic, produce
from streamdex.telemetry import Health, Metrics

SETTINGS = KafkaSettings(topics=("documents",), bootstrap_servers="127.0.0.1:1")
A, AT_A = Partition("documents", 0), TopicPartition("documents", 0)
RECORD = Record("documents", 0, 7, 1, b"k", b"v", ())
END_S = 10.0  # real time within which everything must end; the limits themselves are cut to nearly nothing

PACKAGE = Path(streamdex.__file__).parent
COROUTINES = {
    name
    for kind in (AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient, AIOKafkaConnection, GroupCoordinator, Fetcher)
    for name, member in inspect.getmembers(kind)
    if inspect.iscoroutinefunction(member)
} | {"send"}  # a connection's, which returns an awaitable; so does its `close`, which need not be awaited

LIMITS = (
    "streamdex.kafka.client.PROBE_LIMIT_S",
    "streamdex.kafka.client.ADMIN_LIMIT_S",
    "streamdex.kafka.rights.ADMIN_LIMIT_S",
    "streamdex.kafka.client.CLOSE_LIMIT_S",
    "streamdex.intake.consumer.client.STOP_LIMIT_S",
    "streamdex.intake.consumer.client.LEAVE_LIMIT_S",
    "streamdex.intake.consumer.membership.COMMITTED_LIMIT_S",
    "streamdex.kafka.topic_reader.ANSWER_LIMIT_S",
    "streamdex.kafka.topic_reader.CLOSE_LIMIT_S",
    "streamdex.intake.consumer.session.OPEN_LIMIT_S",
    "streamdex.intake.consumer.session.COMMIT_LIMIT_S",
    "streamdex.intake.consumer.session.RANGES_LIMIT_S",
    "streamdex.intake.consumer.session.POLL_END_LIMIT_S",
    "streamdex.intake.consumer.session.WATCH_EVERY_S",
    "streamdex.intake.consumer.watch.POLL_STUCK_S",
    "streamdex.deadletter.client.OPEN_LIMIT_S",
    "streamdex.deadletter.client.STOP_LIMIT_S",
    "streamdex.deadletter.producer.SEND_LIMIT_S",
    "streamdex.deadletter.resender.SEND_LIMIT_S",
    "streamdex.standins.produce.OPEN_LIMIT_S",
    "streamdex.standins.produce.WINDOW_LIMIT_S",
    "streamdex.standins.produce.CLOSE_LIMIT_S",
)


NEVER = object()  # the answer to a send whose acknowledgement does not come
FAILS = object()  # the answer of a stop that fails, so that we take the client apart
WHOLE = ("admin", "self._consumer", "kafka", "self._kafka", "producer", "connection")
PARTS = {
    "coordinator": "_coordinator",
    "fetcher": "_fetcher",
    "kafka._client": "_client",
    "producer._sender": "_sender",
    "producer.client": "client",
}
LIBRDKAFKA = "librdkafka"


def _acknowledgement() -> "asyncio.Future[None]":
    acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    acknowledged.set_result(None)
    return acknowledged


class Part:
    """A client, or a part of one, whose calls answer at once; but the one that `whole.hangs` names never does."""

    generation = 1
    member_id = "member"
    _coordination_task = _heartbeat_task = _commit_refresh_task = _fetch_task = None

    def __init__(self, whole: "Client", *receivers: str) -> None:
        self._whole = whole
        self._receivers = receivers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        whole = self._whole

        async def call(*_: object, **__: object) -> Any:
            answer = whole.answers.get(name)
            if whole.hangs in [f"{receiver}.{name}" for receiver in self._receivers]:
                whole.fired = True
                if answer is not NEVER:
                    await asyncio.Event().wait()
                return asyncio.get_running_loop().create_future()
            if answer is FAILS:
                raise asyncio.CancelledError  # as aiokafka's own stop does with the broker down
            await asyncio.sleep(0)
            return _acknowledgement() if name == "send" else answer

        return call


class Client(Part):
    """Stands for any of aiokafka's clients."""

    def __init__(self, hangs: str, answers: Mapping[str, Any]) -> None:
        super().__init__(self, *WHOLE)
        self.hangs = hangs
        self.fired = False
        self.answers = {
            "describe_topics": [{"topic": "documents", "partitions": [{"replicas": [1]}]}],
            "describe_cluster": {"cluster_id": "c", "controller_id": 1, "brokers": [{"node_id": 1}]},
            "describe_configs": [],
            "create_topics": SimpleNamespace(topic_errors=[]),
            "beginning_offsets": {AT_A: 0},
            "end_offsets": {AT_A: 9},
            "committed": 0,
            "position": 0,
            "getmany": {},
            "partitions_for": {0},
            "find_coordinator": 1,
            "list_consumer_group_offsets": {AT_A: OffsetAndMetadata(0, "")},
            **answers,
        }
        for receiver, attribute in PARTS.items():
            setattr(self, attribute, Part(self, receiver))
        self._message_accumulator = SimpleNamespace(fail_all=lambda _: None)

    def create_batch(self) -> Any:
        return SimpleNamespace(append=lambda **_: None, close=lambda: None)

    def assign(self, _: object) -> None: ...

    def seek(self, *_: object) -> None: ...

    def subscribe(self, topics: object, listener: Any) -> None:
        listener.on_partitions_assigned([AT_A])

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0}

    async def connect(self, *_: object, **__: object) -> Any:
        """Stands for `create_conn`."""
        if self.hangs == "create_conn":
            self.fired = True
            await asyncio.Event().wait()
        return SimpleNamespace(send=self.send, close=lambda: None)


class Owner:
    """The pipeline's side."""

    async def assigned(self, committed: Any) -> dict[Partition, int]:
        return dict.fromkeys(committed, 0)

    async def revoked(self, _: object) -> None: ...


def session_of(client: Client) -> Session:
    return Session(client, SETTINGS, BackPressure(64, 10**6), Health(), Metrics())


async def work(client: Client) -> ConsumerRestart | None:
    """A session's life, to its end."""
    session = session_of(client)
    cause = await session.work(Owner(), lambda *_: None, asyncio.Event())
    await session.close()
    return cause


async def committing(kafka: Any) -> None:
    session = session_of(kafka)
    membership: Any = SimpleNamespace(may_commit=lambda _: True)  # the partition is ours
    session._member = SimpleNamespace(membership=membership)  # type: ignore[assignment]  # all that a commit asks
    await session.commit({A: 1})


async def committing_fenced(client: Client) -> None:
    """The shipped commit, on a coordinator that hangs."""
    kafka = object.__new__(FencedConsumer)
    kafka._closed, kafka._coordinator = True, client._coordinator
    await committing(kafka)


async def committed_fenced(client: Client) -> None:
    """The shipped question, on a coordinator that hangs."""
    kafka = object.__new__(FencedConsumer)
    kafka._closed, kafka._coordinator = True, client._coordinator
    instance = Instance(SETTINGS, Health(), str, lambda: None)
    await Membership(kafka, Owner(), instance, Health(), Metrics())._committed([A])


async def committed(client: Client) -> None:
    instance = Instance(SETTINGS, Health(), str, lambda: None)
    await Membership(client, Owner(), instance, Health(), Metrics())._committed([A])


async def sending(_: Client, record: Record = RECORD) -> None:
    dead_letters = DeadLetters(SETTINGS, "w", Health(), Metrics())
    fault = RecordFault(Stage.DECODE, Reason.NO_ID, "none")
    try:
        await dead_letters.send(record, fault, Position("documents", 0, 0, 7, 1), 1)
    finally:
        await dead_letters.close()


async def closing_letters(_: Client) -> None:
    dead_letters = DeadLetters(SETTINGS, "w", Health(), Metrics())
    await dead_letters._connected()
    await dead_letters.close()


async def resending(_: Client) -> None:
    position = Position("documents", 0, 0, 7, 1)
    headers = dead_letter_headers(RECORD, RecordFault(Stage.DECODE, Reason.NO_ID, "none"), position, 1, "w")
    async with Resender(SETTINGS) as resender:
        await resender.send(RECORD._replace(topic="documents.dlq", headers=headers))


async def reading(_: Client) -> None:
    async with TopicReader(SETTINGS) as reader:
        await reader.ranges(["documents"])
        await reader.committed([A])
        async for _record in reader.records({A: (0, 9)}):
            break


async def entering(_: Client) -> None:
    async with TopicReader(SETTINGS):
        pass


async def producing(_: Client) -> None:
    await produce(SETTINGS, "documents", [Message(b"k", b"v")], lambda _: None)


async def probing(_: Client) -> None:
    assert "no broker answers" in str(await connection_fault(SETTINGS))


async def ending(client: Client) -> None:
    await stop_consumer(client)


class Row(NamedTuple):
    """A call that hangs, what of ours makes it, and how that ends: a fault, a cause to start anew, or just an end."""

    call: str
    ours: Callable[[Client], Awaitable[object]]
    ends: type[Exception] | ConsumerRestart | None = ServiceFault
    answers: Mapping[str, Any] = MappingProxyType({})


APART = {"stop": FAILS}
EMPTY = Record("documents", 0, 7, 1, None, None, ())
TABLE = (
    Row("kafka/client.py admin.start", lambda _: survey(SETTINGS, ["documents"])),
    Row("kafka/client.py admin.describe_topics", lambda _: survey(SETTINGS, ["documents"])),
    Row("kafka/client.py admin.describe_cluster", lambda _: survey(SETTINGS, ["documents"])),
    Row("kafka/client.py admin.close", lambda _: survey(SETTINGS, ["documents"]), None),
    Row("kafka/client.py create_conn", probing, None),
    Row("kafka/client.py connection.send", probing, None),
    Row("intake/consumer/instance.py admin.describe_consumer_groups", lambda _: member_ids(SETTINGS)),
    Row("kafka/client.py admin.list_consumer_group_offsets", reading),
    Row("kafka/topic_reader.py self._consumer.start", reading),
    Row("kafka/topic_reader.py self._consumer.beginning_offsets", reading),
    Row("kafka/topic_reader.py self._consumer.end_offsets", reading),
    Row("kafka/topic_reader.py self._consumer.getmany", reading),
    Row("kafka/topic_reader.py self._consumer.position", reading),
    Row("kafka/topic_reader.py self._consumer.stop", entering, None),
    Row(
        "kafka/client.py kafka.start",
        lambda _: open_session(SETTINGS, 1, BackPressure(64, 10**6), Health(), Metrics()),
    ),
    Row("intake/consumer/session.py self._kafka.commit", committing),
    Row("intake/consumer/session.py self._kafka.beginning_offsets", lambda client: session_of(client).log_ranges([A])),
    Row("intake/consumer/session.py self._kafka.end_offsets", lambda client: session_of(client).log_ranges([A])),
    Row("intake/consumer/membership.py self._kafka.committed", committed),
    Row("intake/consumer/poller.py self._kafka.getmany", work, ConsumerRestart.POLL_STUCK),
    Row("intake/consumer/poller.py self._kafka.position", work, ConsumerRestart.POLL_STUCK, {"getmany": {AT_A: []}}),
    Row("intake/consumer/client.py kafka.stop", ending, None),
    Row("intake/consumer/client.py coordinator._stop_heartbeat_task", ending, None, APART),
    Row("intake/consumer/client.py coordinator._stop_commit_offsets_refresh_task", ending, None, APART),
    Row("intake/consumer/client.py coordinator._maybe_leave_group", ending, None, APART),
    Row("intake/consumer/client.py fetcher.close", ending, None, APART),
    Row("intake/consumer/client.py kafka._client.close", ending, None, APART),
    Row("intake/consumer/client.py coordinator.ensure_coordinator_known", committing_fenced),
    Row("intake/consumer/client.py coordinator._do_commit_offsets", committing_fenced),
    Row("intake/consumer/client.py coordinator.ensure_coordinator_known", committed_fenced),
    Row("intake/consumer/client.py coordinator._send_req", committed_fenced),
    Row("deadletter/topics.py admin.describe_configs", lambda _: prepare_topics(SETTINGS, create=True)),
    Row("deadletter/topics.py admin.describe_cluster", lambda _: prepare_topics(SETTINGS, create=True)),
    Row("deadletter/topics.py admin.describe_topics", lambda _: prepare_topics(SETTINGS, create=True)),
    Row("deadletter/topics.py admin.create_topics", lambda _: prepare_topics(SETTINGS, create=True)),
    Row("kafka/client.py kafka.start", sending),
    Row("deadletter/client.py producer.partitions_for", sending),
    Row("deadletter/client.py producer.send", sending),
    Row("deadletter/client.py producer.send", sending, answers={"send": NEVER}),
    Row("deadletter/client.py producer.send_batch", lambda client: sending(client, EMPTY)),
    Row("deadletter/client.py producer.stop", closing_letters, None),
    Row("deadletter/client.py producer._sender.close", closing_letters, None, APART),
    Row("deadletter/client.py producer.client.close", closing_letters, None, APART),
    Row("kafka/client.py kafka.start", resending),
    Row("deadletter/client.py producer.partitions_for", resending),
    Row("deadletter/client.py producer.send", resending),
    Row("deadletter/client.py producer.send", resending, answers={"send": NEVER}),
    Row("deadletter/client.py producer.stop", resending, None),
    Row("kafka/rights.py admin.describe_cluster", lambda _: check_topics(SETTINGS, SETTINGS.topics)),
    Row("kafka/rights.py admin.describe_cluster", lambda _: check_group(SETTINGS)),
    Row("kafka/rights.py librdkafka.describe_topics", lambda _: check_topics(SETTINGS, SETTINGS.topics)),
    Row("kafka/rights.py librdkafka.describe_consumer_groups", lambda _: check_group(SETTINGS)),
    Row("standins/produce.py admin.create_topics", lambda _: create_topic(SETTINGS, "documents", 1)),
    Row("standins/produce.py producer.start", producing),
    Row("standins/produce.py producer.send", producing),
    Row("standins/produce.py producer.send", producing, answers={"send": NEVER}),
    Row("standins/produce.py producer.stop", producing, None),
)


class Librdkafka:
    """Stands for confluent-kafka's AdminClient: futures in place of coroutines."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def describe_topics(self, topics: Any, **_: object) -> dict[str, "Future[Any]"]:
        return {name: self._answer("describe_topics") for name in topics.topic_names}

    def describe_consumer_groups(self, groups: Sequence[str], **_: object) -> dict[str, "Future[Any]"]:
        return {name: self._answer("describe_consumer_groups") for name in groups}

    def _answer(self, method: str) -> "Future[Any]":
        future: Future[Any] = Future()
        if self._client.hangs == f"{LIBRDKAFKA}.{method}":
            self._client.fired = True
        else:
            future.set_result(SimpleNamespace(authorized_operations=None))
        return future


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """All limits next to nothing."""
    for limit in LIMITS:
        monkeypatch.setattr(limit, 0.05)
    return monkeypatch


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.call)
async def test_what_hangs_ends(short: pytest.MonkeyPatch, row: Row) -> None:
    client = Client(row.call.split()[1], row.answers)
    for place in (
        "streamdex.kafka.client.AIOKafkaAdminClient",
        "streamdex.kafka.topic_reader.AIOKafkaConsumer",
        "streamdex.intake.consumer.session.make_consumer",
        "streamdex.deadletter.client.AIOKafkaProducer",
        "streamdex.standins.produce.AIOKafkaProducer",
    ):
        short.setattr(place, lambda *_, **__: client)
    short.setattr("streamdex.kafka.client.create_conn", client.connect)
    short.setattr("confluent_kafka.admin.AdminClient", lambda *_, **__: Librdkafka(client))
    async with asyncio.timeout(END_S):
        if isinstance(row.ends, type):
            with pytest.raises(row.ends):
                await row.ours(client)
        else:
            ended = await row.ours(client)
            assert row.ends in (None, ended)
    assert client.fired


async def test_a_stop_that_does_not_even_heed_its_cancellation_ends() -> None:
    async def deaf() -> None:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async with asyncio.timeout(END_S):
        assert not await finished_in_time(deaf(), 0.01)


def test_the_table_has_every_call() -> None:
    found = {call for file in files() for call in calls_in(file)}
    assert found == {row.call for row in TABLE}


def files() -> Iterator[Path]:
    """Where aiokafka may be used: the architecture's contracts forbid it elsewhere."""
    for file in PACKAGE.rglob("*.py"):
        if "aiokafka" in file.read_text(encoding="utf-8"):
            yield file


def calls_in(file: Path) -> Iterator[str]:
    """Calls of coroutines of aiokafka's, as the table names them."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        receiver, _, method = name.rpartition(".")
        if name == "connection.close":
            continue
        if name == "create_conn" or (receiver in (*WHOLE, *PARTS, LIBRDKAFKA) and method in COROUTINES):
            yield f"{file.relative_to(PACKAGE).as_posix()} {name}"
