"""Dead letters on real Kafka: byte for byte, their topics, and a broker that goes away."""

import asyncio
import time

import pytest
import structlog

from harness.bounds import Bound, set_bound
from harness.kafka import Kafka, Message
from harness.kafka_broker import KafkaBroker
from streamdex.config import KafkaSettings
from streamdex.deadletter import DeadLetters, parse_dead_letter
from streamdex.deadletter.topics import prepare_topics
from streamdex.errors import AccountFault, ConfigurationError, Reason, RecordFault, ServiceFault, Stage
from streamdex.model import Position, Record
from streamdex.telemetry import Health, Metrics

FAULT = RecordFault(Stage.DECODE, Reason.UNDECODABLE, "the value is not JSON")


def dead_letters(kafka: Kafka, *topics: str, health: Health | None = None, **settings: str) -> DeadLetters:
    kafka_settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topics=topics, **settings)
    return DeadLetters(kafka_settings, "worker-1", health or Health(), Metrics())


def position(record: Record) -> Position:
    return Position(record.topic, record.partition, 0, record.offset, record.timestamp_ms)


async def send(sender: DeadLetters, record: Record) -> None:
    await sender.send(record, FAULT, position(record), 1_800)


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k", b"v", ()),
        (None, b"\x00\xff not text", (("a", b"1"), ("a", b"2"), ("null", None), ("é", b"\xff"))),
        (b"", b"", (("", b""),)),
        (b"only a key", None, ()),
        (None, None, (("lonely", b"x"),)),
        (b"k", b"x" * 1_000_000, ()),
    ],
)
async def test_a_letter_is_the_record_byte_for_byte(
    kafka: Kafka, key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    topic = await kafka.create_topic(partitions=2)
    sender = dead_letters(kafka, topic)
    await sender.start()
    try:
        await send(sender, Record(topic, 1, 7, 1_700, key, value, headers))
    finally:
        await sender.close()
    (dead_letter,) = await kafka.read_all(f"{topic}.dlq")
    assert (dead_letter.partition, dead_letter.key, dead_letter.value) == (1, key, value)
    assert dead_letter.headers[: len(headers)] == headers
    facts = parse_dead_letter(dead_letter)
    assert facts.position == Position(topic, 1, 0, 7, 1_700)
    assert (facts.reason, facts.message) == ("undecodable", "the value is not JSON")
    assert dead_letter.timestamp_ms > 1_700  # its own, or retention would delete an old one at once


async def test_a_compressed_record_that_fills_its_topic_fits_as_a_letter(kafka: Kafka) -> None:
    """max.message.bytes bounds what was compressed: what came out of it may be many times larger."""
    topic = await kafka.create_topic(config={"max.message.bytes": "100000"})
    await kafka.produce(topic, [Message(b"k", b"long and dull " * 50_000)], codec="gzip")
    (record,) = await kafka.read_all(topic)
    sender = dead_letters(kafka, topic)
    await sender.start()
    try:
        await send(sender, record)
    finally:
        await sender.close()
    (dead_letter,) = await kafka.read_all(f"{topic}.dlq")
    assert dead_letter.value == record.value


async def test_the_topic_is_made_like_its_source_with_room_for_headers(kafka: Kafka) -> None:
    topic = await kafka.create_topic(partitions=3, config={"max.message.bytes": "2000000"})
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topics=(topic,))
    (made,) = await prepare_topics(settings, create=True)
    assert made == (f"{topic}.dlq", 3, 2_065_536, 2_065_536, True)
    (found,) = await prepare_topics(settings, create=False)
    assert found == (f"{topic}.dlq", 3, 2_065_536, 2_065_536, False)
    assert await dead_letters(kafka, topic).check_topics(create=False) == f"{topic}.dlq with 3 partitions"


