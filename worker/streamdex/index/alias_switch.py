"""One collection takes another's place under the same alias.

The *predecessor* is where the alias leads. The *successor* has the next number and is filled beside it, by whoever
knows it by its own name; then the alias is switched. Until then nobody who uses the alias sees anything of it.
"""

import re
from collections.abc import AsyncIterator, Collection
from typing import NamedTuple, Self

from streamdex.config import Settings
from streamdex.errors import ConfigurationError
from streamdex.index.bookkeeping import Bookkeeping, Progress
from streamdex.index.client.connection import Connection
from streamdex.index.client.store import CollectionStore
from streamdex.index.collection import CollectionMissing, Setup, aliases, lead_alias, names_of, plain_collections
from streamdex.index.guards import Guards
from streamdex.index.reader import manifests_in
from streamdex.index.schema.manifests import ManifestFormat
from streamdex.model import Manifest, Order, Partition
from streamdex.telemetry import Metrics

BY_A_WORKER = "Fill a new one with a worker: other names for qdrant.collection and kafka.group_id."


class AliasSwitch(NamedTuple):
    """Which collection takes which one's place. `begun`: the successor is there already, filled in part or whole."""

    alias: str
    predecessor: str
    successor: str
    number: int
    begun: bool


def alias_switch_of(alias: str, predecessor: str, collections: Collection[str], *, from_scratch: bool) -> AliasSwitch:
    """The successor is the newest collection of this alias, if it is newer than the predecessor; else the next one.

    It is always the next one with `from_scratch`, where the newest has no manifests and so is not ours, and where the
    predecessor has a name without a number.
    """
    numbers = [number for name in collections if (number := _number(alias, name)) is not None]
    newest, used = max(numbers, default=0), _number(alias, predecessor)
    ours = names_of(f"{alias}__{newest}").manifests in collections
    begun = ours and not from_scratch and used is not None and newest > used
    number = newest if begun else newest + 1
    return AliasSwitch(alias, predecessor, f"{alias}__{number}", number, begun)


def _number(alias: str, name: str) -> int | None:
    found = re.fullmatch(re.escape(alias) + r"__([1-9][0-9]{0,8})", name)
    return int(found[1]) if found else None


class Alias:
    """`qdrant.collection`, and where it leads. A context manager; all methods raise ServiceFault and AccountFault."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Raises ConfigurationError when the server's address or key cannot be used."""
        self._settings = settings
        self._connection = Connection(settings.qdrant, metrics)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def alias_switch(self, *, from_scratch: bool) -> AliasSwitch:
        """Which collection may take the place of the one in use; nothing is made.

        Raises CollectionMissing where nothing is in use, and ConfigurationError where no alias stands before it.
        """
        name = self._settings.qdrant.collection
        collections = await plain_collections(self._connection)
        led = await aliases(self._connection)
        if name in collections:
            raise ConfigurationError(
                f"{name} is a collection itself, not an alias that could be switched", "qdrant.collection", BY_A_WORKER
            )
        if name not in led:
            raise CollectionMissing(
                f"there is no collection {name}", "qdrant.collection", "Start the worker: it makes and fills it."
            )
        if names_of(led[name]).manifests not in collections:
            raise ConfigurationError(
                f"{name} leads to {led[name]}, which no worker has filled: it has no manifests",
                "qdrant.collection",
                BY_A_WORKER,
            )
        return alias_switch_of(name, led[name], collections | led.keys(), from_scratch=from_scratch)

    async def begin(self, alias_switch: AliasSwitch, dimension: int) -> None:
        """Make the successor, empty; nothing leads to it yet.

        Raises ConfigurationError when Qdrant refuses, and where manifests stand without their points: they would say of
        an empty collection that all is done.
        """
        names = names_of(alias_switch.successor)
        # In this order: another reindexing may be making both now, and writes to neither before both are there.
        if await self._holds(names.manifests) and names.points not in await plain_collections(self._connection):
            raise ConfigurationError(
                f"{names.manifests} is left over of a collection that was deleted",
                "qdrant.collection",
                f"Delete {names.manifests} in Qdrant as well.",
            )
        qdrant, guards = self._settings.qdrant, Guards(self._settings.worker.order)
        await Setup(self._connection, qdrant, dimension, guards).make(names)

    async def _holds(self, collection: str) -> bool:
        """Whether there is such a collection, with anything in it."""
        if collection not in await plain_collections(self._connection):
            return False
        store = self._store(collection)
        return await anext(aiter(store.scroll(collection, page=1)), None) is not None

    def _store(self, collection: str) -> CollectionStore:
        """Reads by majority where there are copies."""
        return CollectionStore(self._connection, names_of(collection), replicated=True)

    async def documents(self, alias_switch: AliasSwitch) -> AsyncIterator[Manifest]:
        """The predecessor's manifests, in whichever order and with whichever settings it was made.

        Their ranks are read as version order has them: `sequence` is 0 where the predecessor is in offset order.
        """
        manifests = ManifestFormat(Guards(Order.VERSION), 0)
        async for manifest in manifests_in(self._store(alias_switch.predecessor), manifests):
            yield manifest

    async def progress(
        self, alias_switch: AliasSwitch, cluster_id: str, epoch: int, partitions: Collection[Partition]
    ) -> dict[Partition, Progress]:
        """How far the predecessor has each partition; those it knows nothing of are left out."""
        bookkeeping = Bookkeeping(
            self._store(alias_switch.predecessor), lambda: 0
        )  # nothing is written, so no time is asked
        return await bookkeeping.progress(cluster_id, epoch, partitions)

    async def switch(self, alias_switch: AliasSwitch) -> None:
        """Let the alias lead to the successor, in one step. Raises ConfigurationError if it leads elsewhere by now."""
        leads_to = (await aliases(self._connection)).get(alias_switch.alias)
        if leads_to not in (alias_switch.predecessor, alias_switch.successor):
            raise ConfigurationError(
                f"{alias_switch.alias} was switched to {leads_to} meanwhile",
                "qdrant.collection",
                f"Nothing was changed. {alias_switch.successor} is filled; switch to it by hand if it is right.",
            )
        await lead_alias(self._connection, alias_switch.alias, alias_switch.successor)
