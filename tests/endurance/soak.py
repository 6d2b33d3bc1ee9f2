"""A soak: half an hour at full speed. Memory, file descriptors, tasks and the CPU per document must stay as they are.

The stubs of the benchmark answer at once; a producer keeps the worker saturated and never outruns it by more than a
bound, and Kafka drops what is old, so that neither memory nor disk fills. Documents are ever new ones, with updates and
deletes of those before: state kept per document would show as growth.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

import orjson

from bench.documents import Message, deletes, short_documents
from chaos.stage import ended
from endurance.findings import MIB, Findings
from endurance.place import Place, open_place
from endurance.probe import Probe, Sample, Slice
from endurance.voice import Voice
from harness.processes import WorkerProcess

# What of 1,000 events is new, an update, a delete; and how many documents ago those were new.
NEW, UPDATED, DELETED = 600, 300, 100
UPDATED_LATER, DELETED_LATER = 20_000, 40_000
REMEMBERED = 100_000  # documents that the stub of Qdrant knows: more than any event looks back
AHEAD = 100_000  # events that are to be done at most, 200 MB: the worker's intake is always full, at 64 MiB
BROKER = {"log.retention.check.interval.ms": "5000"}
# Of a partition: four times what waits in it.
TOPIC = {"retention.bytes": str(64 * MIB), "segment.bytes": str(16 * MIB), "file.delete.delay.ms": "1000"}
WARM_UP_S = 60.0
WARM_UP_PART = 0.1
SLICES = 30
FLAT = 1.05
CPU_FLAT = 1.15  # the machine's other work takes its caches
MORE_DESCRIPTORS, MORE_TASKS, MORE_THREADS = 5, 10, 4


@dataclass(frozen=True, slots=True)
class Options:
    """What a soak is asked for."""

    minutes: float = 30.0
    every_s: float = 2.0  # between samples


async def run(options: Options, directory: Path, voice: Voice) -> Findings:
    """Warm up, then measure for the whole time."""
    async with AsyncExitStack() as opened:
        place = await opened.enter_async_context(
            open_place(directory, voice.say, broker=BROKER, topic=TOPIC, qdrant_options=["--remember", str(REMEMBERED)])
        )
        worker = await opened.enter_async_context(place.worker(through_links=False))
        probe = await opened.enter_async_context(Probe(worker))
        soak = Soak(options, place, worker, probe, voice)
        await probe.begun()
        feeding = asyncio.create_task(soak.feed_for_ever())
        opened.push_async_callback(ended, feeding)
        await soak.warm_up()
        await soak.measure()
        await ended(feeding)
        return await soak.findings()


class Soak:
    """One worker under full load."""

    def __init__(self, options: Options, place: Place, worker: WorkerProcess, probe: Probe, voice: Voice) -> None:
        self._options = options
        self._place = place
        self._worker = worker
        self._probe = probe
        self._voice = voice
        self._fed = 0
        self._settled = 0
        self._room = asyncio.Event()
        self._starved = 0
        self._samples: list[Sample] = []

    async def feed_for_ever(self) -> None:
        """Keep the worker saturated, until cancelled."""
        events = mixture()
        while True:
            while self._fed - self._settled > AHEAD:
                self._room.clear()
                await self._room.wait()
            block = next(events)
            await self._place.feed(block)
            self._fed += len(block)

    async def warm_up(self) -> None:
        """What is made once is made."""
        seconds = min(WARM_UP_S, WARM_UP_PART * self._options.minutes * 60)
        await self._probe.watch(seconds, self._options.every_s, lambda sample: self._look("warming up", sample))

    async def measure(self) -> None:
        """Sample all the time, and tell each slice."""
        seconds = self._options.minutes * 60
        self._starved = 0
        self._voice.say("slice: documents/s, CPU µs/document, resident MiB, file descriptors, tasks")
        for number in range(1, SLICES + 1):
            samples = await self._probe.watch(
                seconds / SLICES, self._options.every_s, lambda sample: self._look("at full speed", sample)
            )
            self._samples += samples if number == 1 else samples[1:]
            whole, last = Slice.between(samples[0], samples[-1]), samples[-1]
            self._voice.say(
                f"{number}: {whole.rate:,.0f}, {whole.cpu_us:.0f}, {last.rss_bytes / MIB:.1f}, {last.fds}, {last.tasks}"
            )

    async def findings(self) -> Findings:
        """Hold the second half against the first, and stop the worker."""
        code = await self._worker.stop()
        middle = len(self._samples) // 2
        first, second = self._samples[: middle + 1], self._samples[middle:]
        found = Findings(f"Soak of {self._options.minutes:g} minutes at full speed")
        whole = Slice.between(first[0], second[-1])
        found.tell("documents", whole.documents)
        found.tell("documents a second", whole.rate)
        found.at_most("samples in which nothing waited for the worker", self._starved, len(self._samples) // 100)
        _memory(found, first, second)
        for name, more in (("fds", MORE_DESCRIPTORS), ("threads", MORE_THREADS), ("tasks", MORE_TASKS)):
            most_first, most_second = (max(getattr(sample, name) for sample in half) for half in (first, second))
            found.tell(f"{name}, most of the first half", most_first)
            found.at_most(f"{name}, most of the second half", most_second, most_first + more)
        _cpu(found, _by_slice(self._samples))
        found.exactly("dead letters", second[-1].dead_letters, 0)
        found.exactly("bugs of our own", second[-1].internal_faults, 0)
        found.exactly("consumers made anew", second[-1].restarts, 0)
        found.exactly("rebalances while measured", second[-1].rebalances - first[0].rebalances, 0)
        found.exactly("offsets out of range", len(self._worker.events("kafka.offset_out_of_range")), 0)
        found.exactly("exit code", code, 0)
        return found

    def _look(self, what: str, sample: Sample) -> None:
        self._settled = sample.settled
        self._room.set()
        waiting = self._fed - sample.settled
        self._starved += waiting <= 0
        self._voice.now(
            f"{what}: {sample.settled:,} settled, {waiting:,} to do, {sample.rss_bytes / MIB:.1f} MiB, "
            f"{sample.fds} file descriptors, {sample.tasks} tasks"
        )


def mixture() -> Iterator[list[Message]]:
    """Blocks of events, for ever: of new documents, and of updates and deletes of some that were new before."""
    number = 0
    while True:
        block = list(short_documents(number, NEW))
        if number >= UPDATED_LATER:
            block += map(_changed, short_documents(number - UPDATED_LATER, UPDATED))
        if number >= DELETED_LATER:
            block += deletes(number - DELETED_LATER, DELETED)
        yield block
        number += NEW


def _changed(message: Message) -> Message:
    if message.value is None:
        raise ValueError("a delete cannot be changed")
    event = orjson.loads(message.value)
    event["text"] = f"changed {event['text']}"
    return Message(message.key, orjson.dumps(event))


def _memory(found: Findings, first: Sequence[Sample], second: Sequence[Sample]) -> None:
    mean_first, mean_second = (fmean(sample.rss_bytes for sample in half) / MIB for half in (first, second))
    found.tell("resident memory, mean of the first half", mean_first, "MiB")
    found.at_most("resident memory, mean of the second half", mean_second, FLAT * mean_first, "MiB")
    found.tell("resident memory, most", max(sample.rss_bytes for sample in (*first, *second)) / MIB, "MiB")


def _cpu(found: Findings, parts: Sequence[Slice]) -> None:
    half = len(parts) // 2
    first, second = (median(part.cpu_us for part in some) for some in (parts[:half], parts[half:]))
    found.tell("CPU per document by slice, µs", " ".join(f"{part.cpu_us:.0f}" for part in parts))
    found.tell("CPU per document, median slice of the first half", first, "µs")
    found.at_most("CPU per document, median slice of the second half", second, CPU_FLAT * first, "µs")


def _by_slice(samples: Sequence[Sample]) -> list[Slice]:
    """The samples in SLICES parts, or fewer."""
    step = max(1, len(samples) // SLICES)
    return [Slice.between(before, after) for before, after in pairwise(samples[::step])]
