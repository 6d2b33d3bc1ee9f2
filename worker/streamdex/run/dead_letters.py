"""The one way to the dead-letter topic."""

import asyncio
import time

from streamdex.deadletter import DeadLetters
from streamdex.errors import RecordFault
from streamdex.index import Writer
from streamdex.model import DocumentWrite, Position, Record
from streamdex.retry import retry_faults, retry_forever
from streamdex.settle import Ticket
from streamdex.telemetry import DEAD_LETTERED, Health, Metrics, emit

SENDERS = 8  # dead letters that wait for their acknowledgement at the same time


class DeadLetterSender:
    """Sends records whose fault is proven. `waiting` and `waiting_bytes` are those that are not acknowledged yet."""

    def __init__(self, dead_letters: DeadLetters, writer: Writer, health: Health, metrics: Metrics) -> None:
        self._dead_letters = dead_letters
        self._writer = writer
        self._health = health
        self._metrics = metrics
        self._senders = asyncio.Semaphore(SENDERS)
        self._starting = asyncio.Lock()
        self._started = False
        self.waiting = 0
        self.waiting_bytes = 0

    async def start(self) -> None:
        """Create missing topics and connect; `send` does it when it was not done before. Raises ConfigurationError."""
        async with self._starting:
            if not self._started:
                await retry_faults(self._dead_letters.start, self._health, self._metrics)
                self._started = True

    async def send(
        self, record: Record, position: Position, fault: RecordFault, ticket: Ticket, write: DocumentWrite | None = None
    ) -> bool:
        """Send a record, however long the acknowledgement takes; first delete what attempts at `write` have left.

        False when its assignment ended before: the next owner judges the record. Raises ConfigurationError from the
        first start.
        """
        failed_at_ms = int(time.time() * 1000)
        size_bytes = record.size_bytes
        self.waiting += 1
        self.waiting_bytes += size_bytes
        try:
            async with self._senders:
                if write is not None:
                    await retry_forever(lambda: self._writer.delete_leftovers(write), self._health, self._metrics)
                if not ticket.alive:
                    return False
                await self._send(record, position, fault, failed_at_ms)
                return True
        finally:
            self.waiting -= 1
            self.waiting_bytes -= size_bytes

    async def _send(self, record: Record, position: Position, fault: RecordFault, failed_at_ms: int) -> None:
        await self.start()
        await retry_forever(
            lambda: self._dead_letters.send(record, fault, position, failed_at_ms), self._health, self._metrics
        )
        self._metrics.counts.dead_letters[fault.reason.value] += 1
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        emit(DEAD_LETTERED, stage=fault.stage.value, reason=fault.reason.value, **place)
