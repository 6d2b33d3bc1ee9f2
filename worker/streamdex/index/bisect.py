"""Sends what is refused or too large in halves, until the document at fault is alone in its request."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from streamdex.errors import Exhausted, Reason, Service, SuspectFault, TooLarge
from streamdex.index.client.faults import as_account_fault
from streamdex.index.jobs import WriteJob

T = TypeVar("T")


class RequestEntry(Protocol):
    """A part of a request that belongs to one document."""

    @property
    def job(self) -> WriteJob:
        """The document's write."""


E = TypeVar("E", bound=RequestEntry)


async def bisect(
    entries: Sequence[E], send: Callable[[Sequence[E]], Awaitable[None]], faulty: dict[str, SuspectFault]
) -> None:
    """Send the entries; bisect what is refused, until `faulty` names single documents.

    The other entries of a faulty document are not sent: its kept chunks must not change for an event that will not be
    indexed. Raises Exhausted for a single entry: the server is busy, and no document is at fault.
    """
    if faulty:
        entries = [entry for entry in entries if entry.job.document_id not in faulty]
    if not entries:
        return
    try:
        await send(entries)
    except (SuspectFault, TooLarge) as fault:
        if len(entries) == 1 and isinstance(fault, Exhausted):
            raise
        key = entries[0].job.document_id
        alone = all(entry.job.document_id == key for entry in entries)
        if len(entries) == 1 or (alone and isinstance(fault, SuspectFault)):
            faulty[key] = SuspectFault(Service.QDRANT, Reason.REFUSED_BY_INDEX, fault.message)
            return
        middle = len(entries) // 2
        await bisect(entries[:middle], send, faulty)
        await bisect(entries[middle:], send, faulty)


async def send_all(items: Sequence[T], send: Callable[[Sequence[T]], Awaitable[None]]) -> None:
    """Send the items, in halves where Qdrant wants smaller requests. Raises AccountFault for a refusal.

    For the steps after a document's points were accepted: from then on a refusal is no record's fault.
    """
    if not items:
        return
    try:
        await send(items)
    except (SuspectFault, TooLarge) as fault:
        if len(items) > 1:
            middle = len(items) // 2
            await send_all(items[:middle], send)
            await send_all(items[middle:], send)
        elif isinstance(fault, SuspectFault):
            raise as_account_fault(fault) from None
        else:
            raise
