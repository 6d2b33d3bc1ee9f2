"""Sends dead letters. One is sent when its topic has acknowledged it; until then its record stays unsettled."""

import asyncio
from enum import StrEnum

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamdex.config import KafkaSettings
from streamdex.deadletter.client import SEND_LIMIT_S, enqueue, open_producer, stop_producer
from streamdex.deadletter.headers import dead_letter_headers
from streamdex.deadletter.topics import DeadLetterTopic, prepare_topics
from streamdex.errors import AccountFault, ConfigurationError, RecordFault, Service, ServiceFault
from streamdex.kafka.client import as_fault
from streamdex.kafka.position_headers import Headers
from streamdex.model import Position, Record
from streamdex.telemetry import DEAD_LETTER_REFUSED, DEAD_LETTER_TOPIC_SMALL, KAFKA_RESTARTED, Health, Metrics, emit

HEALTH_NAME = "dead letters"


class ProducerRestart(StrEnum):
    """Why a producer was recreated: a label of the metric."""

    SEND_UNANSWERED = "send_unanswered"
    SEND_FAILED = "send_failed"


class DeadLetters:
    """The way out for records that are proven to be at fault. `start`, `send` from as many tasks as you like, `close`.

    aiokafka's idempotent producer never ends and never returns while the broker is down, and after a refusal its
    numbering has a hole. So each send has a time limit, and after any failure the producer is recreated. A dead letter
    whose acknowledgement was lost may therefore stand in its topic twice.
    """

    def __init__(self, settings: KafkaSettings, worker_name: str, health: Health, metrics: Metrics) -> None:
        self._settings = settings
        self._worker = worker_name
        self._health = health
        self._failed = metrics.requests_failed
        self._seconds = metrics.request_seconds.labels(Service.KAFKA.value, "dead_letter")
        self._counts = metrics.counts
        self._counts.restarts.update({cause.value: 0 for cause in ProducerRestart})
        self._recreated = 0
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
        return "; ".join(_summary(topic) for topic in await prepare_topics(self._settings, create=create))

    async def send(
        self, record: Record, fault: RecordFault, position: Position, first_failed_at_ms: int, replays: int = 0
    ) -> None:
        """Send a record as it is, with our headers beside its own; returns when that is acknowledged by all replicas.

        Raises ServiceFault or AccountFault otherwise; try again then. A replayed record's own count of replays counts
        when it is higher.
        """
        headers = dead_letter_headers(record, fault, position, first_failed_at_ms, self._worker, replays)
        topic = self._settings.dead_letter_topic_of(record.topic)
        try:
            with self._seconds.time():
                await self._send(topic, record, headers)
        except (ServiceFault, AccountFault) as failure:
            kind = "account" if isinstance(failure, AccountFault) else "service"
            self._failed.labels(Service.KAFKA.value, kind).inc()
            self._health.hold(HEALTH_NAME, str(failure), DEAD_LETTER_REFUSED)
            raise
        finally:
            self._counts.requests_ended += 1
        self._health.release(HEALTH_NAME)

    async def _send(self, topic: str, record: Record, headers: Headers) -> None:
        try:
            producer = await self._connected()
        except ConfigurationError as error:  # at the start it ends the worker; now it is waited out
            raise AccountFault(Service.KAFKA, f"{error.what} ({error.where})", error.fix) from None
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                acknowledged = await enqueue(producer, topic, record, headers)
                await acknowledged
        except TimeoutError:
            self._discard(producer, ProducerRestart.SEND_UNANSWERED)
            message = f"the dead-letter topic {topic} does not acknowledge; is it there?"
            raise ServiceFault(Service.KAFKA, message, unanswered=True) from None
        except KafkaError as error:
            self._discard(producer, ProducerRestart.SEND_FAILED)
            raise as_fault(error) from None

    async def _connected(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._closed:
                raise ServiceFault(Service.KAFKA, "the producer of dead letters is closed")
            if self._producer is None:
                self._producer = await open_producer(self._settings)
            return self._producer

    def _discard(self, producer: AIOKafkaProducer, cause: ProducerRestart) -> None:
        """The next send makes a new producer; others that share this one fail as well, and come again."""
        if self._producer is producer:
            self._recreated += 1
            emit(KAFKA_RESTARTED, client="producer", cause=cause.value, restarts=self._recreated)
            self._counts.restarts[cause.value] += 1
            self._end(producer)

    def _end(self, producer: AIOKafkaProducer) -> None:
        self._producer = None
        task = asyncio.ensure_future(stop_producer(producer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close within a few seconds, acknowledged or not. Safe twice and before `start`."""
        self._closed = True
        if self._producer is not None:
            self._end(self._producer)
        if self._closing:
            await asyncio.wait(tuple(self._closing))


def _summary(topic: DeadLetterTopic) -> str:
    summary = f"{topic.name} with {topic.partitions} partitions"
    if topic.created:
        return f"{summary}, created"
    if topic.small:
        return f"{summary}; it takes {topic.max_bytes} bytes, raise max.message.bytes to {topic.wanted_bytes}"
    return summary
