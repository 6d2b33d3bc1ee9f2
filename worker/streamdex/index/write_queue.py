"""Gathers the documents that are ready to be written into batches: one request per protocol step for many documents.

A document's coroutine awaits `put`. Meanwhile up to four writers take what waits, each up to 128 points at a time.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Coroutine, Mapping
from functools import partial
from typing import NamedTuple

from streamdex.index.jobs import WriteJob, Written
from streamdex.index.writer import Writer
from streamdex.model import Rank
from streamdex.retry import retry_faults, retry_forever
from streamdex.telemetry import Health, Metrics

BATCH_POINTS = 128  # 64 cost 5 µs a document more; beyond 128 little is gained for more latency
WRITERS = 4  # batches in flight; apart from the embedding slots, so that neither waits for the other
FULL_DOCUMENTS = 1024
FULL_BYTES = 32 * 2**20  # of vectors: a document of many short chunks has a hundred times the bytes of its text


class _Waiting(NamedTuple):
    """A document that waits for a writer."""

    job: WriteJob
    vector_bytes: int
    written: asyncio.Future[Written]


class WriteQueue:
    """Writes documents in batches, and deletes what abandoned ones have left. `loops` do the work.

    The queue itself has no bound: planning stops while it is `full`, and what is planned by then still comes. So an
    embedding, which is paid for, never waits with an answer in its hands.
    """

    def __init__(self, writer: Writer, health: Health, metrics: Metrics) -> None:
        self.writer = writer
        self._health = health
        self._metrics = metrics
        self._waiting: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        self._waiting_bytes = 0
        self._writing: list[list[_Waiting]] = []
        self._abandoned: asyncio.Queue[str] = asyncio.Queue()

    def loops(self) -> list[Coroutine[object, object, None]]:
        """The writers; each runs until it is cancelled."""
        return [*(self._write_forever() for _ in range(WRITERS)), self._delete_abandoned_forever()]

    @property
    def full(self) -> bool:
        """Whether nothing more should be planned."""
        return len(self._waiting) >= FULL_DOCUMENTS or self._waiting_bytes >= FULL_BYTES

    @property
    def open(self) -> tuple[int, int]:
        """Documents that wait or are being written, and the bytes of their vectors."""
        entries = [entry for part in (self._waiting, *self._writing) for entry in part]
        return len(entries), sum(entry.vector_bytes for entry in entries)

    def put(self, job: WriteJob) -> Awaitable[Written]:
        """Write one document, in a batch with others. Service and account faults are waited out.

        Awaiting raises SuspectFault when Qdrant refuses this document alone, and an exception of ours that this
        document alone meets; both may be tried again.
        """
        vector_bytes = sum(map(len, job.vectors.values()))
        written: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(job, vector_bytes, written))
        self._waiting_bytes += vector_bytes
        self._filled.set()
        return written

    async def delete_overtaken(self, below: Mapping[str, Rank]) -> None:
        """Delete documents' points below the ranks given; faults are waited out."""
        await retry_forever(lambda: self.writer.delete_overtaken(below), self._health, self._metrics)

    async def delete_points(self, points: Mapping[str, Rank]) -> None:
        """Delete points by id, each unless it has become newer than its rank; faults are waited out."""
        await retry_forever(lambda: self.writer.delete_points(points), self._health, self._metrics)

    async def delete_manifests(self, manifests: Mapping[str, Rank]) -> None:
        """Delete manifests by document key, each unless it has become newer than its rank; faults are waited out."""
        await retry_forever(lambda: self.writer.delete_manifests(manifests), self._health, self._metrics)

    def abandon(self, document_id: str) -> None:
        """Delete, in the background, what an abandoned write has left, or what may land late.

        The next owner of the partition cannot do that: it may have settled the event before our last request lands.
        """
        self._abandoned.put_nowait(document_id)

    async def _write_forever(self) -> None:
        while True:
            while not self._waiting:
                self._filled.clear()
                await self._filled.wait()
            batch = self._next_batch()
            self._writing.append(batch)
            await self._write(batch)
            self._writing.remove(batch)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        points = BATCH_POINTS
        while self._waiting and points > 0:
            entry = self._waiting.popleft()
            batch.append(entry)
            self._waiting_bytes -= entry.vector_bytes
            points -= len(entry.job.vectors) or 1
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        jobs = [entry.job for entry in batch]
        try:
            results = await retry_faults(lambda: self.writer.write(jobs), self._health, self._metrics)
        except Exception as error:  # noqa: BLE001  # our own bug: written one by one, it names its document
            if len(batch) > 1:
                for entry in batch:
                    await self._write([entry])
            elif not batch[0].written.done():
                batch[0].written.set_exception(error)
            return
        for (_, _, future), written in zip(batch, results, strict=True):
            if future.done():  # its coroutine was cancelled
                continue
            if written.fault is None:
                future.set_result(written)
            else:
                future.set_exception(written.fault)

    async def _delete_abandoned_forever(self) -> None:
        while True:
            key = await self._abandoned.get()
            wait_s = await retry_forever(partial(self.writer.delete_abandoned, key), self._health, self._metrics)
            if wait_s is not None:
                asyncio.get_running_loop().call_later(wait_s, self._abandoned.put_nowait, key)
