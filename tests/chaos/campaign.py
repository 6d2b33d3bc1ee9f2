"""A campaign: rounds of faults under load, each followed by healing, a drain and the checker's judgement."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from chaos.checker import watch_commits
from chaos.faults import conduct, make_fault
from chaos.fleet import Sampler
from chaos.group_offsets import GroupOffsets
from chaos.judging import judged
from chaos.ledger import Ledger
from chaos.schedule import FEWEST, Action, Schedule
from chaos.stage import GROUP, TOPIC, Stage, ended, open_stage

LOAD_S = (60.0, 75.0)  # of a round
ROUND_S = 105.0  # about what a round takes in all
START_LIMIT_S = 120.0
GIVE_UP_S = 150.0  # past a minute it is a violation; this tells slow from stuck


@dataclass(frozen=True, slots=True)
class Options:
    """What a campaign is asked for."""

    seed: int
    minutes: float
    directory: Path
    order: str


class Campaign:
    """Rounds on one stage. `ledger` holds what came of them."""

    def __init__(self, options: Options, stage: Stage, offsets: GroupOffsets, console: Console) -> None:
        self._options = options
        self._stage = stage
        self._offsets = offsets
        self._console = console
        self._schedule = Schedule(options.seed)
        self._rng = random.Random(f"rounds {options.seed}")
        self._told: set[str] = set()
        self.ledger = Ledger(seeds=[options.seed])

    async def run(self) -> None:
        """As many rounds as fit into the minutes, at least one."""
        began_s = time.monotonic()
        for _ in range(self._schedule.members):
            slot = self._stage.fleet.free_slot()
            if slot is not None:
                await self._stage.fleet.start(slot)
        await self._first_records()
        while not self.ledger.rounds or self._left_s(began_s) >= ROUND_S:
            await self._round(self.ledger.rounds + 1)
            self.ledger.rounds += 1
            self.ledger.seconds = time.monotonic() - began_s
        await self._stage.fleet.stop_all()
        self.ledger.violations += [f"after the last stop: {violation}" for violation in await self._judge()]
        self._take_complaints()

    async def _first_records(self) -> None:
        """Faults wait until the first workers work."""
        producing = asyncio.create_task(self._stage.traffic.produce_for_ever())
        async with asyncio.timeout(START_LIMIT_S):
            while not self._offsets.latest or not any(self._offsets.latest.values()):
                await asyncio.sleep(0.2)
        await ended(producing)

    def _left_s(self, began_s: float) -> float:
        return self._options.minutes * 60 - (time.monotonic() - began_s)

    async def _round(self, number: int) -> None:
        seconds = self._rng.uniform(*LOAD_S)
        actions = self._schedule.round(seconds)
        self._stage.run.event("round_started", round=number, seconds=seconds, faults=len(actions))
        fired_before = self.ledger.total_fired
        await self._load(actions, seconds)
        drained_s = await self._heal_and_drain()
        violations = await self._judge()
        self.ledger.violations += [f"round {number}: {violation}" for violation in violations]
        self._take_complaints()
        self.ledger.records = Counter(self._stage.traffic.counts)
        self.ledger.hooks = Counter(_hooks_fired(self._stage.run.events))
        self._console.print(
            f"round {number}: {self.ledger.total_fired - fired_before} of {len(actions)} faults fired, "
            f"{self.ledger.records.total():,} records so far, {len(self._stage.fleet.running)} workers, "
            f"lag 0 after {drained_s:.0f} s, {len(self.ledger.violations)} violations so far",
            highlight=False,
        )

    # --- faults under load ------------------------------------------------------------------------------------------

    async def _load(self, actions: list[Action], seconds: float) -> None:
        calm = asyncio.Event()
        producing = asyncio.create_task(self._stage.traffic.produce_for_ever())
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(self._act(action, began_s, calm))
            await asyncio.sleep(seconds)
            calm.set()
        await ended(producing)

    async def _act(self, action: Action, began_s: float, calm: asyncio.Event) -> None:
        await asyncio.sleep(max(0.0, began_s + action.at_s - time.monotonic()))
        told = {"number": action.number, "fault": action.kind}
        self._stage.run.event("fault_started", **told, parameters=action.parameters, lasts_s=action.lasts_s)
        hits = await conduct(make_fault(action, self._stage), action.lasts_s, calm)
        self._stage.run.event("fault_ended", **told, hits=hits, fired=bool(hits))
        self.ledger.note_fault(action.kind, hits)

    # --- healing ----------------------------------------------------------------------------------------------------

    async def _heal_and_drain(self) -> float:
        """Each fault has taken itself back by now. Seconds until the group had no lag any more."""
        stage = self._stage
        while len(stage.fleet.running) < FEWEST and (slot := stage.fleet.free_slot()) is not None:
            await stage.fleet.start(slot)
        await stage.traffic.flush()
        stage.run.event("healed")
        healed_s = time.monotonic()
        while any((lag := await self._offsets.lag(stage.kafka)).values()):
            if time.monotonic() - healed_s > GIVE_UP_S:
                break
            await asyncio.sleep(0.2)
        drained_s = time.monotonic() - healed_s
        stage.run.event("lag_zero" if not any(lag.values()) else "lag_stays", seconds=drained_s, lag=lag)
        self.ledger.drains_s.append(drained_s)
        return drained_s

    async def _judge(self) -> list[str]:
        """The checker's violations that were not there in the round before: it judges all that has happened so far."""
        report = await judged(self._stage.run.path)
        new = [str(violation) for violation in report.violations if str(violation) not in self._told]
        self._told.update(new)
        self._stage.run.event("judged", violations=new)
        self.ledger.figures = report.figures
        return new

    def _take_complaints(self) -> None:
        self.ledger.violations += self._stage.fleet.complaints
        self._stage.fleet.complaints.clear()


@asynccontextmanager
async def opened(options: Options, console: Console) -> AsyncIterator[Campaign]:
    """A campaign on a stage of its own; all of it is ended afterwards."""
    async with open_stage(options.directory, options.seed, options.order) as stage:
        offsets = GroupOffsets(stage.run, stage.broker.bootstrap_servers, GROUP, TOPIC)
        await stage.kafka.committed(GROUP)  # makes Kafka's topic of offsets
        background = [
            asyncio.create_task(offsets.follow_for_ever()),
            asyncio.create_task(Sampler(stage.run, stage.fleet).run()),
            asyncio.create_task(watch_commits(stage.run.path)),
        ]
        try:
            yield Campaign(options, stage, offsets, console)
        finally:
            await ended(*background)


def _hooks_fired(events: Path) -> list[str]:
    lines = [json.loads(line) for line in events.read_text().splitlines() if '"hook_fired"' in line]
    return [f"{line['step']} {line['moment']}" for line in lines]
