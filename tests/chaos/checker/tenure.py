"""Who had which partition from when to when, and how that ended: by the workers' logs and the conductor's notes. Pure.

A worker's word is taken for what it has taken up and let go, which is what it can be held to: a worker that says it has
drained a partition, and has not, gets no excuse for what another then pays again.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from chaos.checker.contents import Stale
from chaos.checker.evidence import Line, LogLine

WRITE_S = 30.0  # one attempt at a write takes no longer, or its requests have timed out
LOGGED_LATE_S = 1.0  # a partition's first records may be taken up before the line about it is written


class End(StrEnum):
    """How a worker's tenure of a partition ended."""

    LET_GO = "let go"  # drained and committed
    CUT = "drain cut"
    KILLED = "killed"
    GOING_ON = "going on"


@dataclass(slots=True)
class Tenure:
    """One worker's time with one partition. `lost_at`: when another was given it meanwhile; then it was a zombie."""

    worker: str
    partition: int
    start: float
    end: float = math.inf
    how: End = End.GOING_ON
    lost_at: float | None = None

    def covers(self, at: float) -> bool:
        """Whether the partition was its own at this time, as far as it knew."""
        return self.start - LOGGED_LATE_S <= at <= self.end


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended otherwise than drained: by a signal, or with work cut short."""

    worker: str
    at: float
    how: End


def deaths(events: Iterable[Line]) -> list[Death]:
    """Of the conductor's events the ends of workers that left something undone."""
    found = []
    for event in events:
        if event["kind"] == "worker_exited" and event["code"] != 0:
            how = End.KILLED if event["code"] < 0 else End.CUT
            found.append(Death(event["worker"], event["at"], how))
    return found


class Tenures:
    """All tenures of a campaign."""

    def __init__(self, log: Iterable[LogLine], events: Iterable[Line]) -> None:
        events = list(events)
        self.deaths = deaths(events)
        self._of: dict[tuple[str, int], list[Tenure]] = defaultdict(list)
        exits = [event for event in events if event["kind"] == "worker_exited"]
        self._cut: set[str] = set()
        for line in sorted(log, key=lambda line: line.at):
            self._take(line)
        for event in exits:
            self._exited(event)
        self._find_lost()

    def __iter__(self) -> Iterator[Tenure]:
        for tenures in self._of.values():
            yield from tenures

    def of(self, worker: str, partition: int) -> list[Tenure]:
        """A worker's tenures of a partition, by time."""
        return self._of.get((worker, partition), [])

    def _take(self, line: LogLine) -> None:
        if line.event == "drain.incomplete":
            if line.fields["unfinished"]:  # else all was written, and only the commit is missing
                self._cut.add(line.worker)
        elif line.event == "partitions.assigned":
            for name in line.fields["starts"]:
                self._end(line.worker, _number(name), line.at, End.LET_GO)  # none is open, as a rule
                self._of[line.worker, _number(name)].append(Tenure(line.worker, _number(name), line.at))
        elif line.event == "partitions.revoked":
            how = End.CUT if line.worker in self._cut else End.LET_GO
            self._cut.discard(line.worker)
            for name in line.fields["partitions"]:
                self._end(line.worker, _number(name), line.at, how)

    def _exited(self, event: Line) -> None:
        how = End.KILLED if event["code"] < 0 else End.CUT if event["code"] else End.LET_GO
        for worker, partition in list(self._of):
            if worker == event["worker"]:
                self._end(worker, partition, event["at"], how)

    def _end(self, worker: str, partition: int, at: float, how: End) -> None:
        for tenure in self._of.get((worker, partition), []):
            if tenure.how is End.GOING_ON:
                tenure.end, tenure.how = at, how

    def _find_lost(self) -> None:
        by_partition: dict[int, list[Tenure]] = defaultdict(list)
        for tenure in self:
            by_partition[tenure.partition].append(tenure)
        for tenures in by_partition.values():
            for tenure in tenures:
                others = (
                    each.start
                    for each in tenures
                    if each.worker != tenure.worker and tenure.start < each.start < tenure.end
                )
                tenure.lost_at = min(others, default=None)

    def explains(self, stale: Stale) -> Death | None:
        """The death that left a point behind: of a worker that had its partition when the point was being written."""
        for death in self.deaths:
            if stale.at <= death.at <= stale.at + WRITE_S and any(
                tenure.covers(stale.at) for tenure in self.of(death.worker, stale.partition)
            ):
                return death
        return None


def _number(name: str) -> int:
    """The partition's number in `topic-7`."""
    return int(name.rpartition("-")[2])
