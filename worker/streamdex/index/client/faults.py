"""What Qdrant answers, as faults of ours: one table, by status code and trailers.

Nobody matches on message text, and Qdrant's own words are not passed on: they may quote ids and payload.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import grpc
from qdrant_client import grpc as q

from streamdex.errors import (
    AccountFault,
    Exhausted,
    Reason,
    Service,
    ServiceFault,
    StreamdexError,
    SuspectFault,
    TooLarge,
)
from streamdex.index.encoding.values import name_of

Kind = Literal["service", "account", "suspect", "too_large", "exhausted"]


class Meaning(NamedTuple):
    """Whose fault a status is, in our words. `unanswered`: the request may still take effect."""

    kind: Kind
    words: str
    unanswered: bool = False
    fix: str = ""


_KEY = "Give a key that may read and write in qdrant.api_key; one in qdrant.api_key_file is read again."

_MEANINGS: dict[grpc.StatusCode, Meaning] = {
    grpc.StatusCode.UNAVAILABLE: Meaning("service", "cannot be reached", unanswered=True),
    grpc.StatusCode.DEADLINE_EXCEEDED: Meaning("service", "did not answer in time", unanswered=True),
    grpc.StatusCode.CANCELLED: Meaning("service", "ended the request", unanswered=True),
    grpc.StatusCode.UNKNOWN: Meaning("service", "answered in an unknown way", unanswered=True),
    # A full disk on 1.18, and what gRPC makes of a stream that was reset.
    grpc.StatusCode.INTERNAL: Meaning("service", "has an internal error, such as a full disk", unanswered=True),
    grpc.StatusCode.DATA_LOSS: Meaning("service", "reports lost data", unanswered=True),
    grpc.StatusCode.ABORTED: Meaning("service", "aborted the request", unanswered=True),
    grpc.StatusCode.FAILED_PRECONDITION: Meaning("service", "is not in a state to take the request"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: Meaning("exhausted", "takes smaller or fewer requests only"),
    grpc.StatusCode.OUT_OF_RANGE: Meaning("too_large", "takes smaller messages only"),
    grpc.StatusCode.INVALID_ARGUMENT: Meaning("suspect", "refused the request's content"),
    grpc.StatusCode.ALREADY_EXISTS: Meaning("suspect", "has it already"),
    grpc.StatusCode.NOT_FOUND: Meaning(
        "account",
        "does not have the collection",
        fix="Restore it, or start the worker again: it creates the collection and reads the topic from its beginning.",
    ),
    grpc.StatusCode.UNAUTHENTICATED: Meaning("account", "refuses the key", fix=_KEY),
    grpc.StatusCode.PERMISSION_DENIED: Meaning("account", "does not grant the key this request", fix=_KEY),
    grpc.StatusCode.UNIMPLEMENTED: Meaning(
        "account",
        "does not know the request",
        fix="See that qdrant.grpc_port names Qdrant's gRPC port, and that the server is 1.16 or newer.",
    ),
}

_OTHER = Meaning("service", "answered in an unknown way", unanswered=True)


def fault_of(operation: str, code: grpc.StatusCode, trailers: Iterable[tuple[str, object]] = ()) -> StreamdexError:
    """The fault that a status code stands for."""
    meaning = _MEANINGS.get(code, _OTHER)
    message = f"Qdrant {meaning.words} ({operation}: {code.name})"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        known = {name.lower(): value for name, value in trailers}
        if "qdrant-insufficient-storage" in known:
            return ServiceFault(Service.QDRANT, f"Qdrant is out of storage ({operation})")
        asked_s = _seconds(known.get("retry-after"))
        if asked_s is not None:
            return ServiceFault(Service.QDRANT, f"Qdrant's rate limit is reached ({operation})", retry_after_s=asked_s)
    if meaning.kind == "suspect":
        return SuspectFault(Service.QDRANT, Reason.REFUSED_BY_INDEX, message)
    if meaning.kind == "account":
        return AccountFault(Service.QDRANT, message, meaning.fix)
    kind = {"too_large": TooLarge, "exhausted": Exhausted}.get(meaning.kind, ServiceFault)
    return kind(Service.QDRANT, message, unanswered=meaning.unanswered)


def _seconds(value: object) -> float | None:
    """A time to wait, None for nonsense: no number, below 0, not finite."""
    try:
        seconds = float(value)  # type: ignore[arg-type]  # anything a server may send; what float refuses is None
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < math.inf else None


def refuse_unfinished(operation: str, results: Sequence[q.UpdateResult], expected: int = 1) -> None:
    """Only `completed` settles: anything else is a success status that means "not applied yet". Raises ServiceFault.

    `expected`: how many operations the request held; a result that is missing counts as not finished.
    """
    unfinished = [result.status for result in results if result.status != q.Completed]
    if unfinished or len(results) != expected:
        name = name_of(q.UpdateStatus, unfinished[0]) if unfinished else f"{len(results)} of {expected} results"
        raise ServiceFault(
            Service.QDRANT, f"Qdrant has not finished the request ({operation}: {name})", unanswered=True
        )


def as_account_fault(fault: SuspectFault) -> AccountFault:
    """A refusal of what carries nothing of the user's: no record can be at fault, so a person must look."""
    return AccountFault(
        Service.QDRANT,
        fault.message,
        "See the server's log and the collection's strict mode: the request holds no user data that could be at fault.",
    )
