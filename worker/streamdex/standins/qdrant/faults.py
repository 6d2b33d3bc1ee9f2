"""Faults to inject: what a real server does on a bad day, chosen by method, times and probability, and counted.

A test that injects a fault asserts afterwards that it fired.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc
from qdrant_client import grpc as pb

from streamdex.standins.qdrant.refusals import QdrantRefusal

WRITES = frozenset(
    {
        "Points.Upsert",
        "Points.Delete",
        "Points.SetPayload",
        "Points.OverwritePayload",
        "Points.DeletePayload",
        "Points.ClearPayload",
        "Points.UpdateBatch",
    }
)


class FaultKind(StrEnum):
    """What goes wrong."""

    UNAVAILABLE = "unavailable"  # UNAVAILABLE at once, as a restarting server answers
    SLOW = "slow"  # handled `delay_s` later; the only kind that adds up with others
    RATE_LIMITED = "rate_limited"  # RESOURCE_EXHAUSTED, with the trailer `retry-after` if `retry_after_s` is set
    RATE_CAPACITY = "rate_capacity"  # the same without the trailer, for requests of more than `capacity` points only
    DISK_FULL = "disk_full"  # INTERNAL, as 1.18 says it; deletes too
    INSUFFICIENT_STORAGE = "insufficient_storage"  # RESOURCE_EXHAUSTED with a trailer of its own, as 1.19 says it
    BAD_POINT = "bad_point"  # INVALID_ARGUMENT for requests in which the text `marker` occurs
    INTERNAL = "internal"  # INTERNAL without a known reason
    UNAUTHENTICATED = "unauthenticated"  # as with a wrong key
    PERMISSION_DENIED = "permission_denied"  # as with a key that may only read
    RESET = "reset"  # every connection is cut, and the request not applied

    # These answer wrongly or not at all, and the request is applied `delay_s` later, or when it is released.
    WAIT_TIMEOUT = "wait_timeout"  # a success of status `WaitTimeout`
    LOST_ANSWER = "lost_answer"  # UNAVAILABLE
    UNANSWERED = "unanswered"  # no answer until the client gives up
    SEVERED = "severed"  # every connection is cut


LANDS_LATER = frozenset({FaultKind.WAIT_TIMEOUT, FaultKind.LOST_ANSWER, FaultKind.UNANSWERED, FaultKind.SEVERED})
_WRITES_ONLY = LANDS_LATER | {
    FaultKind.DISK_FULL,
    FaultKind.INSUFFICIENT_STORAGE,
    FaultKind.RATE_CAPACITY,
    FaultKind.BAD_POINT,
}


@dataclass(slots=True, eq=False)
class QdrantFault:
    """One injected fault.

    `methods` names whom it hits (`Points.Upsert`, or `Points` for a whole service); when empty, the writes of points
    for faults that concern writes, and everything for the others. It fires at most `times` times (None: always), each
    time with `probability`, and only where `when(method, request)` holds, if given. `fired` counts.
    """

    kind: FaultKind
    methods: frozenset[str] = frozenset()
    times: int | None = None
    probability: float = 1.0
    delay_s: float | None = None
    retry_after_s: int | None = None
    capacity: int = 0
    marker: str = ""
    when: Callable[[str, Any], bool] | None = None
    fired: int = 0

    def concerns(self, method: str, request: Any) -> bool:
        """Whether it may fire on this request, luck aside."""
        if self.times is not None and self.fired >= self.times:
            return False
        if not self._names(method):
            return False
        if self.kind is FaultKind.RATE_CAPACITY and points_in(request) <= self.capacity:
            return False
        if self.kind is FaultKind.BAD_POINT and self.marker.encode() not in request.SerializeToString():
            return False
        return self.when is None or self.when(method, request)

    def _names(self, method: str) -> bool:
        if self.methods:
            return method in self.methods or method.partition(".")[0] in self.methods
        return self.kind not in _WRITES_ONLY or method in WRITES

    def refusal(self) -> QdrantRefusal | None:
        """What is answered instead of handling the request; None for kinds that do not refuse."""
        code, details = _REFUSALS.get(self.kind, (None, ""))
        return None if code is None else QdrantRefusal(code, details, self._trailers())

    def _trailers(self) -> tuple[tuple[str, str], ...]:
        if self.kind is FaultKind.INSUFFICIENT_STORAGE:
            return (("qdrant-insufficient-storage", "true"),)
        if self.kind is FaultKind.RATE_LIMITED and self.retry_after_s is not None:
            return (("retry-after", str(self.retry_after_s)),)
        return ()


_REFUSALS = {
    FaultKind.UNAVAILABLE: (grpc.StatusCode.UNAVAILABLE, "Service is starting"),
    FaultKind.LOST_ANSWER: (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
    FaultKind.RATE_LIMITED: (grpc.StatusCode.RESOURCE_EXHAUSTED, "Rate limiting exceeded: Write rate limit exceeded"),
    FaultKind.RATE_CAPACITY: (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Rate limiting exceeded: Write rate limit exceeded, request larger than rate limiter capacity, "
        "please try to split your request",
    ),
    FaultKind.DISK_FULL: (grpc.StatusCode.INTERNAL, "Service internal error: No space left on device (os error 28)"),
    FaultKind.INSUFFICIENT_STORAGE: (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Insufficient storage: no space left on device",
    ),
    FaultKind.BAD_POINT: (grpc.StatusCode.INVALID_ARGUMENT, "Wrong input: a point of this request is refused"),
    FaultKind.INTERNAL: (grpc.StatusCode.INTERNAL, "Service internal error: injected"),
    FaultKind.UNAUTHENTICATED: (grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT"),
    FaultKind.PERMISSION_DENIED: (grpc.StatusCode.PERMISSION_DENIED, "Forbidden: Write access is required"),
}


def points_in(request: Any) -> int:
    """How many points a request counts as at the rate limiter: those it names, one for a filter or a read."""
    if isinstance(request, pb.UpdateBatchPoints):
        kinds = ((one, one.WhichOneof("operation")) for one in request.operations)
        return sum(points_in(getattr(one, kind)) for one, kind in kinds if kind)
    points = getattr(request, "points_selector", None) or getattr(request, "points", None)
    if points is None:
        return 1
    if isinstance(points, pb.PointsSelector):
        return max(1, len(points.points.ids))
    return len(points)


class QdrantFaults:
    """The faults in force, in the order of their injection; random numbers are seeded."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)  # noqa: S311  # a repeatable schedule, not a secret
        self._active: list[QdrantFault] = []

    @property
    def active(self) -> tuple[QdrantFault, ...]:
        """Those in force, spent ones included."""
        return tuple(self._active)

    def inject(self, fault: QdrantFault) -> QdrantFault:
        """Puts a fault in force and gives it back, so that it can be asked later how often it fired."""
        self._active.append(fault)
        return fault

    def heal(self, fault: QdrantFault | None = None) -> None:
        """Takes one fault back, or all of them; safe twice."""
        self._active = [] if fault is None else [other for other in self._active if other is not fault]

    def draw(self, method: str, request: Any) -> tuple[float, QdrantFault | None]:
        """Decides about one request: how long it is held up, in seconds, and what befalls it then, if anything."""
        delay_s = 0.0
        for fault in self._active:
            if not fault.concerns(method, request) or self._rng.random() >= fault.probability:
                continue
            fault.fired += 1
            if fault.kind is not FaultKind.SLOW:
                return delay_s, fault
            delay_s += fault.delay_s or 0.0
        return delay_s, None
