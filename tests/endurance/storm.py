"""A storm of rebalances: two to eight members join and leave every few seconds while documents keep coming.

Members leave by SIGTERM, some are killed. When it is over, nothing may be lost or stuck, and nothing may have been
embedded again but what was in flight when its worker was killed: the checker of `make chaos` judges that.
"""

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.checker import Report
from chaos.fleet import Worker
from chaos.judging import judged
from chaos.stage import ended
from endurance.findings import Findings
from endurance.storm_stage import GROUP, MOST, Stage, open_stage
from endurance.voice import Voice

FEWEST = 2
KILLED = 0.25  # of those that leave
PAUSE_S = (1.5, 4.0)  # between one coming or going and the next
FIRST_RECORDS_S = 90.0
LAG_LIMIT_S = 60.0
GIVE_UP_S = 150.0  # past the limit it is a violation already; this tells slow from stuck
WATCH_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """What a storm is asked for. `rate`: records a second."""

    minutes: float = 5.0
    seed: int = 1
    rate: float = 40.0


async def run(options: Options, directory: Path, voice: Voice) -> Findings:
    """A storm, the calm after it, and the judgement."""
    voice.say("starting Apache Kafka and the stand-ins")
    async with open_stage(directory, options.seed) as stage:
        storm = Storm(options, stage, voice)
        await storm.rage()
        drained_s = await storm.calm()
        voice.say(f"lag 0 after {drained_s:.0f} s; judging")
        report = await judged(stage.run.path)
        await stage.fleet.stop_all()
        return storm.findings(report, drained_s)


class Storm:
    """Members that come and go. What happens is decided by the seed, when and to whom also by the machine's speed."""

    def __init__(self, options: Options, stage: Stage, voice: Voice) -> None:
        self._options = options
        self._stage = stage
        self._voice = voice
        self._rng = random.Random(f"storm {options.seed}")
        self._leaving: set[asyncio.Task[object]] = set()
        self._ended: Counter[str] = Counter()
        self._joined = 0

    async def rage(self) -> None:
        """Come and go under load until the time is over."""
        producing = asyncio.create_task(self._stage.traffic.produce_for_ever(self._options.rate))
        for _ in range(FEWEST):
            await self._join()
        async with asyncio.timeout(FIRST_RECORDS_S):
            while not any(self._stage.offsets.latest.values()):
                await asyncio.sleep(0.2)
        began_s = time.monotonic()
        while (gone_s := time.monotonic() - began_s) < self._options.minutes * 60:
            self._tell(f"{gone_s:.0f} s of storm")
            await self._come_or_go()
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
        await ended(producing)

    async def calm(self) -> float:
        """Nobody comes or goes any more. Seconds until all that was produced is committed."""
        stage = self._stage
        await asyncio.gather(*self._leaving)
        await stage.traffic.flush()
        stage.run.event("healed")
        healed_s = time.monotonic()
        while (lag := sum((await stage.offsets.lag(stage.kafka)).values())) and time.monotonic() - healed_s < GIVE_UP_S:
            self._tell(f"calm, {lag:,} records of lag")
            await asyncio.sleep(0.2)
        drained_s = time.monotonic() - healed_s
        stage.run.event("lag_stays" if lag else "lag_zero", seconds=drained_s)
        await self._watched(dict(stage.offsets.latest))
        return drained_s

    def findings(self, report: Report, drained_s: float) -> Findings:
        """The table, from the checker's report and what happened here."""
        course, bill = report.figures["I0"], report.figures["I7"]
        lag, dead_letters = report.figures["I5"], report.figures["I3"]
        found = Findings(f"Rebalance storm of {self._options.minutes:g} minutes, seed {self._options.seed}")
        found.tell("rebalances of the group", _rebalances(self._stage.broker.log_file))
        found.tell("members started", self._joined)
        found.tell("members ended by SIGTERM", self._ended["SIGTERM"])
        found.tell("members killed", self._ended["SIGKILL"])
        found.tell("records", course["records"])
        found.at_most("lag 0 after", drained_s, LAG_LIMIT_S, "s")
        found.tell("dead letters", dead_letters["letters"])
        found.tell("dead letters sent once more, by whoever read their record again", dead_letters["duplicates"])
        found.exactly("dead letters beyond the poisoned records, or missing", dead_letters["violations"], 0)
        found.exactly("records without an outcome (lost)", report.figures["I1"]["violations"], 0)
        found.exactly("differences of the collection from the fold", report.figures["I2"]["violations"], 0)
        found.exactly("commits past what was unsettled", report.figures["I4"]["violations"], 0)
        found.exactly("partitions not committed to their end (stuck)", lag["violations"], 0)
        found.tell("texts that had to be embedded", bill["births"])
        found.tell("tokens billed", bill["tokens billed"])
        for cause, tokens in bill["tokens billed again, by cause"].items():
            found.tell(f"tokens billed again, by cause: {cause}", tokens)
        found.exactly("texts embedded again without a kill or cut that explains it", bill["violations"], 0)
        found.complaints += [str(violation) for violation in report.violations]
        found.complaints += self._stage.fleet.complaints
        return found

    async def _watched(self, ends: Mapping[int, int]) -> None:
        """The checker's watch has looked at all commits, or takes too long: then the checker will say so."""
        deadline_s = time.monotonic() + WATCH_LIMIT_S
        while time.monotonic() < deadline_s:
            seen: dict[int, int] = {}
            for line in (self._stage.run.path / "watch.jsonl").read_text().splitlines():
                seen |= {int(number): offset for number, offset in json.loads(line)["offsets"].items()}
            if all(seen.get(number, 0) >= end for number, end in ends.items()):
                return
            await asyncio.sleep(0.5)

    # --- coming and going -------------------------------------------------------------------------------------------

    async def _come_or_go(self) -> None:
        staying = [worker for worker in self._stage.fleet.running if not worker.end_expected]
        if len(staying) <= FEWEST:
            joins = True
        elif len(staying) >= MOST or self._stage.fleet.free_slot() is None:
            joins = False
        else:
            joins = self._rng.random() < 0.5
        if joins:
            await self._join()
        elif len(staying) > FEWEST:
            self._leave(self._rng.choice(staying))

    async def _join(self) -> None:
        slot = self._stage.fleet.free_slot()
        if slot is not None:
            await self._stage.fleet.start(slot)
            self._joined += 1

    def _leave(self, worker: Worker) -> None:
        killed = self._rng.random() < KILLED
        self._ended["SIGKILL" if killed else "SIGTERM"] += 1
        leaving: asyncio.Task[object] = asyncio.create_task(
            _killed(worker) if killed else self._stage.fleet.stop(worker)
        )
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _tell(self, what: str) -> None:
        counts = self._stage.traffic.counts
        self._voice.now(
            f"{what}: {len(self._stage.fleet.running)} members, {self._joined} have joined, "
            f"{self._ended.total()} were told to leave, {counts.total():,} records"
        )


async def _killed(worker: Worker) -> int | None:
    worker.end_expected = True
    worker.signal(signal.SIGKILL)
    return await worker.wait()


def _rebalances(log: Path) -> int:
    """Generations of the group, by the broker's word."""
    return log.read_text(errors="replace").count(f"Stabilized group {GROUP} generation")
