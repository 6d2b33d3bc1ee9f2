"""The new collection, the *successor*, and the worker that fills it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from typing import TypeVar

from streamdex.config import JinaSettings, Settings, with_section
from streamdex.errors import AccountFault, ServiceFault
from streamdex.index import AliasSwitch, Index, Progress
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Manifest, Partition, Ranges
from streamdex.operations.reindex.gaps import Gap, GapFinder
from streamdex.operations.verify.verification import OnProgress, records_in, with_progress
from streamdex.run.worker import Worker

T = TypeVar("T")

POLL_S = 0.5
BATCH_DOCUMENTS = 4096  # looked up in one request; where the old workers are ahead, each may wait for a commit


class Successor:
    """A collection that a worker fills. All methods raise ServiceFault and AccountFault."""

    def __init__(self, settings: Settings, reader: TopicReader, index: Index) -> None:
        """Starts the worker, with `settings`. `close` must follow."""
        self._settings = settings
        self._reader = reader
        self._index = index
        self._worker = Worker(settings, worker_name=f"{socket.gethostname()}-{os.getpid()}-reindex")
        self._working = asyncio.create_task(self._worker.run())
        self.stopped = False

    def stop(self) -> None:
        """Let the worker finish what is paid for, and end. Called again: it does not wait for that."""
        self.stopped = True
        self._worker.stop()

    async def close(self) -> None:
        """Stop the worker and wait for its end. Raises what it died of."""
        if not self.stopped:
            self._worker.stop()
        await self._working

    async def fill(self, on_progress: OnProgress) -> bool:
        """Wait until the log is settled up to its end, and then up to where it ends by then. False: stopped before."""
        reached: dict[Partition, int] = {}
        for what in (f"records, as {self._settings.kafka.group_id}", "records that came since"):
            wanted = {at: (reached.get(at, begin), end) for at, (begin, end) in (await self._log()).items()}
            if not await self._wait_until_settled(wanted, what, on_progress):
                return False
            reached = {at: end for at, (_, end) in wanted.items()}
        return True

    async def compare(
        self, documents: AsyncIterator[Manifest], on_progress: OnProgress
    ) -> AsyncIterator[tuple[Manifest, Gap | None]]:
        """The predecessor's documents, each with what is missing of it here. Ends early when stopped."""
        kafka, order = self._settings.kafka, self._settings.worker.order
        counted = with_progress(on_progress, "documents compared", None, documents)
        async for batch in batched(counted, BATCH_DOCUMENTS):
            log = await self._log()
            gaps, progress = GapFinder(log, kafka.epoch, order), await self._progress(log)
            if any(gaps.is_ahead(old, progress) for old in batch):  # the old workers go on, and may be faster
                await self._wait_until_settled(log, "", lambda *_: None)
            if self._has_ended():
                return
            found = await self._index.reader.manifests([old.document_id for old in batch])
            for old in batch:
                yield old, gaps.gap(old, found.get(old.document_id))

    async def _wait_until_settled(self, wanted: Ranges, what: str, on_progress: OnProgress) -> bool:
        """Wait until all of `wanted` is settled. False: stopped before, or the worker has died."""
        total, before = records_in(wanted), 0
        on_progress(what, 0, total)
        while before < total:
            if self._has_ended():
                return False
            with suppress(ServiceFault, AccountFault):  # the worker meets the same fault, logs it, and waits
                settled = settled_in(wanted, await self._progress(wanted))
                on_progress(what, settled - before, total)
                before = settled
            await asyncio.sleep(POLL_S)
        return True

    def _has_ended(self) -> bool:
        return self.stopped or self._working.done()

    async def _log(self) -> Ranges:
        """[begin, end) of each partition as it is now."""
        return await self._reader.ranges(self._settings.kafka.topics)

    async def _progress(self, partitions: Iterable[Partition]) -> dict[Partition, Progress]:
        """What is settled, as the collection has it. The group may have commits of a collection that was deleted."""
        kafka, bookkeeping = self._settings.kafka, self._index.bookkeeping
        return await bookkeeping.progress(self._reader.cluster_id, kafka.epoch, list(partitions))


async def batched(items: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """The items in lists of this size; the last one may be shorter."""
    batch: list[T] = []
    async for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def successor_settings(settings: Settings, alias_switch: AliasSwitch, share: float) -> Settings:
    """The worker's settings: the successor's own name, a group of its own, a share of the key's limits."""
    group = f"{settings.kafka.group_id}__{alias_switch.number}"
    settings = with_section(settings, "qdrant", collection=alias_switch.successor)
    settings = with_section(settings, "kafka", group_id=group, auto_offset_reset="earliest", group_instance_id=None)
    return with_section(settings, "jina", **shared_limits(settings.jina, share))


def shared_limits(jina: JinaSettings, share: float) -> dict[str, int]:
    """This share of the key's three limits, at least 1 of each."""
    names = ("requests_per_minute", "tokens_per_minute", "concurrency")
    return {name: max(1, int(limit * share)) for name, limit in zip(names, jina.effective_limits, strict=True)}


def settled_in(wanted: Ranges, progress: Mapping[Partition, Progress]) -> int:
    """How many offsets of these [begin, end) lie below the progress."""
    return sum(max(0, min(progress[at].offset, end) - begin) for at, (begin, end) in wanted.items() if at in progress)
