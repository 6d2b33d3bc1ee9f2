"""For `streamdex reindex`: fills a new collection from the log, with a worker of its own, and switches the alias to it.

The worker is an ordinary one, of another group and with the new collection's own name, so all that holds for workers
holds for it: limits, dead letters, guards, going on after a stop where it was. The old workers go on meanwhile with the
old collection. The alias is switched only when the new collection has every document of the old one.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from worker.config import JinaSettings, Settings, with_section
from worker.errors import AccountFault, ConfigurationError, ServiceFault
from worker.index import Alias, CollectionMissing, Index, Progress, Succession
from worker.intake import TopicReader
from worker.model import Manifest, Partition
from worker.pipeline import Pipeline, examine
from worker.telemetry import Metrics
from worker.verification import Said, told

POLL_S = 0.5
BATCH_DOCUMENTS = 256
MOST_EXAMPLES = 5

Ranges = Mapping[Partition, tuple[int, int]]


class Lack(StrEnum):
    """Why the new collection has no manifest of a document that the old one has."""

    NOT_INDEXED = "its last event was not indexed with these settings: see `streamdex dlq list`"
    NOT_IN_THE_LOG = "the log does not hold its last event any more: produce the document again"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a reindexing is asked for.

    `share`: of the key's limits, above 0 to 1. `anew`: into a collection of its own, whatever has been begun or is made
    with these settings already. `switch`: let the alias lead to it. `accept_missing`: also when documents are missing.
    """

    share: float = 0.5
    anew: bool = False
    switch: bool = True
    accept_missing: bool = False


@dataclass(slots=True)
class Reindexed:
    """What came of it. `examples` are document keys."""

    succession: Succession
    group: str
    filled: bool = False
    switched: bool = False
    compared: int = 0
    missing: dict[Lack, int] = field(default_factory=dict)
    examples: dict[Lack, list[str]] = field(default_factory=dict)

    def lacks(self, lack: Lack, document_key: str) -> None:
        """Count a document that is missing."""
        self.missing[lack] = self.missing.get(lack, 0) + 1
        examples = self.examples.setdefault(lack, [])
        if len(examples) < MOST_EXAMPLES:
            examples.append(document_key)


