"""Sends dead letters back to where they came from, each with the position that it had there first."""

import asyncio
from types import TracebackType
from typing import Any, Self

from aiokafka.errors import KafkaError

from worker.config import KafkaSettings
from worker.deadletter.client import SEND_LIMIT_S, enqueue, open_producer, stop_producer
from worker.deadletter.headers import parse_letter, replay_headers
from worker.errors import ConfigurationError, Service, ServiceFault
from worker.kafka_client import at_start, survey
from worker.kafka_rights import Right, check_topics
from worker.model import Record


class Resender:
    """A context manager. Entering raises ConfigurationError or ServiceFault, also where a topic may not be written."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Any = None

    async def __aenter__(self) -> Self:
        found = await survey(self._settings, self._settings.topics)
        for topic in self._settings.topics:
            if topic not in found.topics:  # some brokers would make it at the first record
                mend = "Create it, or grant this user Write on it."
                raise ConfigurationError(f"the topic {topic} is not there", "kafka.topics", mend)
        await check_topics(self._settings, self._settings.topics, Right.WRITE)
        self._producer = await open_producer(self._settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_producer(self._producer)

    async def send(self, letter: Record) -> None:
        """Returns when the letter's own topic has acknowledged it, in the partition that it came from.

        Raises ValueError for what is no letter of ours, ConfigurationError or ServiceFault.
        """
        headers = replay_headers(letter)
        first = parse_letter(letter).position
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                record = letter._replace(partition=first.partition)
                acknowledged = await enqueue(self._producer, first.topic, record, headers)
                await acknowledged
        except TimeoutError:
            raise ServiceFault(Service.KAFKA, f"the topic {first.topic} does not acknowledge") from None
        except KafkaError as error:
            raise at_start(error) from None
