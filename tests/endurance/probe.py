"""What a worker's process holds and has done, from outside: its process, and its metrics as Prometheus reads them."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Self

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from harness.processes import WorkerProcess

SCRAPE_LIMIT_S = 10.0


class GoneError(RuntimeError):
    """The worker has ended, or does not answer over HTTP any more."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker at one moment; `at_s` by the monotonic clock, counts since its start."""

    at_s: float
    rss_bytes: int
    fds: int
    threads: int
    cpu_s: float
    tasks: int
    settled: int
    open_records: int
    open_bytes: int
    rebalances: int
    restarts: int
    dead_letters: int
    internal_faults: int
    live: bool
    ready: bool


class Probe:
    """Samples one worker. An async context manager around its HTTP client."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._process = psutil.Process(worker.pid)
        self._http = httpx.AsyncClient(timeout=SCRAPE_LIMIT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        self._url = await self._worker.admin_url()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def sample(self) -> Sample:
        """The worker now. Raises GoneError."""
        try:
            live, ready, metrics = [
                await self._http.get(f"{self._url}/{page}") for page in ("livez", "readyz", "metrics")
            ]
            with self._process.oneshot():
                times = self._process.cpu_times()
                rss_bytes, fds = self._process.memory_info().rss, self._process.num_fds()
                threads = self._process.num_threads()
        except (httpx.HTTPError, psutil.Error) as error:
            raise GoneError(f"the worker does not answer: {type(error).__name__}") from None
        counted = _sums(metrics.text)
        return Sample(
            at_s=time.monotonic(),
            rss_bytes=rss_bytes,
            fds=fds,
            threads=threads,
            cpu_s=times.user + times.system,
            tasks=counted["tasks"],
            settled=counted.get("records_total", 0),
            open_records=counted["open_records"],
            open_bytes=counted["open_bytes"],
            rebalances=counted["rebalances_total"],
            restarts=counted.get("kafka_restarts_total", 0),
            dead_letters=counted["dead_letters_total"],
            internal_faults=counted["internal_faults_total"],
            live=live.status_code == 200,
            ready=ready.status_code == 200,
        )

    async def status(self) -> dict[str, Any]:
        """What `/status` tells."""
        found: dict[str, Any] = (await self._http.get(f"{self._url}/status")).json()
        return found

    async def until(self, condition: Callable[[Sample], bool], limit_s: float = 60.0) -> Sample:
        """The first sample of which the condition holds. Raises GoneError and TimeoutError."""
        async with asyncio.timeout(limit_s):
            while not condition(sample := await self.sample()):
                await asyncio.sleep(0.2)
        return sample

    async def begun(self) -> Sample:
        """The worker once it is ready and has its partitions. Raises GoneError and TimeoutError."""
        return await self.until(lambda sample: sample.ready and sample.rebalances > 0)

    async def watch(self, seconds: float, every_s: float, tell: Callable[[Sample], object]) -> list[Sample]:
        """Samples for so long, the first one at once, at least two. Raises GoneError."""
        samples = [await self.sample()]
        while samples[-1].at_s - samples[0].at_s < seconds:
            left_s = seconds - (samples[-1].at_s - samples[0].at_s)
            await asyncio.sleep(min(every_s, left_s))
            samples.append(await self.sample())
            tell(samples[-1])
        return samples


def _sums(text: str) -> dict[str, int]:
    """The sum over all labels of each sample's name, without our prefix."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("streamdex_")
            sums[name] = sums.get(name, 0.0) + sample.value
    return {name: int(value) for name, value in sums.items()}


@dataclass(frozen=True, slots=True)
class Slice:
    """What happened between two samples."""

    seconds: float
    documents: int
    cpu_s: float

    @classmethod
    def between(cls, before: Sample, after: Sample) -> "Slice":
        """The difference."""
        return cls(after.at_s - before.at_s, after.settled - before.settled, after.cpu_s - before.cpu_s)

    @property
    def rate(self) -> float:
        """Documents a second."""
        return self.documents / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU microseconds per document; infinite without documents."""
        return self.cpu_s / self.documents * 1e6 if self.documents else float("inf")


def slices(samples: Sequence[Sample]) -> list[Slice]:
    """Between each sample and the next."""
    return [Slice.between(before, after) for before, after in pairwise(samples)]


def usual_rate(samples: Sequence[Sample]) -> float:
    """Documents a second, the median over the slices: one that the machine's other work disturbed does not count."""
    return median(one.rate for one in slices(samples))