class Reindexing:
    """One attempt. `run` works until the end, or until `stop` is called: then the next attempt goes on from there."""

    def __init__(self, settings: Settings, wishes: Wishes, said: Said) -> None:
        """Raises ConfigurationError for settings that cannot work, before anything is connected."""
        self._settings = settings
        self._wishes = wishes
        self._said = said
        self._profile, _ = examine(settings)
        self._pipeline: Pipeline | None = None
        self.stopped = False

    def stop(self) -> None:
        """Finish what is paid for, and end; called again, do not wait for that."""
        self.stopped = True
        if self._pipeline is not None:
            self._pipeline.stop()

    async def run(self) -> Reindexed:
        """Fill, compare, switch. Raises ConfigurationError, AccountFault and ServiceFault."""
        metrics = Metrics()
        async with Alias(self._settings, metrics) as alias:
            succession = await alias.succession(anew=self._wishes.anew)
            if not self._wishes.anew:
                await self._refuse_needless(metrics)
            await alias.begin(succession, self._profile.dimension)
            settings = successor_settings(self._settings, succession, self._wishes.share)
            done = Reindexed(succession, settings.kafka.group_id)
            index = await self._open(settings, succession, metrics)
            try:
                async with TopicReader(settings.kafka) as reader, self._worker(settings) as working:
                    done.filled = await self._fill(reader, settings, working)
                    if done.filled:
                        await self._compare(alias, index, reader, done)
                        if self._may_switch(done):
                            await alias.switch(succession)
                            done.switched = True
            finally:
                await index.close()
        return done

    def _may_switch(self, done: Reindexed) -> bool:
        return self._wishes.switch and not self.stopped and (self._wishes.accept_missing or not done.missing)

    async def _refuse_needless(self, metrics: Metrics) -> None:
        """To embed everything again costs as much as the first time: not without need."""
        profile = self._profile
        try:
            index = await Index.open(self._settings, profile.fingerprint, profile.dimension, metrics, create=False)
        except CollectionMissing:
            raise
        except (ConfigurationError, AccountFault):
            return  # made in another way, or damaged: that is what a new one is for
        await index.close()
        raise ConfigurationError(
            f"the collection that {self._settings.qdrant.collection} leads to was made with these settings",
            "qdrant.collection",
            "Nothing needs to be done; --anew fills another one all the same, at the full cost.",
        )

    async def _open(self, settings: Settings, succession: Succession, metrics: Metrics) -> Index:
        profile = self._profile
        try:
            return await Index.open(settings, profile.fingerprint, profile.dimension, metrics)
        except ConfigurationError as error:
            if not succession.begun:
                raise
            raise ConfigurationError(
                f"{succession.successor} was begun with other settings: {error.what}",
                error.where,
                "Give the settings that it was begun with, or --anew for another one.",
            ) from None

    # --- fill ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _worker(self, settings: Settings) -> AsyncIterator[asyncio.Task[int]]:
        """A worker that runs meanwhile. What it dies of is raised at the end."""
        self._pipeline = Pipeline(settings, worker_name=f"{socket.gethostname()}-{os.getpid()}-reindex")
        if self.stopped:
            self._pipeline.stop()
        working = asyncio.create_task(self._pipeline.run())
        try:
            yield working
        finally:
            if not self.stopped:
                self._pipeline.stop()
            await working

    async def _fill(self, reader: TopicReader, settings: Settings, working: asyncio.Task[int]) -> bool:
        """Up to the log's end as it is now, and then to the end as it is by then; False when stopped before."""
        return await self._reach(reader, settings, working, "records") and await self._reach(
            reader, settings, working, "records that came since"
        )

    async def _reach(self, reader: TopicReader, settings: Settings, working: asyncio.Task[int], what: str) -> bool:
        log = await reader.ranges(settings.kafka.topics)
        total = sum(end - begin for begin, end in log.values())
        before = 0
        self._said(what, 0, total)
        while before < total:
            if working.done() or self.stopped:
                return False
            with suppress(ServiceFault):  # the worker meets the same, says so, and waits
                committed = await reader.committed(log)
                settled = sum(settled_of(log[partition], offset) for partition, offset in committed.items())
                self._said(what, settled - before, total)
                before = settled
            await asyncio.sleep(POLL_S)
        return True

    # --- compare ------------------------------------------------------------------------------------------------

    async def _compare(self, alias: Alias, index: Index, reader: TopicReader, done: Reindexed) -> None:
        """Count the documents of the predecessor that the successor lacks."""
        log = await reader.ranges(self._settings.kafka.topics)
        epoch = self._settings.kafka.epoch
        progress = await index.progress(reader.cluster_id, epoch, list(log))
        batch: list[Manifest] = []
        documents = alias.documents(done.succession.predecessor)
        async for manifest in told(self._said, "documents compared", None, documents):
            if manifest.tombstone_until_ms is None and not is_ahead(manifest, epoch, progress):
                batch.append(manifest)
            if len(batch) == BATCH_DOCUMENTS:
                await _note_missing(batch, index, log, epoch, done)
                batch = []
        await _note_missing(batch, index, log, epoch, done)


async def _note_missing(batch: Sequence[Manifest], index: Index, log: Ranges, epoch: int, done: Reindexed) -> None:
    found = await index.read_manifests([manifest.document_key for manifest in batch])
    done.compared += len(batch)
    for manifest in batch:
        if manifest.document_key not in found:
            done.lacks(lack_of(manifest, log, epoch), manifest.document_key)


def successor_settings(settings: Settings, succession: Succession, share: float) -> Settings:
    """Those of the worker that fills the successor: its own collection and group, a share of the key's limits."""
    group = f"{settings.kafka.group_id}__{succession.number}"
    settings = with_section(settings, "qdrant", collection=succession.successor)
    settings = with_section(settings, "kafka", group_id=group, auto_offset_reset="earliest", group_instance_id=None)
    return with_section(settings, "jina", **shared_limits(settings.jina, share))


def shared_limits(jina: JinaSettings, share: float) -> dict[str, int]:
    """This part of the key's three limits, at least 1 of each."""
    names = ("requests_per_minute", "tokens_per_minute", "concurrency")
    return {name: max(1, int(limit * share)) for name, limit in zip(names, jina.effective_limits, strict=True)}


def settled_of(log_range: tuple[int, int], committed: int) -> int:
    """How much of a partition's [begin, end) lies below what is committed."""
    begin, end = log_range
    return max(0, min(committed, end) - begin)


def is_ahead(manifest: Manifest, epoch: int, progress: Mapping[Partition, Progress]) -> bool:
    """The old workers have come further: what they wrote since is still to come here."""
    at = manifest.position
    known = progress.get(Partition(at.topic, at.partition))
    return known is not None and at.epoch == epoch and at.offset >= known.offset


def lack_of(manifest: Manifest, log: Ranges, epoch: int) -> Lack:
    """Why a document is missing, by where its last event stood."""
    at = manifest.position
    begin, end = log.get(Partition(at.topic, at.partition), (0, 0))
    return Lack.NOT_INDEXED if at.epoch == epoch and begin <= at.offset < end else Lack.NOT_IN_THE_LOG
