"""Purges apart from writes: of what a crash, a request or an event given up may have left below a manifest."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial

from streamdex.model import Outcome, Rank
from streamdex.plan import Overtaken
from streamdex.retry import retry_forever
from streamdex.run.items import Item
from streamdex.run.rooms import Rooms


class Sweeps:
    """`settle` hears the outcome of each item whose document has been swept."""

    def __init__(self, rooms: Rooms, settle: Callable[[Item, Outcome], None]) -> None:
        self._rooms = rooms
        self._settle = settle
        self._again: asyncio.Queue[tuple[Item, Overtaken]] = asyncio.Queue()
        self._abandoned: asyncio.Queue[str] = asyncio.Queue()

    def tasks(self) -> list[Coroutine[object, object, None]]:
        """The loops; each runs until it is cancelled."""
        return [self._sweep_again_for_ever(), self._sweep_abandoned_for_ever()]

    async def sweep(self, overtaken: Sequence[tuple[Item, Overtaken]]) -> None:
        """A crash may have left points below the manifest's rank: remove them before the events settle."""
        below: Mapping[str, Rank] = {item.document_key: decision.rank for item, decision in overtaken}
        rooms = self._rooms
        await retry_forever(lambda: rooms.index.sweep(below), rooms.health, rooms.metrics)
        for item, decision in overtaken:
            self._settle(item, decision.outcome)

    def once_more(self, item: Item, ended: Overtaken) -> None:
        """Sweep a document with a request that was given up: by now it has landed or never will."""
        self._again.put_nowait((item, ended))

    def abandon(self, document_key: str) -> None:
        """Sweep after an event given up half-way: what its attempt has left, or a late landing will leave.

        The next owner cannot do that: it may have settled the event before our last request takes effect.
        """
        self._abandoned.put_nowait(document_key)

    async def _sweep_again_for_ever(self) -> None:
        while True:
            await self.sweep([await self._again.get()])

    async def _sweep_abandoned_for_ever(self) -> None:
        while True:
            key = await self._abandoned.get()
            sweep = partial(self._rooms.index.sweep_abandoned, key)
            wait_s = await retry_forever(sweep, self._rooms.health, self._rooms.metrics)
            if wait_s is not None:
                asyncio.get_running_loop().call_later(wait_s, self._abandoned.put_nowait, key)
