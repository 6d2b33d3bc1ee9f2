"""What brokers say of rights, and those that say nothing. On a real broker: `integration/test_kafka_rights.py`."""

from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import errors
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # public by its documentation

from streamdex.config import KafkaSettings
from streamdex.errors import ConfigurationError, ServiceFault
from streamdex.kafka.rights import UNSUPPORTED, Right, check_group, check_topics, is_missing

READ, DESCRIBE, WRITE = AclOperation.READ, AclOperation.DESCRIBE, AclOperation.WRITE


@pytest.mark.parametrize(
    ("operations", "missing"),
    [
        ([READ, DESCRIBE], False),
        ([DESCRIBE], True),
        ([WRITE, DESCRIBE], True),
        ([READ], False),
        ([], False),
        (None, False),
    ],
)
def test_a_right_is_missing_only_where_rights_are_told(operations: list[AclOperation] | None, missing: bool) -> None:
    assert is_missing(Right.READ, SimpleNamespace(authorized_operations=operations)) is missing


def described(operations: Sequence[AclOperation], code: int = 0) -> "Future[Any]":
    """An answer, or the error of that code."""
    future: Future[Any] = Future()
    if code:
        future.set_exception(KafkaException(KafkaError(code)))
    else:
        future.set_result(SimpleNamespace(authorized_operations=operations))
    return future


class Brokers:
    """confluent-kafka's AdminClient, and what it is answered."""

    topic_operations: Sequence[AclOperation] = (READ, DESCRIBE)
    group_operations: Sequence[AclOperation] = (READ, DESCRIBE)
    group_codes: tuple[int, ...] = (0,)
    topic_code = 0

    def __init__(self, options: dict[str, Any], **_: object) -> None:
        assert options["bootstrap.servers"]
        self._codes = list(self.group_codes)

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def describe_topics(self, topics: Any, **asked: Any) -> dict[str, "Future[Any]"]:
        assert asked["include_authorized_operations"]
        return {name: described(self.topic_operations, self.topic_code) for name in topics.topic_names}

    def describe_consumer_groups(self, groups: list[str], **asked: Any) -> dict[str, "Future[Any]"]:
        assert asked["include_authorized_operations"]
        return {name: described(self.group_operations, self._codes.pop(0)) for name in groups}


class Admin:
    """aiokafka's, which says who the controller is."""

    controller = 1

    def __init__(self, **_: object) -> None:
        """Nothing to keep."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def describe_cluster(self) -> dict[str, Any]:
        return {"controller_id": self.controller, "brokers": [{"node_id": 1}]}


@pytest.fixture(autouse=True)
def _brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamdex.kafka.client.AIOKafkaAdminClient", Admin)
    monkeypatch.setattr("confluent_kafka.admin.AdminClient", Brokers)
    monkeypatch.setattr("streamdex.kafka.rights.ASK_AGAIN_S", 0.0)


async def check() -> None:
    settings = KafkaSettings()
    await check_topics(settings, settings.topics)
    await check_group(settings)


async def test_who_may_read_and_join_passes() -> None:
    await check()


@pytest.mark.parametrize(
    ("name", "says"),
    [("topic_operations", "may not read the topic documents"), ("group_operations", "may not use the consumer group")],
)
async def test_a_missing_right_is_named(monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.setattr(Brokers, name, [DESCRIBE])
    with pytest.raises(ConfigurationError, match=says):
        await check()


async def test_the_setting_that_names_the_topic_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brokers, "topic_operations", [DESCRIBE])
    for topic, where in (("documents", "kafka.topics"), ("documents.dlq", "kafka.dead_letter_topic")):
        with pytest.raises(ConfigurationError) as raised:
            await check_topics(KafkaSettings(), [topic])
        assert raised.value.where == where


async def test_a_broker_too_old_to_tell_is_not_held_against_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brokers, "topic_operations", [DESCRIBE])
    monkeypatch.setattr(Brokers, "group_operations", [DESCRIBE])
    with pytest.raises(ConfigurationError):
        await check()
    monkeypatch.setattr(Brokers, "topic_code", UNSUPPORTED)
    monkeypatch.setattr(Brokers, "group_codes", (UNSUPPORTED,))
    await check()


async def test_a_cluster_without_its_controller_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka's mock cluster, which would let the question wait until its limit."""
    monkeypatch.setattr(Brokers, "topic_operations", [DESCRIBE])
    monkeypatch.setattr(Admin, "controller", 0)
    await check()


async def test_a_coordinator_that_comes_up_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brokers, "group_codes", (14, 16, 0))
    await check()


async def test_a_group_that_is_refused_is_a_setting_to_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brokers, "group_codes", (errors.GroupAuthorizationFailedError.errno,))
    with pytest.raises(ConfigurationError, match="may not use the consumer group"):
        await check()


async def test_brokers_that_cannot_be_reached_are_told_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brokers, "topic_code", KafkaError._TIMED_OUT)
    with pytest.raises(ServiceFault, match="no broker"):
        await check_topics(KafkaSettings(bootstrap_servers="127.0.0.1:1"), ["documents"])
