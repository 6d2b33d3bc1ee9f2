"""For `streamdex reindex`: fills a new collection from the log, with a worker of its own, and switches the alias to it.

The worker is an ordinary one, of another group and with the new collection's own name, so all that holds for workers
holds for it: limits, dead letters, guards, going on after a stop where it was. The old workers go on meanwhile with the
old collection. The alias is switched only when the new collection has every document of the old one.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from streamdex.config import JinaSettings, Settings, with_section
from streamdex.errors import AccountFault, ConfigurationError, ServiceFault
from streamdex.index import Alias, AliasSwitch, CollectionMissing, Index, Progress
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Manifest, Partition, Ranges
from streamdex.operations.reindex.gaps import Gap, Judge
from streamdex.operations.verify.verification import OnProgress, records_in, refuse_recreated, told
from streamdex.run.worker import Worker, examine
from streamdex.telemetry import Metrics

T = TypeVar("T")

# How many more are settled, and of how many in all.
Told = Callable[[int, int | None], None]

POLL_S = 0.5
BATCH_DOCUMENTS = 4096  # looked up in one request; where the old workers are ahead, each may wait a commit
MOST_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a reindexing is asked for.

    `share`: of the limits in the settings, above 0 to 1. `anew`: begin another collection, whatever has been begun or
    is made with these settings already. `switch`: let the alias lead to it. `accept_missing`: also when it lacks
    documents.
    """

    share: float = 0.5
    anew: bool = False
    switch: bool = True
    accept_missing: bool = False


@dataclass(slots=True)
class Reindexed:
    """What came of it. `examples` are document keys; of `stopped` ones nothing was compared, or not all."""

    alias_switch: AliasSwitch
    group: str
    stopped: bool = False
    filled: bool = False
    switched: bool = False
    compared: int = 0
    missing: dict[Gap, int] = field(default_factory=dict)
    examples: dict[Gap, list[str]] = field(default_factory=dict)

    def note(self, old: Manifest, gap: Gap | None) -> None:
        """Count a document of the predecessor, and what the successor lacks of it."""
        self.compared += old.tombstone_until_ms is None
        if gap is None:
            return
        self.missing[gap] = self.missing.get(gap, 0) + 1
        examples = self.examples.setdefault(gap, [])
        if len(examples) < MOST_EXAMPLES:
            examples.append(old.document_key)


