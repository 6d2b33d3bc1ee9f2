"""What this user may do on Kafka, as the brokers tell: a missing right is found before it is needed.

The right to write dead letters would otherwise be missed at the first of them, perhaps after months. Nothing is written
or read to find out: since Kafka 2.3 brokers list the operations that are allowed (KIP-430). Older ones, and those that
do not know the question, tell nothing, and nothing is held against the user then.
"""

import asyncio
from collections.abc import Collection, Mapping
from enum import IntEnum

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from streamdex.config import KafkaSettings
from streamdex.errors import ConfigurationError
from streamdex.kafka.client import ASK_AGAIN_S, COORDINATOR_COMES, administered


class Right(IntEnum):
    """Operations that a broker allows or not, with their codes in the protocol (`AclOperation` in Kafka's source)."""

    READ = 3
    WRITE = 4
    DESCRIBE = 8


_DEEDS = {Right.READ: "read", Right.WRITE: "write to"}


def gaps(operations: int, right: Right) -> bool:
    """Whether this set of operations, a bit for each code, says that a right is missing.

    What is described at all may be described, so a set without that tells nothing: a fixed number stands there where a
    broker does not know the question.
    """
    return bool(operations & 1 << Right.DESCRIBE) and not operations & 1 << right


async def check_topics(settings: KafkaSettings, topics: Collection[str]) -> None:
    """See to it that this user may read these topics.

    Raises ConfigurationError where the right is missing, or ServiceFault.
    """
    async with administered(settings) as admin:
        await refuse_without(admin, settings, Right.READ, topics)


async def check_group(settings: KafkaSettings) -> None:
    """See to it that this user may join the group.

    Raises ConfigurationError where the right is missing, or ServiceFault.
    """
    async with administered(settings) as admin:
        if await _is_closed(admin, settings.group_id):
            what = f"this user may not use the consumer group {settings.group_id}"
            raise ConfigurationError(what, "kafka.group_id", "Grant Read on the group.")


async def refuse_without(
    admin: AIOKafkaAdminClient, settings: KafkaSettings, right: Right, topics: Collection[str]
) -> None:
    """Raises ConfigurationError for the first of these topics for which a right is missing, or KafkaError."""
    for topic in await topics_without(admin, right, topics):
        where = "kafka.topics" if topic in settings.topics else "kafka.dead_letter_topic"
        what = f"this user may not {_DEEDS[right]} the topic {topic}"
        raise ConfigurationError(what, where, f"Grant {right.name.title()} on it.")


async def topics_without(admin: AIOKafkaAdminClient, right: Right, topics: Collection[str]) -> list[str]:
    """Those of these topics for which a right is missing, as far as brokers tell. None is made by asking.

    Raises KafkaError.
    """
    try:
        answer = await admin._send_request(_Question(_TopicsRequest(sorted(topics), False, False, True)))
    except errors.IncompatibleBrokerVersion:
        return []
    found = answer.to_object()["topics"]
    return [topic["name"] for topic in found if not topic["error_code"] and gaps(topic["operations"], right)]


async def _is_closed(admin: AIOKafkaAdminClient, group_id: str) -> bool:
    while True:
        try:
            coordinator = await admin.find_coordinator(group_id)
            answer = await admin._send_request(_Question(_GroupsRequest([group_id], True)), coordinator)
            (group,) = answer.to_object()["groups"]
            if group["error_code"]:
                raise errors.for_code(group["error_code"])
        except COORDINATOR_COMES:
            await asyncio.sleep(ASK_AGAIN_S)
        except errors.IncompatibleBrokerVersion:
            return False
        else:
            return gaps(group["authorized_operations"], Right.READ)


class _Question:
    """A request of one version alone; aiokafka's own choose among several."""

    def __init__(self, request: RequestStruct) -> None:
        self._request = request

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> RequestStruct:
        """The request, if the broker knows it: `versions` has the lowest and the highest it knows for each key."""
        lowest, highest = versions.get(self._request.API_KEY, (0, -1))
        if not lowest <= self._request.API_VERSION <= highest:
            raise errors.IncompatibleBrokerVersion("brokers name rights since Kafka 2.3")
        return self._request


class _GroupsRequest(DescribeGroupsRequest_v3):  # type: ignore[misc]  # aiokafka publishes no types
    RESPONSE_TYPE = DescribeGroupsResponse_v3  # aiokafka 0.14 has that of version 2 here, which ends before the rights


class _TopicsResponse(Response):  # type: ignore[misc]  # aiokafka publishes no types
    """Kafka's MetadataResponse; aiokafka knows its versions up to 5, without the rights."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String()), ("port", Int32), ("rack", String()))),
        ("cluster_id", String()),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", String()),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("in_sync_replicas", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
        ("cluster_operations", Int32),
    )


class _TopicsRequest(RequestStruct):  # type: ignore[misc]  # aiokafka publishes no types
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", Array(String())),
        ("make_missing_topics", Boolean),
        ("with_cluster_operations", Boolean),
        ("with_topic_operations", Boolean),
    )
