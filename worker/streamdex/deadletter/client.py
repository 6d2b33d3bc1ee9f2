"""aiokafka's producer, as both ways use it: out to the dead-letter topic, and back. It never hangs."""

from collections.abc import Awaitable

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed

from streamdex.config import KafkaSettings
from streamdex.kafka.client import client_options, finished_in_time, start_client
from streamdex.kafka.position_headers import Headers
from streamdex.model import Record

OPEN_LIMIT_S = 15.0
SEND_LIMIT_S = 10.0
STOP_LIMIT_S = 3.0
REQUEST_TIMEOUT_MS = 15_000
# Whether a record is too large is for the broker to say, which knows the topic's bound and the compressed size. The
# client's own check would measure before compression; this is what a broker reads at most (socket.request.max.bytes).
MAX_REQUEST_BYTES = 100 * 1024 * 1024


async def open_producer(settings: KafkaSettings) -> AIOKafkaProducer:
    """One that is connected, and numbers what it sends. Raises ConfigurationError or ServiceFault."""
    producer = AIOKafkaProducer(
        **client_options(settings),
        acks="all",
        enable_idempotence=True,
        compression_type="gzip",  # a source may be compressed: what fits there may not fit here without
        max_request_size=MAX_REQUEST_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    await start_client(producer, lambda: stop_producer(producer), settings, OPEN_LIMIT_S)
    return producer


async def enqueue(producer: AIOKafkaProducer, topic: str, record: Record, headers: Headers) -> Awaitable[object]:
    """Hand the record to the producer, for the partition with the source's number; awaits its acknowledgement."""
    partitions = await producer.partitions_for(topic)
    partition = record.partition % len(partitions)
    ours = list(headers)  # aiokafka takes nothing else
    acknowledged: Awaitable[object]
    if record.key is not None or record.value is not None:
        acknowledged = await producer.send(topic, record.value, record.key, partition=partition, headers=ours)
    else:
        batch = producer.create_batch()  # `send` refuses a record without key and value, which Kafka itself allows
        batch.append(timestamp=None, key=None, value=None, headers=ours)
        batch.close()
        acknowledged = await producer.send_batch(batch, topic, partition=partition)
    return acknowledged


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """Flush and close if that can be done in time; otherwise take it apart, which aiokafka has no call for."""
    if not await finished_in_time(producer.stop(), STOP_LIMIT_S):
        await finished_in_time(producer._sender.close(), STOP_LIMIT_S)
        producer._message_accumulator.fail_all(ProducerClosed())
        await finished_in_time(producer.client.close(), STOP_LIMIT_S)
