"""Sends dead letters. A letter is sent when the topic has acknowledged it; until then its record stays unsettled."""

import asyncio
from collections.abc import Awaitable
from enum import StrEnum

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from worker.config import KafkaSettings
from worker.deadletter.headers import letter_headers
from worker.deadletter.topics import LetterTopic, prepare_topics
from worker.errors import AccountFault, ConfigurationError, RecordFault, Service, ServiceFault
from worker.kafka_client import as_fault, at_start, client_options, connection_fault, finished_in_time
from worker.model import Position, Record
from worker.position_headers import Headers
from worker.telemetry import DEAD_LETTER_REFUSED, DEAD_LETTER_TOPIC_SMALL, KAFKA_RESTARTED, Health, Metrics, emit

OPEN_LIMIT_S = 15.0
SEND_LIMIT_S = 10.0
STOP_LIMIT_S = 3.0
REQUEST_TIMEOUT_MS = 15_000
# Whether a record is too large is for the broker to say, which knows the topic's bound and the compressed size. The
# client's own check would measure before compression; this is what a broker reads at most (socket.request.max.bytes).
MAX_REQUEST_BYTES = 100 * 1024 * 1024
HEALTH_NAME = "dead letters"


class Cause(StrEnum):
    """Why a producer was made anew: a label of the metric."""

    SEND_UNANSWERED = "send_unanswered"
    SEND_FAILED = "send_failed"


class DeadLetters:
    """The way out for records that are proven to be at fault. `start`, `send` from as many tasks as you like, `close`.

    aiokafka's idempotent producer never gives up and never returns while the broker is down, and after a refusal its
    numbering has a hole. So each send has a time limit, and after any failure the producer is made anew. A letter
    whose acknowledgement was lost may therefore stand in its topic twice.
    """

    def __init__(self, settings: KafkaSettings, worker_name: str, health: Health, metrics: Metrics) -> None:
        self._settings = settings
        self._worker = worker_name
        self._health = health
        self._failed = metrics.requests_failed
        self._seconds = metrics.request_seconds.labels(Service.KAFKA.value, "dead_letter")
        self._restarts = {cause: metrics.restarts.labels(cause.value) for cause in Cause}
        self._made_anew = 0
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Make the topics that are missing, and connect. May be called again after a fault.

        Raises ConfigurationError or ServiceFault.
        """
        for topic in await prepare_topics(self._settings, create=True):
            if topic.small:
                emit(DEAD_LETTER_TOPIC_SMALL, topic=topic.name, bytes=topic.max_bytes, wanted_bytes=topic.wanted_bytes)
        await self._connected()

    async def check_topics(self, *, create: bool) -> str:
        """One line on the dead-letter topics, without `start`. Raises ConfigurationError or ServiceFault."""
        return "; ".join(_tell(topic) for topic in await prepare_topics(self._settings, create=create))

    async def send(
        self, record: Record, fault: RecordFault, position: Position, first_failed_at_ms: int, replays: int = 0
    ) -> None:
        """Send a record as it is, with our headers beside its own; returns when that is acknowledged by all replicas.

        Raises ServiceFault or AccountFault otherwise; try again then. A replayed record's own count of replays counts
        when it is higher.
        """
        headers = letter_headers(record, fault, position, first_failed_at_ms, self._worker, replays)
        topic = self._settings.dead_letter_topic_of(record.topic)
        try:
            with self._seconds.time():
                await self._send(topic, record, headers)
        except (ServiceFault, AccountFault) as failure:
            kind = "account" if isinstance(failure, AccountFault) else "service"
            self._failed.labels(Service.KAFKA.value, kind).inc()
            self._health.hold(HEALTH_NAME, str(failure), DEAD_LETTER_REFUSED)
            raise
        self._health.release(HEALTH_NAME)

    async def _send(self, topic: str, record: Record, headers: Headers) -> None:
        try:
            producer = await self._connected()
        except ConfigurationError as error:  # at the start it ends the worker; now it is waited out
            raise AccountFault(Service.KAFKA, f"{error.what} ({error.where})", error.mend) from None
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                acknowledged = await _enqueue(producer, topic, record, headers)
                await acknowledged
        except TimeoutError:
            self._discard(producer, Cause.SEND_UNANSWERED)
            message = f"the dead-letter topic {topic} does not acknowledge; is it there?"
            raise ServiceFault(Service.KAFKA, message, unanswered=True) from None
        except KafkaError as error:
            self._discard(producer, Cause.SEND_FAILED)
            raise as_fault(error) from None

    async def _connected(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._closed:
                raise ServiceFault(Service.KAFKA, "the producer of dead letters is closed")
            if self._producer is None:
                self._producer = await self._open()
            return self._producer

    async def _open(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            enable_idempotence=True,
            compression_type="gzip",  # a source may be compressed: what fits there may not fit here without
            max_request_size=MAX_REQUEST_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                await producer.start()
        except TimeoutError:
            await _stop(producer)
            raise ServiceFault(Service.KAFKA, "the brokers take too long to answer") from None
        except KafkaError as error:
            await _stop(producer)
            fault = at_start(error)
            raise (await connection_fault(self._settings) if isinstance(fault, ServiceFault) else fault) from None
        except BaseException:  # a stop while connecting
            await _stop(producer)
            raise
        return producer

    def _discard(self, producer: AIOKafkaProducer, cause: Cause) -> None:
        """The next send makes a new producer; others that share this one fail as well, and come again."""
        if self._producer is producer:
            self._made_anew += 1
            emit(KAFKA_RESTARTED, client="producer", cause=cause.value, restarts=self._made_anew)
            self._restarts[cause].inc()
            self._end(producer)

    def _end(self, producer: AIOKafkaProducer) -> None:
        self._producer = None
        task = asyncio.ensure_future(_stop(producer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close within a few seconds, acknowledged or not. Safe twice and before `start`."""
        self._closed = True
        if self._producer is not None:
            self._end(self._producer)
        if self._closing:
            await asyncio.wait(tuple(self._closing))


async def _enqueue(producer: AIOKafkaProducer, topic: str, record: Record, headers: Headers) -> Awaitable[object]:
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


async def _stop(producer: AIOKafkaProducer) -> None:
    """Flush and close if that can be done in time; otherwise take it apart, which aiokafka has no call for."""
    if not await finished_in_time(producer.stop(), STOP_LIMIT_S):
        await finished_in_time(producer._sender.close(), STOP_LIMIT_S)
        producer._message_accumulator.fail_all(ProducerClosed())
        await finished_in_time(producer.client.close(), STOP_LIMIT_S)


def _tell(topic: LetterTopic) -> str:
    said = f"{topic.name} with {topic.partitions} partitions"
    if topic.created:
        return f"{said}, created"
    if topic.small:
        return f"{said}; it takes {topic.max_bytes} bytes, raise max.message.bytes to {topic.wanted_bytes}"
    return said
