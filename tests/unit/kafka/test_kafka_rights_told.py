"""What brokers tell of rights, and those that tell nothing. On a real broker: `integration/test_kafka_rights.py`."""

from typing import Any

import pytest
from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient

from streamdex.config import KafkaSettings
from streamdex.errors import ConfigurationError
from streamdex.kafka.rights import Right, check_group, check_topics, gaps, topics_without

SUPPORTED = {3: (0, 13), 15: (0, 6)}
OLD = {3: (0, 7), 15: (0, 2)}
READ, DESCRIBE = 1 << 3, 1 << 8
NOT_TOLD = -(1 << 31)  # what stands where the question is not understood


@pytest.mark.parametrize(
    ("operations", "missing"),
    [
        (READ | DESCRIBE, False),
        (DESCRIBE, True),
        (1 << 4 | DESCRIBE, True),
        (READ, False),
        (0, False),
        (NOT_TOLD, False),
    ],
)
def test_a_right_is_missing_only_where_rights_are_told(operations: int, missing: bool) -> None:
    assert gaps(operations, Right.READ) is missing


class Admin(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka publishes no types
    """Its answers are bytes, as on the wire; `versions` are those that the broker knows."""

    versions = SUPPORTED
    topic_operations = READ | DESCRIBE
    group_operations = READ | DESCRIBE
    group_codes: tuple[int, ...] = (0,)

    def __init__(self, **_: object) -> None:
        self._codes = list(self.group_codes)

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def find_coordinator(self, group_id: str, coordinator_type: int = 0) -> int:
        return 1

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        struct = request.prepare(self.versions)
        answer = struct.RESPONSE_TYPE
        if struct.API_KEY == 15:
            assert node_id == 1, "only the coordinator knows"
            group: tuple[Any, ...] = (self._codes.pop(0), "streamdex", "Dead", "", "", [], self.group_operations)
            return answer.decode(answer(0, [group]).encode())
        topics: list[tuple[Any, ...]] = [(0, name, False, [], self.topic_operations) for name in struct.topics]
        return answer.decode(answer(0, [], "cluster", 1, topics, NOT_TOLD).encode())


@pytest.fixture(autouse=True)
def _admin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamdex.kafka.client.AIOKafkaAdminClient", Admin)
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
    monkeypatch.setattr(Admin, name, DESCRIBE)
    with pytest.raises(ConfigurationError, match=says):
        await check()


async def test_the_setting_that_names_the_topic_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admin, "topic_operations", DESCRIBE)
    for topic, where in (("documents", "kafka.topics"), ("documents.dlq", "kafka.dead_letter_topic")):
        with pytest.raises(ConfigurationError) as raised:
            await check_topics(KafkaSettings(), [topic])
        assert raised.value.where == where


async def test_a_broker_too_old_to_tell_is_not_held_against_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admin, "topic_operations", DESCRIBE)
    monkeypatch.setattr(Admin, "group_operations", DESCRIBE)
    assert await topics_without(Admin(), Right.READ, ["documents"]) == ["documents"]
    monkeypatch.setattr(Admin, "versions", OLD)
    assert await topics_without(Admin(), Right.READ, ["documents"]) == []
    await check()


async def test_a_coordinator_that_comes_up_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admin, "group_codes", (14, 16, 0))
    await check()


async def test_a_group_that_is_refused_is_a_setting_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admin, "group_codes", (errors.GroupAuthorizationFailedError.errno,))
    with pytest.raises(ConfigurationError, match="may not use the consumer group"):
        await check()
