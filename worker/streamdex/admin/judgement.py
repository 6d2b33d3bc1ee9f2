"""Alive? Ready? Decided here, from what the worker says of itself. Pure: time is an argument.

*Ready* is a statement on the work: records flow now. *Alive* is one on the process: a restart would mend nothing. A
neighbour that is down makes a worker not ready, and a restart would only make it wait anew; so it stays alive. It is
not alive when something stands still that the worker's own limits should have set going again long ago.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

INTAKE_STALL_S = 300.0  # a poll that hangs is noticed after 120 s, and each step of a new connection has its own limit
FLOW_STALL_S = 900.0  # the longest single wait without a hold: five minutes that Jina asked for, then a request's limit
LONGEST_BEAT_S = 5.0  # a longer gap between two beats was the whole process standing still, not a part of it


class Phase(StrEnum):
    """Where a worker stands in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the judgement rests on.

    `held` is what keeps the worker from its work, name to reason. `intake_mark` differs from the one before when Kafka
    was polled or connected anew in between, `flow_mark` when a record settled or a request to a neighbour ended.
    """

    phase: Phase
    partitions: int = 0
    open_records: int = 0
    held: Mapping[str, str] = field(default_factory=dict)
    intake_mark: float = 0.0
    flow_mark: float = 0.0


def hindrances(vitals: Vitals) -> dict[str, str]:
    """What keeps the worker from being ready, name to reason; empty when it is."""
    found = {}
    if vitals.phase is Phase.STARTING:
        found["worker"] = "it is starting: it connects, and waits for neighbours that are down"
    elif vitals.phase is Phase.STOPPING:
        found["worker"] = "it is stopping: what is paid for is finished, nothing more is read"
    elif not vitals.partitions:
        found["partitions"] = "none is assigned: the group divides them anew, or has more members than partitions"
    return {**found, **vitals.held}


class _Stillness:
    """For how long one thing has not moved, of the time in which it should have."""

    def __init__(self) -> None:
        self._mark: float | None = None
        self.still_s = 0.0

    def note(self, mark: float, passed_s: float, *, due: bool) -> None:
        self.still_s = self.still_s + passed_s if due and mark == self._mark else 0.0
        self._mark = mark


class Pulse:
    """Told of the worker's vitals every second or so; knows whether it has stalled."""

    def __init__(self) -> None:
        self._beat_s: float | None = None
        self._intake = _Stillness()
        self._flow = _Stillness()

    def beat(self, vitals: Vitals, now_s: float) -> None:
        """The vitals as they are at this time, in seconds of a clock that never goes back."""
        passed_s = 0.0 if self._beat_s is None else min(now_s - self._beat_s, LONGEST_BEAT_S)
        self._beat_s = now_s
        running = vitals.phase is Phase.RUNNING  # a start waits for neighbours, a stop has a limit of its own
        self._intake.note(vitals.intake_mark, passed_s, due=running)
        self._flow.note(vitals.flow_mark, passed_s, due=running and vitals.open_records > 0 and not vitals.held)

    def stall(self) -> str | None:
        """Why a restart would mend something; None while it would not."""
        if self._intake.still_s > INTAKE_STALL_S:
            return f"Kafka was neither polled nor connected anew for {self._intake.still_s:.0f} s"
        if self._flow.still_s > FLOW_STALL_S:
            return f"records are open, nothing is held, and nothing has moved for {self._flow.still_s:.0f} s"
        return None