async def test_a_missing_topic_is_named_with_its_mend(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    with pytest.raises(ConfigurationError, match=rf"{topic}\.dlq is not there") as caught:
        await dead_letters(kafka, topic).check_topics(create=False)
    assert "check --create" in caught.value.fix
    assert await dead_letters(kafka, topic).check_topics(create=True) == f"{topic}.dlq with 1 partitions, created"


async def test_a_topic_that_takes_too_little_is_told(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    await kafka.create_topic(f"{topic}.dlq", config={"max.message.bytes": "1000"})
    assert "it takes 1000 bytes, raise max.message.bytes to" in await dead_letters(kafka, topic).check_topics(
        create=True
    )


async def test_several_sources_may_share_one_topic(kafka: Kafka) -> None:
    one, two = await kafka.create_topic(partitions=1), await kafka.create_topic(partitions=4)
    shared = kafka.unique_topic("dead")
    said = await dead_letters(kafka, one, two, dead_letter_topic=shared).check_topics(create=True)
    assert said == f"{shared} with 4 partitions, created"


async def test_a_topic_cannot_be_its_own_dead_letter_topic(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    with pytest.raises(ConfigurationError, match="its own"):
        await dead_letters(kafka, topic, dead_letter_topic="{topic}").start()


async def test_a_record_too_large_for_the_topic_waits_for_its_fix_and_others_go_on(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    await kafka.create_topic(f"{topic}.dlq", config={"max.message.bytes": "5000"})
    health = Health()
    sender = dead_letters(kafka, topic, health=health)
    await sender.start()
    large = Record(topic, 0, 1, 1, b"k", bytes(range(256)) * 100_000)
    try:
        for _ in range(2):
            with pytest.raises(AccountFault, match=r"max\.message\.bytes"):
                await send(sender, large)
            assert "dead letters" in health.reasons
            await send(sender, Record(topic, 0, 2, 1, b"k", b"small"))
            assert health.reasons == {}
    finally:
        await sender.close()
    assert [dead_letter.value for dead_letter in await kafka.read_all(f"{topic}.dlq")] == [b"small"] * 2


async def test_many_tasks_send_at_once(kafka: Kafka) -> None:
    topic = await kafka.create_topic(partitions=2)
    sender = dead_letters(kafka, topic)
    await sender.start()
    try:
        await asyncio.gather(*(send(sender, Record(topic, n % 2, n, 1, b"%d" % n, b"v")) for n in range(200)))
    finally:
        await sender.close()
    found = await kafka.read_all(f"{topic}.dlq")
    assert sorted(int(dead_letter.key or b"") for dead_letter in found) == list(range(200))


async def test_a_send_while_the_broker_is_down_is_limited_in_time_and_comes_again(
    kafka_node: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_bound(monkeypatch, Bound.SEND_LIMIT_S, 1.0)
    set_bound(monkeypatch, Bound.STOP_LIMIT_S, 0.5)
    kafka = Kafka(kafka_node.bootstrap_servers)
    topic = await kafka.create_topic()
    health = Health()
    sender = dead_letters(kafka, topic, health=health)
    await sender.start()
    await send(sender, Record(topic, 0, 1, 1, b"k", b"before"))
    await asyncio.to_thread(kafka_node.kill9)
    began_s = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(ServiceFault):
                await send(sender, Record(topic, 0, 2, 1, b"k", b"meanwhile"))
    (restart,) = [line for line in logs if line["event"] == "kafka.restarted"]  # the second found nobody to connect to
    assert (restart["client"], restart["cause"], restart["restarts"]) == ("producer", "send_unanswered", 1)
    assert "dead letters" in health.reasons
    assert time.monotonic() - began_s < 30
    await asyncio.to_thread(kafka_node.start)
    deadline_s = time.monotonic() + 30
    while True:
        try:
            await send(sender, Record(topic, 0, 2, 1, b"k", b"after"))
            break
        except ServiceFault:
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.2)
    await asyncio.to_thread(kafka_node.kill9)
    async with asyncio.timeout(10):
        await sender.close()
    await asyncio.to_thread(kafka_node.start)
    values = [dead_letter.value for dead_letter in await kafka.read_all(f"{topic}.dlq")]
    assert values[0] == b"before"
    assert values[-1] == b"after"


async def test_close_is_safe_at_any_time(kafka: Kafka) -> None:
    topic = await kafka.create_topic()
    sender = dead_letters(kafka, topic)
    await sender.close()
    await sender.close()
    with pytest.raises(ServiceFault, match="closed"):
        await send(sender, Record(topic, 0, 1, 1, b"k", b"v"))


async def test_no_broker_is_a_service_fault() -> None:
    with pytest.raises(ServiceFault, match="no broker at"):
        await dead_letters(Kafka("127.0.0.1:1"), "documents").start()
