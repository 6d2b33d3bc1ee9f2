"""Fills a new collection from the log, with a worker of its own, and switches the alias to it.

The worker is an ordinary one, in another group and with the new collection's own name. So everything that holds for
workers holds for it: limits, dead letters, guards, and going on after a stop. The old workers meanwhile go on with the
old collection.
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from streamdex.config import Settings
from streamdex.errors import AccountFault, ConfigurationError
from streamdex.index import Alias, AliasSwitch, CollectionMissing, Index
from streamdex.kafka.topic_reader import TopicReader
from streamdex.model import Manifest
from streamdex.operations.reindex.gaps import Gap
from streamdex.operations.reindex.successor import Successor, successor_settings
from streamdex.operations.verify.verification import OnProgress, refuse_recreated
from streamdex.run.pipeline import examine
from streamdex.telemetry import Metrics

MOST_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class ReindexOptions:
    """What a reindexing is to do.

    `share`: of the limits in the settings, above 0 up to 1. `from_scratch`: begin another collection, even if one was
    begun or the one in use was made with these settings. `switch`: switch the alias at the end; with `accept_missing`
    also when documents are missing.
    """

    share: float = 0.5
    from_scratch: bool = False
    switch: bool = True
    accept_missing: bool = False


@dataclass(slots=True)
class ReindexResult:
    """What was done. `examples` are document keys. When `stopped`, not all documents were compared, or none."""

    alias_switch: AliasSwitch
    group: str
    stopped: bool = False
    filled: bool = False
    switched: bool = False
    compared: int = 0
    missing: dict[Gap, int] = field(default_factory=dict)
    examples: dict[Gap, list[str]] = field(default_factory=dict)

    def add(self, old: Manifest, gap: Gap | None) -> None:
        """Count a document of the predecessor, and what the successor misses of it."""
        self.compared += old.tombstone_until_ms is None
        if gap is not None:
            self.missing[gap] = self.missing.get(gap, 0) + 1
            examples = self.examples.setdefault(gap, [])
            if len(examples) < MOST_EXAMPLES:
                examples.append(old.document_id)


class Reindexing:
    """One attempt. `run` works until the end, or until `stop` is called; the next attempt goes on from there."""

    def __init__(self, settings: Settings, options: ReindexOptions, on_progress: OnProgress) -> None:
        """Raises ConfigurationError for settings that cannot work, before anything is connected."""
        self._settings = settings
        self._options = options
        self._on_progress = on_progress
        self._profile, _ = examine(settings)
        self._running: asyncio.Task[Any] | None = None
        self._successor: Successor | None = None  # once its worker runs

    def stop(self) -> None:
        """Finish what is paid for, and end. Called again: do not wait for that.

        Before there is a worker nothing is paid for: then `run` is cancelled.
        """
        if self._successor is not None:
            self._successor.stop()
        elif self._running is not None:
            self._running.cancel()

    async def run(self) -> ReindexResult:
        """Fill, compare, switch.

        Raises ConfigurationError, AccountFault and ServiceFault; CancelledError when stopped before there was a worker.
        """
        self._running = asyncio.current_task()
        async with AsyncExitStack() as opened:
            alias = await opened.enter_async_context(Alias(self._settings, Metrics()))
            alias_switch = await self._alias_switch(alias)
            settings = successor_settings(self._settings, alias_switch, self._options.share)
            reader = await opened.enter_async_context(TopicReader(settings.kafka))
            await self._examine_log(reader, alias, alias_switch)
            await alias.begin(alias_switch, self._profile.dimension)
            index = await self._open(settings, alias_switch)
            opened.push_async_callback(index.close)
            result = ReindexResult(alias_switch, settings.kafka.group_id)
            self._successor = successor = Successor(settings, reader, index)
            try:
                result.filled = await successor.fill(self._on_progress)
                if result.filled:
                    async for old, gap in successor.compare(alias.documents(alias_switch), self._on_progress):
                        result.add(old, gap)
            finally:
                await successor.close()
            result.stopped = successor.stopped
            if self._may_switch(result):  # and the worker has ended well
                await alias.switch(alias_switch)
                result.switched = True
        return result

    def _may_switch(self, result: ReindexResult) -> bool:
        wanted = result.filled and not result.stopped and self._options.switch
        return wanted and (self._options.accept_missing or not result.missing)

    async def _alias_switch(self, alias: Alias) -> AliasSwitch:
        """Which collection takes which one's place.

        Raises ConfigurationError where the one in use was made with these settings: embedding everything again would
        cost as much as the first time.
        """
        from_scratch = self._options.from_scratch
        alias_switch = await alias.alias_switch(from_scratch=from_scratch)
        if not from_scratch and not alias_switch.begun and await self._has_these_settings():
            raise ConfigurationError(
                f"the collection that {alias_switch.alias} leads to was made with these settings",
                "qdrant.collection",
                "Nothing needs to be done; --from-scratch fills another one all the same, at the full cost.",
            )
        return alias_switch

    async def _has_these_settings(self) -> bool:
        profile = self._profile
        try:
            index = await Index.open(self._settings, profile.fingerprint, profile.dimension, Metrics(), create=False)
        except CollectionMissing:
            raise
        except (ConfigurationError, AccountFault):
            return False  # made in another way, or damaged: that is what a new one is for
        await index.close()
        return True

    async def _examine_log(self, reader: TopicReader, alias: Alias, alias_switch: AliasSwitch) -> None:
        """Before anything is created and paid for: the topics are there, and are those that the predecessor knows."""
        kafka = self._settings.kafka
        log = await reader.ranges(kafka.topics)
        with suppress(AccountFault):  # the predecessor's bookkeeping is damaged; it is to be replaced
            refuse_recreated(log, await alias.progress(alias_switch, reader.cluster_id, kafka.epoch, list(log)))

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
                "Give the settings that it was begun with, or --from-scratch for another one.",
            ) from None
