"""Back-pressure: Kafka keeps a gigabyte waiting while Qdrant, and then Jina, is down for minutes.

The link to the neighbour refuses connections for the first half of an outage, and takes them and answers nothing for
the second. The worker must hold what it holds, poll on, dead-letter nothing, and come back to full speed by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.documents import VALUE_BYTES, short_documents
from chaos.proxy import Link, LinkFault, Mode
from endurance.findings import MIB, Findings
from endurance.place import Place, open_place
from endurance.probe import Probe, Sample, Slice, slices, usual_rate
from endurance.voice import Voice
from harness.processes import WorkerProcess

INTAKE_BYTES = 64 * MIB  # the worker's own default
OTHER_BYTES = 64 * MIB
FED_AT_ONCE = 20_000
WARM_UP = 20_000  # documents before anything is measured
FULL_SPEED = 0.8  # of the rate before: the machine may have other work that comes and goes
# A write that was given up without an answer may land for worker.request_horizon_s (60): until then its document stays
# open, and with it the partition's bound on open records holds. Answers of Jina have no such afterlife.
FULL_AGAIN_S = {"qdrant": 120.0, "jina": 60.0}
FLAT = 1.05
MOST_LINES = 50  # of log during an outage: what changes is told, not that it lasts


def ceiling_bytes(idle_bytes: int, intake_bytes: int = INTAKE_BYTES) -> int:
    """The resident memory that the worker's own bounds allow, stated before it was measured.

    `worker.intake_bytes` counts the bytes of records. Each stands in memory up to three times (as it came, as decoded
    text and metadata, as chunks), and objects around a record of 2 KB weigh about as much again: four times. A quarter
    of `intake_bytes` in fetches, some 6,000 vectors of 4 KiB between the plan and Qdrant, and the requests and answers
    under way come to 64 MiB.
    """
    return idle_bytes + 4 * intake_bytes + OTHER_BYTES


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is asked for. `waiting_bytes` wait in Kafka when each outage begins."""

    minutes: float = 10.0
    waiting_bytes: int = 1_000_000_000
    intake_bytes: int = INTAKE_BYTES
    measure_s: float = 30.0  # of full speed, before and after each outage
    every_s: float = 5.0  # between samples


async def run(options: Options, directory: Path, voice: Voice) -> Findings:
    """Both outages, one after the other, on one worker."""
    async with open_place(directory, voice.say) as place, at_work(place, options, voice) as trial:
        await trial.outage("qdrant", place.qdrant)
        await trial.outage("jina", place.jina)
        await trial.end()
    return trial.findings


@asynccontextmanager
async def at_work(place: Place, options: Options, voice: Voice) -> AsyncIterator["Trial"]:
    """A worker that has been seen idle, then been fed, and is warm."""
    settings = {"STREAMDEX_WORKER__INTAKE_BYTES": str(options.intake_bytes)}
    async with AsyncExitStack() as opened:
        worker = await opened.enter_async_context(place.worker(through_links=True, **settings))
        probe = await opened.enter_async_context(Probe(worker))
        trial = Trial(place, options, worker, probe, voice)
        await trial.begin()
        yield trial


