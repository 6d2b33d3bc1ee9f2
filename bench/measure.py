"""What a process spends on documents: CPU, time and memory between two counts of documents done."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import psutil

POLL_S = 0.01
STALL_S = 120.0  # no document done for so long: something is broken, and the run ends


class StalledError(RuntimeError):
    """The measured process ended, or does nothing any more."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment. `cpu_s` is user and system time of all its threads."""

    documents: int
    cpu_s: float
    wall_clock_s: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Slice:
    """What happened between two samples. `documents` is exact; the ends are known to 10 ms."""

    documents: int
    cpu_s: float
    wall_clock_s: float
    rss_bytes: int

    @classmethod
    def between(cls, before: Sample, after: Sample) -> "Slice":
        """The difference; the memory is that of the later sample."""
        return cls(
            after.documents - before.documents,
            after.cpu_s - before.cpu_s,
            after.wall_clock_s - before.wall_clock_s,
            after.rss_bytes,
        )

    @property
    def cpu_us(self) -> float:
        """CPU microseconds per document."""
        return self.cpu_s / self.documents * 1e6

    @property
    def rate(self) -> float:
        """Documents per second."""
        return self.documents / self.wall_clock_s


class Meter:
    """Watches one process. `done` counts its documents, from outside, so that counting costs it nothing."""

    def __init__(self, process: psutil.Process, done: Callable[[], int]) -> None:
        self._process = process
        self._done = done

    def sample(self) -> Sample:
        """The process now. Raises StalledError when it has ended."""
        try:
            times = self._process.cpu_times()
            rss_bytes = self._process.memory_info().rss
        except psutil.NoSuchProcess:
            raise StalledError("the measured process has ended") from None
        return Sample(self._done(), times.user + times.system, time.perf_counter(), rss_bytes)

    def wait_for(self, documents: int, tell: Callable[[int], object]) -> Sample:
        """The first sample with at least so many documents done; `tell` hears of the progress.

        Raises StalledError when the process has ended or nothing was done for two minutes.
        """
        last = self.sample()
        while (now := self.sample()).documents < documents:
            if now.documents > last.documents:
                last = now
                tell(now.documents)
            if now.wall_clock_s - last.wall_clock_s > STALL_S or self._process.status() == psutil.STATUS_ZOMBIE:
                raise StalledError(f"stopped at {now.documents} of {documents} documents")
            time.sleep(POLL_S)
        tell(now.documents)
        return now


def typical(slices: list[Slice], of: Callable[[Slice], float]) -> float:
    """The median over slices: one that was disturbed by a neighbour on the machine does not count."""
    return median(of(each) for each in slices)
