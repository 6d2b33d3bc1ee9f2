"""Produces what the generator makes, and notes what Kafka has acknowledged."""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Awaitable

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from chaos.generator import Draft, Generator
from chaos.run_directory import RunDirectory

RATE = 10.0  # records a second
TRANSACTION_RECORDS = 3
TRANSACTION_LIMIT_S = 10.0
TRANSACTION_TIMEOUT_MS = 5_000  # one that its producer forgot holds all readers up for so long
# However long a broker is away, a record is sent until it is acknowledged: one that is given up may stand in the log
# all the same.
PATIENCE_MS = 300_000
FLUSH_LIMIT_S = 60.0


class Traffic:
    """The producer. `shift_ms` is added to the timestamps of records; `shifted` counts those it was added to."""

    def __init__(self, run: RunDirectory, bootstrap_servers: str, topic: str, generator: Generator) -> None:
        self._run = run
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._generator = generator
        self._producer: AIOKafkaProducer | None = None
        self._under_way: set[asyncio.Future[None]] = set()
        self.shift_ms = 0
        self.shifted = 0
        self.counts: Counter[str] = Counter()

    async def start(self) -> None:
        """Connect."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers,
            enable_idempotence=True,
            request_timeout_ms=PATIENCE_MS,
        )
        await self._producer.start()

    async def close(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10.0):
                    await self._producer.stop()

    async def produce_for_ever(self, rate: float = RATE) -> None:
        """So many records a second, until cancelled."""
        began_s, sent = time.monotonic(), 0
        while True:
            await self._send(self._generator.next())
            sent += 1
            await asyncio.sleep(max(0.0, began_s + sent / rate - time.monotonic()))

    async def flush(self) -> None:
        """Wait until all is acknowledged. Raises TimeoutError."""
        async with asyncio.timeout(FLUSH_LIMIT_S):
            while self._under_way:  # a record that is handed over is then waited for
                await asyncio.gather(*self._under_way)

    async def _send(self, draft: Draft) -> None:
        if draft.aborted:
            self._follow(self._abort(draft))
        else:
            # Shielded: what was handed over is noted also when this was the last record to send.
            await asyncio.shield(self._follow(self._hand_over(draft)))

    async def _hand_over(self, draft: Draft) -> None:
        """Give the record to the producer, in order; its acknowledgement is noted when it comes."""
        if self._producer is None:
            raise RuntimeError("not started")
        timestamp_ms = int(time.time() * 1000) + self.shift_ms
        self.shifted += self.shift_ms != 0
        acknowledged = await self._producer.send(
            self._topic, draft.value, draft.key, draft.partition, timestamp_ms, list(draft.headers)
        )
        self._follow(self._noted(draft, acknowledged))

    def _follow(self, noting: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(noting)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _noted(self, draft: Draft, acknowledged: Awaitable[RecordMetadata]) -> None:
        self._note(draft, await acknowledged)

    def _note(self, draft: Draft, at: RecordMetadata) -> None:
        self.counts[draft.kind] += 1
        self._run.produced(
            (at.topic, at.partition, at.offset),
            (draft.key, draft.value, draft.headers),
            at.timestamp,
            draft.kind,
            poison=draft.poison,
            aborted=draft.aborted,
        )

    async def _abort(self, draft: Draft) -> None:
        """A transaction that comes to nothing; where Kafka is away it ends by its timeout, aborted as well."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers,
            transactional_id=f"chaos-{uuid.uuid4().hex}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )
        try:
            async with asyncio.timeout(TRANSACTION_LIMIT_S):
                await producer.start()
                await producer.begin_transaction()
                for _ in range(TRANSACTION_RECORDS):
                    self._note(draft, await producer.send_and_wait(self._topic, draft.value, draft.key))
                await producer.abort_transaction()
        except (KafkaError, TimeoutError, OSError):
            pass  # the broker is away
        finally:
            with contextlib.suppress(KafkaError, TimeoutError, OSError, asyncio.CancelledError):
                async with asyncio.timeout(3.0):
                    await producer.stop()
