"""Sends dead letters back to where they came from, each with the position that it had there first."""

import asyncio
from collections.abc import Mapping
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from streamdex.config import KafkaSettings
from streamdex.deadletter.client import SEND_LIMIT_S, enqueue, open_producer, stop_producer
from streamdex.deadletter.headers import parse_dead_letter, replay_headers
from streamdex.deadletter.topics import topic_configs
from streamdex.errors import ConfigurationError, Service, ServiceFault, TooLarge
from streamdex.kafka.client import administered, at_start, survey_all
from streamdex.kafka.rights import Right, refuse_without
from streamdex.model import Record

POLICY = "cleanup.policy"


class Resender:
    """A context manager. Entering raises ConfigurationError where a topic must not be written to, or ServiceFault."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        topics = self._settings.topics
        await survey_all(self._settings, topics)  # some brokers would make a missing one at the first record
        async with administered(self._settings) as admin:
            await refuse_without(admin, self._settings, Right.WRITE, topics)
            _refuse_compacted(await topic_configs(admin, POLICY, topics))
        await self.renew()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def renew(self) -> None:
        """Go on with a new producer: after a refusal the old one's numbers have a hole.

        Raises ConfigurationError or ServiceFault.
        """
        await self._stop()
        self._producer = await open_producer(self._settings)

    async def send(self, dead_letter: Record) -> None:
        """Returns when the dead letter's own topic has acknowledged it, in the partition that it came from.

        Raises ValueError for what is no dead letter of ours, TooLarge, ConfigurationError or ServiceFault.
        """
        headers = replay_headers(dead_letter)
        first = parse_dead_letter(dead_letter).position
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                record = dead_letter._replace(partition=first.partition)
                acknowledged = await enqueue(self._producer, first.topic, record, headers)
                await acknowledged
        except TimeoutError:
            raise ServiceFault(Service.KAFKA, f"the topic {first.topic} does not acknowledge") from None
        except KafkaError as error:
            raise _fault(error, first.topic) from None

    async def _stop(self) -> None:
        if self._producer is not None:
            await stop_producer(self._producer)
            self._producer = None


def _refuse_compacted(policies: Mapping[str, str]) -> None:
    """There the last record of a key stands, and a replayed one would be the last."""
    for topic, policy in policies.items():
        if "compact" in policy:
            what = f"the topic {topic} is compacted: a replayed event would push out newer ones of its key"
            raise ConfigurationError(what, "kafka.topics", "Produce these documents again instead.")


def _fault(error: KafkaError, topic: str) -> ServiceFault | ConfigurationError:
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return TooLarge(Service.KAFKA, f"a record is larger than the topic {topic} takes")
    if isinstance(error, TopicAuthorizationFailedError | ClusterAuthorizationFailedError):
        return ConfigurationError(f"this user may not write to the topic {topic}", "kafka.topics", "Grant Write on it.")
    return at_start(error)
