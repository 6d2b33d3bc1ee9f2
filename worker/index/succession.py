"""One collection takes another's place under the same alias.

The *predecessor* is where the alias leads. The *successor* has the next number and is filled beside it, by whoever
knows it by its own name; then the alias is switched. Until then nobody who uses the alias sees anything of it.
"""

import re
from collections.abc import AsyncIterator, Collection
from types import TracebackType
from typing import NamedTuple, Self

from worker.config import Settings
from worker.errors import ConfigurationError
from worker.index.aliases import alias_target, lead_alias, plain_collections
from worker.index.collection import CollectionMissing, Setup, names_of
from worker.index.connection import Connection
from worker.index.guards import Guards
from worker.index.manifests import ManifestFormat
from worker.index.reader import manifests_in
from worker.index.store import Store
from worker.model import Manifest, Order
from worker.telemetry import Metrics


class Succession(NamedTuple):
    """Which collection takes which one's place. `begun`: the successor is there already, filled in part or whole."""

    alias: str
    predecessor: str
    successor: str
    number: int
    begun: bool


def succession_of(alias: str, predecessor: str, collections: Collection[str], *, anew: bool) -> Succession:
    """The successor is the newest collection of this alias, if it is newer than the predecessor; else the next one.

    With `anew` it is the next one in any case, and also where the newest has no manifests, so that it is not ours, or
    where somebody gave the predecessor a name without a number.
    """
    numbers = [number for name in collections if (number := _number(alias, name)) is not None]
    newest, used = max(numbers, default=0), _number(alias, predecessor)
    ours = names_of(f"{alias}__{newest}").manifests in collections
    begun = ours and not anew and used is not None and newest > used
    number = newest if begun else newest + 1
    return Succession(alias, predecessor, f"{alias}__{number}", number, begun)


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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def succession(self, *, anew: bool) -> Succession:
        """Which collection may take the place of the one in use; nothing is made.

        Raises CollectionMissing where nothing is in use, and ConfigurationError where no alias stands before it.
        """
        name = self._settings.qdrant.collection
        collections = await plain_collections(self._connection)
        if name in collections:
            raise ConfigurationError(
                f"{name} is a collection itself, not an alias that could be switched",
                "qdrant.collection",
                "Fill a new one with a worker: other names for qdrant.collection and kafka.group_id.",
            )
        predecessor = await alias_target(self._connection, name)
        if predecessor is None:
            raise CollectionMissing(
                f"there is no collection {name}", "qdrant.collection", "Start the worker: it makes and fills it."
            )
        return succession_of(name, predecessor, collections, anew=anew)

    async def begin(self, succession: Succession, dimension: int) -> None:
        """Make the successor, empty; nothing leads to it yet. Raises ConfigurationError when Qdrant refuses."""
        qdrant, guards = self._settings.qdrant, Guards(self._settings.worker.order)
        await Setup(self._connection, qdrant, dimension, guards).make(names_of(succession.successor))

    async def documents(self, collection: str) -> AsyncIterator[Manifest]:
        """The manifests of a collection, however it was made, by majority where it has copies.

        Their ranks are read as version order has them: `sequence` is 0 where the collection is in offset order.
        """
        store = Store(self._connection, names_of(collection), replicated=True)
        async for manifest in manifests_in(store, ManifestFormat(Guards(Order.VERSION), 0)):
            yield manifest

    async def switch(self, succession: Succession) -> None:
        """Let the alias lead to the successor, in one step."""
        await lead_alias(self._connection, succession.alias, succession.successor)
