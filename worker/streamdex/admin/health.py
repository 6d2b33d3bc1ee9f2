"""Decides whether a worker is alive and whether it is ready. Pure: time is an argument.

*Ready* speaks of the work: records flow now. *Alive* speaks of the process: a restart would fix nothing. A service that
is down makes the worker not ready; the worker stays alive, since after a restart it would only wait again. It is not
alive when something stands still that the worker's own time limits should have set going again long ago.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

INTAKE_STALL_S = 300.0  # a poll that hangs is noticed after 120 s, and each step of a new connection has its own limit
FLOW_STALL_S = 900.0  # the longest single wait without a hold: five minutes that Jina asked for, then a request's limit
LONGEST_GAP_S = 5.0  # during a longer gap between two observations the whole process stood still, not a part of it


class Phase(StrEnum):
    """Where a worker is between its start and its stop."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """What health is decided from.

    `held` is what keeps the worker from its work, name to reason. `intake_mark` changes when Kafka is polled or a
    consumer is recreated; `flow_mark` changes when a record settles or a request to a service ends.
    """

    phase: Phase
    partitions: int = 0
    open_records: int = 0
    held: Mapping[str, str] = field(default_factory=dict)
    intake_mark: float = 0.0
    flow_mark: float = 0.0


def unready_reasons(now: HealthSnapshot) -> dict[str, str]:
    """Why the worker is not ready, name to reason; empty when it is ready."""
    found = {}
    if now.phase is Phase.STARTING:
        found["worker"] = "it is starting: it connects, and waits for services that are down"
    elif now.phase is Phase.STOPPING:
        found["worker"] = "it is stopping: what is paid for is finished, nothing more is read"
    elif not now.partitions:
        found["partitions"] = "none is assigned: the group is rebalancing, or has more members than partitions"
    return {**found, **now.held}


class _Standstill:
    """How long one thing has not moved, counting only the time in which it should have."""

    def __init__(self) -> None:
        self._mark: float | None = None
        self.still_s = 0.0

    def observe(self, mark: float, passed_s: float, *, due: bool) -> None:
        self.still_s = self.still_s + passed_s if due and mark == self._mark else 0.0
        self._mark = mark


class StallDetector:
    """Observes a worker every second or so, and knows whether it has stalled."""

    def __init__(self) -> None:
        self._observed_s: float | None = None
        self._intake = _Standstill()
        self._flow = _Standstill()

    def observe(self, now: HealthSnapshot, now_s: float) -> None:
        """Take note of the worker as it is now; `now_s` is in seconds of a monotonic clock."""
        passed_s = 0.0 if self._observed_s is None else min(now_s - self._observed_s, LONGEST_GAP_S)
        self._observed_s = now_s
        running = now.phase is Phase.RUNNING  # a start waits for services, a stop has a limit of its own
        self._intake.observe(now.intake_mark, passed_s, due=running)
        self._flow.observe(now.flow_mark, passed_s, due=running and now.open_records > 0 and not now.held)

    def stall(self) -> str | None:
        """Why a restart would fix something; None while it would not."""
        if self._intake.still_s > INTAKE_STALL_S:
            return f"Kafka was neither polled nor reconnected for {self._intake.still_s:.0f} s"
        if self._flow.still_s > FLOW_STALL_S:
            return f"records are open, nothing is held, and nothing has moved for {self._flow.still_s:.0f} s"
        return None
