"""What moves through the flow: an item is one event on its way, a letter one condemned record on its way out."""

from dataclasses import dataclass, field

from worker.errors import RecordFault
from worker.model import Chunk, DocumentWrite, Event, Partition, Position, Rank, Record
from worker.settle import Ticket


@dataclass(slots=True, eq=False)
class Item:
    """One event, with the record it came from (for the dead letter) and its ticket.

    `embedding` are the chunks that wait for their vectors, `vectors` those that have come, by chunk id. Once
    `attempted`, some of its points may be in the store.
    """

    record: Record
    ticket: Ticket
    event: Event
    rank: Rank
    swallowed: list["Item"] = field(default_factory=list)
    write: DocumentWrite | None = None
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
    def planned(self) -> DocumentWrite:
        """The write that the plan came to; only planned items are embedded and written."""
        if self.write is None:
            raise AssertionError("an item is planned before it is embedded or written")
        return self.write


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