class Trial:
    """One worker, and what was found so far."""

    def __init__(self, place: Place, options: Options, worker: WorkerProcess, probe: Probe, voice: Voice) -> None:
        self._place = place
        self._options = options
        self._worker = worker
        self._probe = probe
        self._voice = voice
        self._fed = 0
        self._waiting_mb = options.waiting_bytes / 1e6
        self._samples: list[Sample] = []
        self.findings = Findings(f"Back-pressure: outages of {options.minutes:g} minutes each")

    async def begin(self) -> None:
        """See the worker idle, then give it work."""
        self._idle = await self._probe.begun()
        self.findings.tell("resident memory, idle", self._idle.rss_bytes / MIB, "MiB")
        await self._feed(WARM_UP)
        self._samples.append(await self._probe.until(lambda sample: sample.settled >= WARM_UP // 2))

    async def outage(self, name: str, link: Link) -> None:
        """Full speed, the outage, full speed again."""
        await self._top_up(f"before {name} goes down")
        before = await self._watch(self._options.measure_s, f"{name} is up")
        lines_before = self._log_lines
        during, hits, waiting_bytes = await self._down(name, link)
        lines = self._log_lines - lines_before
        again_s, after = await self._full_speed_again(name, usual_rate(before))
        self._told_of_memory(name, during)
        findings = self.findings
        findings.at_least(f"{name} down: waiting in Kafka all the time", waiting_bytes / 1e6, self._waiting_mb, "MB")
        findings.at_least(f"{name} down: times that the link acted", hits, 1)
        findings.exactly(f"{name} down: samples in which the worker was not alive", _count_dead(during), 0)
        findings.exactly(f"{name} down: ready at its end", during[-1].ready, 0)
        findings.tell(f"{name} down: CPU of the worker", _cpu_share(during), "%")
        findings.at_most(f"{name} down: lines of log", lines, MOST_LINES)
        findings.tell(f"{name}: documents a second before", usual_rate(before))
        findings.at_most(f"{name}: full speed again after", again_s, FULL_AGAIN_S[name], "s")
        findings.at_least(f"{name}: documents a second after", after, FULL_SPEED * usual_rate(before))

    async def end(self) -> None:
        """Stop the worker, and say what must not have happened at any time."""
        last = await self._probe.sample()
        code = await self._worker.stop()
        most = max(sample.rss_bytes for sample in self._samples)
        ceiling = ceiling_bytes(self._idle.rss_bytes, self._options.intake_bytes)
        findings = self.findings
        findings.at_most("resident memory, most of all", most / MIB, ceiling / MIB, "MiB")
        findings.tell("records taken in and open, most", max(sample.open_records for sample in self._samples))
        findings.tell("bytes taken in and open, most", max(sample.open_bytes for sample in self._samples) / MIB, "MiB")
        findings.exactly("rebalances", last.rebalances - self._idle.rebalances, 0)
        findings.exactly("consumers made anew", last.restarts, 0)
        findings.exactly("dead letters", last.dead_letters, 0)
        findings.exactly("bugs of our own", last.internal_faults, 0)
        findings.tell("documents settled", last.settled)
        findings.exactly("exit code", code, 0)

    # --- the parts of an outage -----------------------------------------------------------------------------------

    async def _down(self, name: str, link: Link) -> tuple[list[Sample], int, float]:
        """The outage: its samples, how often the link acted, and what waited in Kafka at its end, in bytes."""
        half_s = self._options.minutes * 30
        samples: list[Sample] = []
        hits = 0
        for mode in (Mode.DROP, Mode.BLACKHOLE):
            fault = LinkFault(mode)
            link.set(fault)
            try:
                samples += await self._watch(half_s, f"{name} is down ({mode})")
            finally:
                link.heal(fault)
            hits += fault.hits
        return samples, hits, min(map(self._waiting_bytes, samples))

    async def _full_speed_again(self, name: str, before: float) -> tuple[float, float]:
        """Seconds until as much was done as before for as long as that was measured, and how much that was.

        Past twice its limit: the seconds until then, and what the last documents came at.
        """
        count = round(self._options.measure_s / self._options.every_s)
        samples = [await self._probe.sample()]
        while True:
            await asyncio.sleep(self._options.every_s)
            samples.append(await self._sampled(f"{name} is back"))
            window = samples[-count - 1 :]
            after = usual_rate(window)
            gone_s = window[0].at_s - samples[0].at_s
            if len(window) > count and (after >= FULL_SPEED * before or gone_s > 2 * FULL_AGAIN_S[name]):
                rates = " ".join(f"{one.rate:.0f}" for one in slices(samples))
                self._voice.say(f"{name} is back: documents a second each {self._options.every_s:.0f} s: {rates}")
                return gone_s, after

    def _told_of_memory(self, name: str, during: Sequence[Sample]) -> None:
        """Flat: the second half of the outage, the silent one, holds no more than the first."""
        first, second = during[: len(during) // 2], during[len(during) // 2 :]
        most_first, most_second = (max(sample.rss_bytes for sample in half) / MIB for half in (first, second))
        self.findings.tell(f"{name} down: resident memory, most of the first half", most_first, "MiB")
        self.findings.at_most(
            f"{name} down: resident memory, most of the second half", most_second, FLAT * most_first, "MiB"
        )

    # --- small steps ------------------------------------------------------------------------------------------------

    async def _top_up(self, when: str) -> None:
        """Have as much waiting in Kafka as is asked for, and what will be worked off while speed is measured.

        In several goes: while one is fed, the worker works off what was there.
        """
        while True:
            sample = await self._sampled("feeding")
            rate = max(one.rate for one in slices([self._idle, *self._samples]))  # an outage is no measure
            wanted = self._options.waiting_bytes + 2 * self._options.measure_s * max(rate, 2000) * VALUE_BYTES
            missing = int((wanted - self._waiting_bytes(sample)) / VALUE_BYTES)
            if missing < FED_AT_ONCE:
                return
            self._voice.say(f"{when}: {missing:,} documents into Kafka")
            await self._feed(missing)

    async def _feed(self, documents: int) -> None:
        target = self._fed + documents
        while self._fed < target:
            some = min(FED_AT_ONCE, target - self._fed)
            await self._place.feed(short_documents(self._fed, some))
            self._fed += some
            await self._sampled("feeding")

    async def _watch(self, seconds: float, what: str) -> list[Sample]:
        samples = await self._probe.watch(seconds, self._options.every_s, lambda sample: self._tell(what, sample))
        self._samples += samples
        return samples

    async def _sampled(self, what: str) -> Sample:
        sample = await self._probe.sample()
        self._samples.append(sample)
        self._tell(what, sample)
        return sample

    def _tell(self, what: str, sample: Sample) -> None:
        waiting = self._waiting_bytes(sample) / 1e6
        self._voice.now(
            f"{what}: {sample.settled:,} settled, {waiting:,.0f} MB wait in Kafka, {sample.open_bytes / MIB:.0f} MiB "
            f"in the worker, which has {sample.rss_bytes / MIB:.0f} MiB; ready: {sample.ready}"
        )

    def _waiting_bytes(self, sample: Sample) -> float:
        """What is in Kafka and not settled, without what the worker has taken in."""
        return (self._fed - sample.settled - sample.open_records) * VALUE_BYTES

    @property
    def _log_lines(self) -> int:
        return len(self._worker.log.splitlines())


def _count_dead(samples: Sequence[Sample]) -> int:
    return sum(not sample.live for sample in samples)


def _cpu_share(samples: Sequence[Sample]) -> float:
    whole = Slice.between(samples[0], samples[-1])
    return 100 * whole.cpu_s / whole.seconds
