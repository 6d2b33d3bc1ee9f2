"""Puts records on a topic, for the demo: creates the topic where it is missing."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streamdex.config import KafkaSettings
from streamdex.errors import Service, ServiceFault
from streamdex.kafka.client import (
    CLOSE_LIMIT_S,
    TOO_SLOW,
    administered,
    as_fault,
    client_options,
    connection_fault,
    finished_in_time,
)

WINDOW = 500  # sends that wait for their acknowledgement together
OPEN_LIMIT_S = 15.0
WINDOW_LIMIT_S = 60.0


class Message(NamedTuple):
    """What to send: key and value as bytes; a value of None deletes."""

    key: bytes | None
    value: bytes | None


async def create_topic(settings: KafkaSettings, topic: str, partitions: int) -> None:
    """Create a topic. An existing one is left as it is. Raises ConfigurationError or ServiceFault."""
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=1)
    wanted.replication_factor = -1  # the brokers' own default; aiokafka's constructor would refuse it
    async with administered(settings) as admin:
        answer = await admin.create_topics([wanted])
        for _, code, *_ in answer.topic_errors:  # errors are in the answer only
            if code not in (0, TopicAlreadyExistsError.errno):
                raise for_code(code)


async def produce(
    settings: KafkaSettings, topic: str, messages: Iterable[Message], sent: Callable[[int], None]
) -> None:
    """Send all messages and wait for their acknowledgement; `sent` hears of each window.

    Raises ConfigurationError, ServiceFault or AccountFault.
    """
    producer = AIOKafkaProducer(
        acks="all", max_batch_size=256 * 1024, max_request_size=8 * 1024 * 1024, **client_options(settings)
    )
    try:
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                await producer.start()
        except (KafkaError, TimeoutError):
            raise await connection_fault(settings) from None
        window: list[Message] = []
        for message in messages:
            window.append(message)
            if len(window) == WINDOW:
                await _send(producer, topic, window, sent)
                window = []
        await _send(producer, topic, window, sent)
    except KafkaError as error:
        raise as_fault(error) from None
    except TimeoutError:
        raise ServiceFault(Service.KAFKA, TOO_SLOW, unanswered=True) from None
    finally:
        await finished_in_time(producer.stop(), CLOSE_LIMIT_S)


async def _send(producer: AIOKafkaProducer, topic: str, window: Sequence[Message], sent: Callable[[int], None]) -> None:
    async with asyncio.timeout(WINDOW_LIMIT_S):
        acknowledgements = [await producer.send(topic, value=message.value, key=message.key) for message in window]
        for acknowledgement in acknowledgements:
            await acknowledgement
    sent(len(window))
