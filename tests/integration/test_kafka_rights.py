"""Users whose rights are limited, on a real broker: what README lists is enough, and `check` names what is missing."""

import asyncio
from typing import Any, NamedTuple

import pytest

from harness.cli import Cli, CommandResult, kafka_alone
from harness.intake_worker import Worker, numbered, until
from harness.kafka import Kafka
from harness.kafka_security import Right, SecuredBroker, grant, make_user
from streamdex.config import KafkaSettings
from streamdex.deadletter import DeadLetters
from streamdex.errors import ConfigurationError, Reason, RecordFault, Stage
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Position, Record
from streamdex.telemetry import Health, Metrics

# What the worker needs, by what it needs it for.
ENOUGH = {"topic": "READ", "dead_letters": "WRITE", "group": "READ"}

# What is granted instead for one of them, None for nothing; the check that fails, and what it says.
TOO_LITTLE: list[tuple[str, str | None, str, str]] = [
    ("topic", None, "kafka", "is not there (kafka.topics)"),
    ("topic", "DESCRIBE", "kafka", "may not read the topic"),
    ("topic", "WRITE", "kafka", "may not read the topic"),
    ("group", None, "kafka", "may not use the consumer group"),
    ("group", "DESCRIBE", "kafka", "may not use the consumer group"),
    ("dead_letters", None, "dead letters", "is not there (kafka.dead_letter_topic)"),
    ("dead_letters", "DESCRIBE", "dead letters", "may not write to the topic"),
    ("dead_letters", "READ", "dead letters", "may not write to the topic"),
]


