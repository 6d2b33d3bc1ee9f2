"""What moves through the flow: an item is one event on its way, a letter one condemned record on its way out.

Here is also the queue of items that have their vectors: the one place where an item weighs more than its record did.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from streamdex.errors import RecordFault
from streamdex.model import Chunk, DocumentWrite, Event, Partition, Position, Rank, Record
from streamdex.settle import Ticket


@dataclass(slots=True, eq=False)
class Item:
    """One event, with the record it came from (for the dead letter) and its ticket.

    `metadata` are as they will be stored. `embedding` are the chunks that wait for their vectors, `vectors` those that
    have come, by chunk id. Once `attempted`, some of its points may be in the store.
    """

    record: Record
    ticket: Ticket
    event: Event
    rank: Rank
    coalesced: list["Item"] = field(default_factory=list)
    write: DocumentWrite | None = None
    metadata: bytes = field(default=b"", repr=False)
    embedding: tuple[Chunk, ...] = ()
    vectors: dict[str, bytes] = field(default_factory=dict, repr=False)
    attempted: bool = False

    @property
    def document_key(self) -> str:
        """Names the item's lane."""
        return self.event.document_key

    @property
    def partition(self) -> Partition:
        """The partition whose owner must settle it."""
        return self.ticket.partition

    @property
    def vector_bytes(self) -> int:
        """What its vectors weigh, as far as they have come."""
        return sum(map(len, self.vectors.values()))

    @property
    def planned(self) -> DocumentWrite:
        """The write that the plan came to; only planned items are embedded and written."""
        if self.write is None:
            raise AssertionError("an item is planned before it is embedded or written")
        return self.write


class WriteQueue:
    """Items whose vectors have come, and that wait for a writer. Bounded by `full`, which planning obeys: what is
    planned by then still comes, so that embedding, which is paid for, never waits with an answer in its hands.
    """

    MOST_ITEMS = 1024
    MOST_BYTES = 32 * 2**20  # of vectors: a document of many short chunks has a hundred times the bytes of its text

    def __init__(self) -> None:
        self._items: deque[tuple[Item, int]] = deque()  # each with what its vectors weigh
        self._filled = asyncio.Event()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should be planned."""
        return len(self._items) >= self.MOST_ITEMS or self._bytes >= self.MOST_BYTES

    def put(self, item: Item) -> None:
        """Queue an item."""
        vector_bytes = item.vector_bytes
        self._bytes += vector_bytes
        self._items.append((item, vector_bytes))
        self._filled.set()

    async def take(self, points: int) -> list[Item]:
        """Wait for an item; it, and those behind it until they have so many points together."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        batch: list[Item] = []
        while self._items and points > 0:
            item, vector_bytes = self._items.popleft()
            batch.append(item)
            self._bytes -= vector_bytes
            points -= len(item.vectors) or 1
        return batch


@dataclass(slots=True, eq=False)
class Letter:
    """A condemned record; `item` when it got as far as being an event."""

    record: Record
    ticket: Ticket
    position: Position
    fault: RecordFault
    failed_at_ms: int
    item: Item | None = None

    @property
    def partition(self) -> Partition:
        """The partition whose owner must settle it."""
        return self.ticket.partition