class Reindexing:
    """One attempt. `run` works until the end, or until `stop` is called: then the next attempt goes on from there."""

    def __init__(self, settings: Settings, wishes: Wishes, on_progress: OnProgress) -> None:
        """Raises ConfigurationError for settings that cannot work, before anything is connected."""
        self._settings = settings
        self._wishes = wishes
        self._on_progress = on_progress
        self._profile, _ = examine(settings)
        self._pipeline: Worker | None = None
        self._running: asyncio.Task[Any] | None = None
        self._stopped = False

    def stop(self) -> None:
        """Finish what is paid for, and end; called again, do not wait for that. Before there is a worker nothing is
        under way yet: then `run` is cancelled.
        """
        self._stopped = True
        if self._pipeline is not None:
            self._pipeline.stop()
        elif self._running is not None:
            self._running.cancel()

    async def run(self) -> Reindexed:
        """Fill, compare, switch.

        Raises ConfigurationError, AccountFault and ServiceFault; CancelledError when stopped before there was a worker.
        """
        self._running = asyncio.current_task()
        async with AsyncExitStack() as opened:
            alias = await opened.enter_async_context(Alias(self._settings, Metrics()))
            alias_switch = await self._alias_switch(alias)
            settings = successor_settings(self._settings, alias_switch, self._wishes.share)
            reader = await opened.enter_async_context(TopicReader(settings.kafka))
            await self._examine_log(reader, alias, alias_switch)
            await alias.begin(alias_switch, self._profile.dimension)
            index = await self._open(settings, alias_switch)
            opened.push_async_callback(index.close)
            done = Reindexed(alias_switch, settings.kafka.group_id)
            async with self._worker(settings) as working:
                state = _State(reader, index, settings)
                done.filled = await self._fill(state, working, done.group)
                if done.filled:
                    await self._compare(alias, state, working, done)
            done.stopped = self._stopped
            if self._may_switch(done):  # and the worker has ended well
                await alias.switch(alias_switch)
                done.switched = True
        return done

    def _may_switch(self, done: Reindexed) -> bool:
        asked = done.filled and not done.stopped and self._wishes.switch
        return asked and (self._wishes.accept_missing or not done.missing)

    async def _alias_switch(self, alias: Alias) -> AliasSwitch:
        """Which collection takes which one's place. To embed everything again costs as much as the first time, so it is
        not begun where the one in use was made with these settings.
        """
        alias_switch = await alias.alias_switch(anew=self._wishes.anew)
        if not self._wishes.anew and not alias_switch.begun and await self._is_made_so():
            raise ConfigurationError(
                f"the collection that {alias_switch.alias} leads to was made with these settings",
                "qdrant.collection",
                "Nothing needs to be done; --anew fills another one all the same, at the full cost.",
            )
        return alias_switch

    async def _examine_log(self, reader: TopicReader, alias: Alias, alias_switch: AliasSwitch) -> None:
        """Before anything is made and paid for: the topics are there, and are those that the predecessor knows."""
        kafka = self._settings.kafka
        log = await reader.ranges(kafka.topics)
        with suppress(AccountFault):  # what the predecessor remembers is damaged; it is to be replaced
            refuse_recreated(log, await alias.progress(alias_switch, reader.cluster_id, kafka.epoch, list(log)))

    async def _is_made_so(self) -> bool:
        profile = self._profile
        try:
            index = await Index.open(self._settings, profile.fingerprint, profile.dimension, Metrics(), create=False)
        except CollectionMissing:
            raise
        except (ConfigurationError, AccountFault):
            return False  # in another way, or damaged: that is what a new one is for
        await index.close()
        return True

    async def _open(self, settings: Settings, alias_switch: AliasSwitch) -> Index:
        profile = self._profile
        try:
            return await Index.open(settings, profile.fingerprint, profile.dimension, Metrics())
        except ConfigurationError as error:
            if not alias_switch.begun:
                raise
            raise ConfigurationError(
                f"{alias_switch.successor} was begun with other settings: {error.what}",
                error.where,
                "Give the settings that it was begun with, or --anew for another one.",
            ) from None

    # --- fill ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _worker(self, settings: Settings) -> AsyncIterator[asyncio.Task[int]]:
        """A worker that runs meanwhile. What it dies of is raised at the end."""
        self._pipeline = Worker(settings, worker_name=f"{socket.gethostname()}-{os.getpid()}-reindex")
        working = asyncio.create_task(self._pipeline.run())
        try:
            yield working
        finally:
            if not self._stopped:
                self._pipeline.stop()
            await working

    async def _fill(self, state: "_State", working: asyncio.Task[int], group: str) -> bool:
        """Up to the log's end as it is now, and then to the end as it is by then; False when stopped before."""
        reached: dict[Partition, int] = {}
        for what in (f"records, as {group}", "records that came since"):
            log = await state.log()
            wanted = {at: (reached.get(at, begin), end) for at, (begin, end) in log.items()}
            if not await self._reach(wanted, state, working, partial(self._on_progress, what)):
                return False
            reached = {at: end for at, (_, end) in wanted.items()}
        return True

    async def _reach(self, wanted: Ranges, state: "_State", working: asyncio.Task[int], on_progress: Told) -> bool:
        """Wait until all that is wanted is settled; False when stopped, or the worker has died, before."""
        total, before = records_in(wanted), 0
        on_progress(0, total)
        while before < total:
            if working.done() or self._stopped:
                return False
            with suppress(ServiceFault, AccountFault):  # the worker meets the same, says so, and waits
                settled = settled_in(wanted, await state.progress(wanted))
                on_progress(settled - before, total)
                before = settled
            await asyncio.sleep(POLL_S)
        return True

    # --- compare ------------------------------------------------------------------------------------------------

    async def _compare(self, alias: Alias, state: "_State", working: asyncio.Task[int], done: Reindexed) -> None:
        """Count the documents of the predecessor that the successor lacks. Ends early when stopped."""
        documents = alias.documents(done.alias_switch)
        async for batch in batched(told(self._on_progress, "documents compared", None, documents), BATCH_DOCUMENTS):
            log = await state.log()
            judge = Judge(log, self._settings.kafka.epoch, self._settings.worker.order)
            progress = await state.progress(log)
            if any(judge.is_ahead(old, progress) for old in batch):  # the old workers go on, and may be faster
                await self._reach(log, state, working, lambda *_: None)
            if working.done() or self._stopped:
                return
            found = await state.manifests([old.document_key for old in batch])
            for old in batch:
                done.note(old, judge.gap(old, found.get(old.document_key)))


class _State:
    """The log, and how far the successor has it. All methods raise ServiceFault and AccountFault."""

    def __init__(self, reader: TopicReader, index: Index, settings: Settings) -> None:
        self._reader = reader
        self._index = index
        self._kafka = settings.kafka

    async def log(self) -> Ranges:
        """[begin, end) of each partition as it is now."""
        return await self._reader.ranges(self._kafka.topics)

    async def progress(self, partitions: Iterable[Partition]) -> dict[Partition, Progress]:
        """What is settled: by the collection, not the group, which may have commits of a collection that is gone."""
        return await self._index.progress(self._reader.cluster_id, self._kafka.epoch, list(partitions))

    async def manifests(self, document_keys: Sequence[str]) -> dict[str, Manifest]:
        """The successor's manifests of those documents that have one."""
        return await self._index.read_manifests(document_keys)


async def batched(items: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """The items in lists of this size, the last one shorter."""
    batch: list[T] = []
    async for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def successor_settings(settings: Settings, alias_switch: AliasSwitch, share: float) -> Settings:
    """Those of the worker that fills the successor: its own collection and group, a share of the key's limits."""
    group = f"{settings.kafka.group_id}__{alias_switch.number}"
    settings = with_section(settings, "qdrant", collection=alias_switch.successor)
    settings = with_section(settings, "kafka", group_id=group, auto_offset_reset="earliest", group_instance_id=None)
    return with_section(settings, "jina", **shared_limits(settings.jina, share))


def shared_limits(jina: JinaSettings, share: float) -> dict[str, int]:
    """This part of the key's three limits, at least 1 of each."""
    names = ("requests_per_minute", "tokens_per_minute", "concurrency")
    return {name: max(1, int(limit * share)) for name, limit in zip(names, jina.effective_limits, strict=True)}


def settled_in(wanted: Ranges, progress: Mapping[Partition, Progress]) -> int:
    """How many offsets of these [begin, end) lie below the progress."""
    return sum(max(0, min(progress[at].offset, end) - begin) for at, (begin, end) in wanted.items() if at in progress)