class Place(NamedTuple):
    """A user with a topic that holds five records, its dead-letter topic, and a group, none of them granted yet."""

    broker: SecuredBroker
    user: str
    topic: str

    @property
    def kafka(self) -> Kafka:
        """The cluster, for who may do anything."""
        return Kafka(self.broker.addresses["PLAINTEXT"])

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the user."""
        own = self.broker.settings("SASL", sasl_username=self.user)
        return {**own, "topics": self.topic, "group_id": self.user}

    def allow(self, **operations: str | None) -> None:
        """Grant an operation on the topic, the dead letters or the group."""
        resources = {
            "topic": ("TOPIC", self.topic),
            "dead_letters": ("TOPIC", f"{self.topic}.dlq"),
            "group": ("GROUP", self.user),
        }
        rights = [Right(*resources[name], operation) for name, operation in operations.items() if operation]
        grant(self.broker.addresses["PLAINTEXT"], self.user, rights)


async def place_on(broker: SecuredBroker, *, dead_letters: bool = True) -> Place:
    kafka = Kafka(broker.addresses["PLAINTEXT"])
    topic = await kafka.create_topic()
    await kafka.produce(topic, numbered(5))
    if dead_letters:
        await kafka.create_topic(f"{topic}.dlq")
    user = kafka.unique_group()
    make_user(broker.addresses["PLAINTEXT"], user)
    return Place(broker, user, topic)


async def send_a_letter(place: Place) -> None:
    dead_letters = DeadLetters(KafkaSettings.model_validate(place.settings), "worker-1", Health(), Metrics())
    try:
        await dead_letters.start()
        record = Record(place.topic, 0, 1, 1, b"k", b"v", ())
        fault = RecordFault(Stage.DECODE, Reason.NO_ID, "none")
        await dead_letters.send(record, fault, Position(place.topic, 0, 0, 1, 1), 1, replays=0)
    finally:
        await dead_letters.close()


async def test_what_is_listed_is_enough(secured: SecuredBroker) -> None:
    place = await place_on(secured)
    place.allow(**ENOUGH)
    worker = Worker(place.kafka, place.topic, place.user, settings=place.settings)
    async with worker.running():
        await until(lambda: len(worker.read) == 5, "all records")
    assert await place.kafka.committed(place.user) == await place.kafka.end_offsets(place.topic)
    await send_a_letter(place)
    assert [dead_letter.value for dead_letter in await place.kafka.read_all(f"{place.topic}.dlq")] == [b"v"]


async def test_who_may_create_the_dead_letter_topic_gets_it_at_the_start(secured: SecuredBroker) -> None:
    place = await place_on(secured, dead_letters=False)
    place.allow(**ENOUGH)
    with pytest.raises(ConfigurationError, match=r"cannot be made.* grant this user Create on it"):
        await send_a_letter(place)
    place.allow(dead_letters="CREATE")
    await send_a_letter(place)
    assert [dead_letter.value for dead_letter in await place.kafka.read_all(f"{place.topic}.dlq")] == [b"v"]


@pytest.mark.parametrize(("lacking", "instead", "check", "says"), TOO_LITTLE)
def test_check_names_what_is_missing_until_it_is_granted(
    cli: Cli, secured: SecuredBroker, lacking: str, instead: str | None, check: str, says: str
) -> None:
    place = asyncio.run(place_on(secured))
    place.allow(**{**ENOUGH, lacking: instead})
    found = _checked(cli, place).lines
    assert {name: found[name]["ok"] for name in ("kafka", "dead letters")} == {
        "kafka": check != "kafka",
        "dead letters": check != "dead letters",
    }
    assert says in found[check]["message"]
    assert f"{ENOUGH[lacking].title()} on " in found[check]["fix"]
    place.allow(**ENOUGH)
    assert _checked(cli, place).lines[check]["ok"]


async def test_a_worker_that_could_not_write_its_first_dead_letter_does_not_start(secured: SecuredBroker) -> None:
    place = await place_on(secured)
    place.allow(**{**ENOUGH, "dead_letters": "DESCRIBE"})
    with pytest.raises(ConfigurationError, match=r"may not write to the topic .* Grant Write on it"):
        await send_a_letter(place)


async def test_a_reader_names_the_topic_that_it_may_not_read(secured: SecuredBroker) -> None:
    place = await place_on(secured)
    place.allow(**ENOUGH)
    async with TopicReader(KafkaSettings.model_validate(place.settings)) as reader:
        assert await reader.ranges([place.topic])
        with pytest.raises(ConfigurationError, match=rf"may not read the topic {place.topic}\.dlq .* Grant Read on it"):
            await reader.ranges([f"{place.topic}.dlq"])


@pytest.mark.parametrize("operation", [None, "DESCRIBE"])
def test_estimate_names_the_group_where_it_must_know_what_is_done(
    cli: Cli, secured: SecuredBroker, operation: str | None
) -> None:
    place = asyncio.run(place_on(secured))
    place.allow(**{**ENOUGH, "group": operation})
    said = cli("estimate", env=kafka_alone(place.settings))
    if operation:  # it looks, and joins nothing
        assert said.exit_code == 0
    else:
        assert said.exit_code == 2
        assert "this user may not use the consumer group" in said.err
    assert cli("estimate", "--all", env=kafka_alone(place.settings)).exit_code == 0


def test_replay_names_the_topic_that_it_may_not_write_before_it_sends(cli: Cli, secured: SecuredBroker) -> None:
    place = asyncio.run(place_on(secured))
    place.allow(**ENOUGH)
    asyncio.run(send_a_letter(place))
    said = cli("dlq", "list", env=kafka_alone(place.settings))
    assert f"this user may not read the topic {place.topic}.dlq" in said.err
    place.allow(dead_letters="READ")
    assert cli("dlq", "list", "--json", env=kafka_alone(place.settings)).json["records"] == 1
    said = cli("dlq", "replay", "--old", env=kafka_alone(place.settings))
    assert said.exit_code == 2
    assert f"this user may not write to the topic {place.topic}" in said.err
    place.allow(topic="WRITE")
    assert cli("dlq", "replay", "--old", env=kafka_alone(place.settings)).out == "Dead letters replayed: 1.\n"


def _checked(cli: Cli, place: Place) -> CommandResult:
    return cli("check", "--json", env=kafka_alone(place.settings))
