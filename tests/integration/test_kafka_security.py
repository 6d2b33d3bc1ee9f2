"""Secured listeners of a real broker: right settings work everywhere, and wrong ones are named in one sentence."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from harness.cli import Cli, kafka_alone
from harness.intake_worker import Worker, numbered, until
from harness.kafka import Kafka
from harness.kafka_security import LISTENERS, SecuredBroker
from streamdex.config import KafkaSettings
from streamdex.deadletter import DeadLetters
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Position, Record
from streamdex.telemetry import Health, Metrics

Changes = Mapping[str, Any]

RIGHT: list[tuple[str, Changes]] = [
    ("SASL", {"sasl_mechanism": "PLAIN"}),
    ("SASL", {"sasl_mechanism": "SCRAM-SHA-256"}),
    ("SASL", {"sasl_mechanism": "SCRAM-SHA-512"}),
    ("TLS", {}),
    ("MTLS", {}),
    ("SASLTLS", {}),
]

# A listener, what is wrong in the settings, and the setting that the user is told.
WRONG: list[tuple[str, Changes, str]] = [
    ("SASL", {"sasl_mechanism": "PLAIN", "sasl_password": "kakapo-wrong"}, "kafka.sasl_password"),
    ("SASL", {"sasl_mechanism": "SCRAM-SHA-256", "sasl_password": "kakapo-wrong"}, "kafka.sasl_password"),
    ("SASLTLS", {"sasl_password": "kakapo-wrong"}, "kafka.sasl_password"),
    ("SASL", {"sasl_username": "nobody"}, "kafka.sasl_username"),
    ("SASLTLS", {"sasl_mechanism": "PLAIN"}, "kafka.sasl_mechanism"),
    ("TLS", {"ssl_cafile": "stranger"}, "kafka.ssl_cafile"),
    ("TLS", {"ssl_cafile": None}, "kafka.ssl_cafile"),
    ("SASLTLS", {"ssl_cafile": "stranger"}, "kafka.ssl_cafile"),
    ("MTLS", {"ssl_certfile": None, "ssl_keyfile": None}, "kafka.ssl_certfile"),
    ("MTLS", {"ssl_certfile": "strange_certificate", "ssl_keyfile": "strange_key"}, "kafka.ssl_certfile"),
    ("MTLS", {"ssl_keyfile": "strange_key"}, "kafka.ssl_keyfile"),
    ("TLS", {"security_protocol": "PLAINTEXT"}, "kafka.security_protocol"),
    ("SASL", {"security_protocol": "PLAINTEXT"}, "kafka.security_protocol"),
    ("SASLTLS", {"security_protocol": "SSL"}, "kafka.security_protocol"),
    ("SASLTLS", {"security_protocol": "SASL_PLAINTEXT"}, "kafka.security_protocol"),
    ("PLAINTEXT", {"security_protocol": "SSL"}, "kafka.security_protocol"),
    (
        "TLS",
        {"security_protocol": "SASL_SSL", "sasl_username": "alice", "sasl_password": "kakapo"},
        "kafka.security_protocol",
    ),
]


def named_by(value: str | Changes) -> str:
    """A test's name tells the listener and what is changed."""
    return (
        value
        if isinstance(value, str)
        else "-".join(f"{name}={change}" for name, change in value.items()) or "as_it_is"
    )


def settings_of(secured: SecuredBroker, listener: str, changes: Changes) -> dict[str, Any]:
    """Where a change names a file of the broker's, that is meant."""
    files = secured.files._asdict()
    meant = {name: files.get(value, value) if isinstance(value, str) else value for name, value in changes.items()}
    return secured.settings(listener, **meant)


def check(cli: Cli, settings: Mapping[str, Any], topic: str) -> dict[str, Any]:
    """The line on Kafka of `streamdex check`. Jina and Qdrant are not there, and not looked at."""
    found = cli("check", "--json", "--create", env=kafka_alone({**settings, "topics": topic})).lines
    assert found["dead letters"]["ok"] == found["kafka"]["ok"]
    return found["kafka"]


@pytest.mark.parametrize(("listener", "changes"), RIGHT, ids=named_by)
async def test_with_the_right_settings_records_and_dead_letters_pass(
    secured: SecuredBroker, listener: str, changes: Changes
) -> None:
    kafka = Kafka(secured.addresses["PLAINTEXT"])
    topic, group = await kafka.create_topic(), kafka.unique_group()
    await kafka.produce(topic, numbered(5))
    own = settings_of(secured, listener, changes)
    worker = Worker(kafka, topic, group, settings=own)
    async with worker.running():
        await until(lambda: len(worker.read) == 5, "all records")
    assert await kafka.committed(group) == await kafka.end_offsets(topic)

    settings = KafkaSettings(topics=(topic,), **own)
    dead_letters = DeadLetters(settings, "worker-1", Health(), Metrics())
    await dead_letters.start()
    try:
        record = Record(topic, 0, 1, 1, b"k", b"v", ())
        await dead_letters.send(
            record, RecordFault(Stage.DECODE, Reason.NO_ID, "none"), Position(topic, 0, 0, 1, 1), 1, replays=0
        )
    finally:
        await dead_letters.close()
    async with TopicReader(settings) as reader:
        ranges = await reader.ranges([f"{topic}.dlq"])
        assert [dead_letter.value async for dead_letter in reader.records(ranges)] == [b"v"]


@pytest.mark.parametrize(("listener", "changes"), RIGHT, ids=named_by)
def test_check_is_content_with_the_right_settings(
    cli: Cli, secured: SecuredBroker, listener: str, changes: Changes
) -> None:
    topic = asyncio.run(Kafka(secured.addresses["PLAINTEXT"]).create_topic())
    line = check(cli, settings_of(secured, listener, changes), topic)
    assert line["ok"]
    assert f"{topic} with 1 partitions" in line["message"]


@pytest.mark.parametrize(("listener", "changes", "named"), WRONG, ids=named_by)
def test_check_names_the_setting_that_is_wrong(
    cli: Cli, secured: SecuredBroker, listener: str, changes: Changes, named: str
) -> None:
    line = check(cli, settings_of(secured, listener, changes), "documents")
    assert not line["ok"]
    assert named in f"{line['message']} {line['fix']}"
    assert "\n" not in line["message"]


def test_every_listener_is_tried() -> None:
    assert {listener for listener, _ in RIGHT} | {"PLAINTEXT"} == set(LISTENERS)
