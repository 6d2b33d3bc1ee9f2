"""Reads what stands on topics now, from begin to end, apart from any group: for verification, not for work."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping
from typing import Any, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streamdex.config import KafkaSettings
from streamdex.errors import Service, ServiceFault
from streamdex.kafka.client import (
    CLOSE_LIMIT_S,
    TOO_SLOW,
    as_record,
    at_start,
    client_options,
    committed_offsets,
    connection_fault,
    finished_in_time,
    survey,
    survey_all,
)
from streamdex.kafka.rights import check_topics
from streamdex.model import Partition, Ranges, Record

T = TypeVar("T")

POLL_MS = 1_000
POLL_RECORDS = 1_000
ANSWER_LIMIT_S = 30.0  # for one question
STILL_LIMIT_S = 60.0  # without a record, though there are more: nobody answers
TIMESTAMPS_LIMIT_S = 30.0


class TopicReader:
    """A context manager. All methods raise ConfigurationError or ServiceFault."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: Any = None
        self.cluster_id = ""

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            enable_auto_commit=False,
            isolation_level=self._settings.isolation_level,
            auto_offset_reset="earliest",
            **client_options(self._settings),
        )
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._consumer.start()
        except (KafkaError, TimeoutError):
            await self._stop()
            raise await connection_fault(self._settings) from None
        except BaseException:  # a stop while connecting
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await finished_in_time(self._consumer.stop(), CLOSE_LIMIT_S)

    async def ranges(self, topics: Collection[str], *, missing_ok: bool = False) -> Ranges:
        """[begin, end) of each partition of the topics as they stand now."""
        facts = await (survey if missing_ok else survey_all)(self._settings, topics)
        self.cluster_id = facts.cluster_id
        await check_topics(self._settings, facts.topics)
        partitions = [
            Partition(topic, number) for topic, has in facts.topics.items() for number in range(has.partitions)
        ]
        tps = [TopicPartition(*partition) for partition in partitions]
        begins = await _answered(self._consumer.beginning_offsets(tps)) if tps else {}
        ends = await _answered(self._consumer.end_offsets(tps)) if tps else {}
        return {partition: (begins[tp], ends[tp]) for partition, tp in zip(partitions, tps, strict=True)}

    async def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """What the group has committed, where it has."""
        return await committed_offsets(self._settings, partitions)

    async def records(self, ranges: Ranges) -> AsyncIterator[Record]:
        """Every record within the ranges, in the order of each partition."""
        left = {TopicPartition(*partition): end for partition, (begin, end) in ranges.items() if begin < end}
        if not left:
            return
        self._consumer.assign(list(left))
        for tp in left:
            self._consumer.seek(tp, ranges[Partition(tp.topic, tp.partition)][0])
        moved_s = time.monotonic()
        while left:
            asked = self._consumer.getmany(*left, timeout_ms=POLL_MS, max_records=POLL_RECORDS)
            batches: Mapping[TopicPartition, list[Any]] = await _answered(asked)
            for tp, batch in batches.items():
                for message in batch:
                    if message.offset < left[tp]:
                        yield as_record(message)
            for tp, end in list(left.items()):
                # The position, not the last record: transaction markers may stand before the end.
                if await _answered(self._consumer.position(tp)) >= end:
                    del left[tp]
            if batches:
                moved_s = time.monotonic()
            elif left and time.monotonic() - moved_s > STILL_LIMIT_S:
                raise ServiceFault(Service.KAFKA, "the brokers do not send what stands on the topics")


async def _answered(question: Awaitable[T]) -> T:
    """The answer. Raises ConfigurationError or ServiceFault."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return await question
    except TimeoutError:
        raise ServiceFault(Service.KAFKA, TOO_SLOW) from None
    except KafkaError as error:
        raise at_start(error) from None


async def record_at(settings: KafkaSettings, at: Partition, offset: int) -> Record | None:
    """The record at a place, None when there is none. Raises ConfigurationError or ServiceFault."""
    async with TopicReader(settings) as reader:
        begin, end = (await reader.ranges([at.topic])).get(at, (0, 0))
        if begin <= offset < end:
            async for record in reader.records({at: (offset, offset + 1)}):
                return record
    return None


async def timestamps_at(settings: KafkaSettings, offsets: Mapping[Partition, int]) -> dict[Partition, int]:
    """The timestamps (ms) of the records at these offsets; those without a record there are left out.

    Raises ConfigurationError or ServiceFault.
    """
    ranges = {partition: (offset, offset + 1) for partition, offset in offsets.items()}
    try:
        async with asyncio.timeout(TIMESTAMPS_LIMIT_S), TopicReader(settings) as reader:
            return {
                Partition(record.topic, record.partition): record.timestamp_ms
                async for record in reader.records(ranges)
            }
    except TimeoutError:
        raise ServiceFault(Service.KAFKA, TOO_SLOW) from None
