"""Puts records on a topic, for the demo: creates the topic where it is missing."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from worker.config import KafkaSettings
from worker.kafka_client import administered, as_fault, client_options, connection_fault

WINDOW = 500  # sends that wait for their acknowledgement together


class Message(NamedTuple):
    """What to send: key and value as bytes; a value of None deletes."""

    key: bytes | None
    value: bytes | None


async def create_topic(settings: KafkaSettings, topic: str, partitions: int) -> None:
    """Create a topic. An existing one is left as it is. Raises ConfigurationError or ServiceFault."""
    async with administered(settings) as admin:
        answer = await admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=-1)])
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
            await producer.start()
        except KafkaError:
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
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, topic: str, window: Sequence[Message], sent: Callable[[int], None]) -> None:
    acknowledgements = [await producer.send(topic, value=message.value, key=message.key) for message in window]
    for acknowledgement in acknowledgements:
        await acknowledgement
    sent(len(window))
