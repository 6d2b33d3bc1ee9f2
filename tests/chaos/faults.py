"""What a fault is to the campaign, and the making of one from its action in the schedule."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from chaos.faults_on_brokers import BrokerKilled, BrokerRestarted, DeadLettersRefused, TimestampsOff
from chaos.faults_on_links import LinkBroken
from chaos.faults_on_stand_ins import Injected, QdrantFrozen, QdrantKilled
from chaos.faults_on_workers import Frozen, Joins, Killed, KilledBetweenSteps, Leaves, Stopped
from chaos.schedule import Action
from chaos.stage import Stage


class Fault(Protocol):
    """A fault that is about to happen."""

    async def start(self) -> bool:
        """Let it happen; False when nobody is there whom it could hit."""

    async def end(self) -> None:
        """Heal it, as far as it does not heal by itself."""

    async def hits(self) -> int:
        """How often it acted so far, by the word of the place where it acts. 0: it has not fired."""


def make_fault(action: Action, stage: Stage) -> Fault:
    """The fault that an action asks for."""
    parameters = action.parameters
    if action.kind in _PLAIN:
        return _PLAIN[action.kind](stage, action)
    if "link" in parameters:
        return LinkBroken(stage, action.pick, parameters)
    return Injected(stage.jina if action.kind.startswith("jina") else stage.qdrant, parameters["order"])


# The kinds that are neither a link's nor told to a stand-in.
_PLAIN: dict[str, Callable[[Stage, Action], Fault]] = {
    "killed": lambda on, one: Killed(on.fleet, one.pick),
    "killed between steps": lambda on, one: KilledBetweenSteps(on.fleet, one.pick, **one.parameters),
    "stopped": lambda on, one: Stopped(on.fleet, one.pick),
    "stopped twice": lambda on, one: Stopped(on.fleet, one.pick, **one.parameters),
    "frozen": lambda on, one: Frozen(on.fleet, one.pick),
    "frozen past the session": lambda on, one: Frozen(on.fleet, one.pick),
    "member joins": lambda on, _: Joins(on.fleet),
    "member leaves": lambda on, one: Leaves(on.fleet, one.pick),
    "broker killed": lambda on, _: BrokerKilled(on),
    "broker restarted": lambda on, _: BrokerRestarted(on),
    "qdrant frozen": lambda on, _: QdrantFrozen(on.qdrant),
    "qdrant killed": lambda on, _: QdrantKilled(on.qdrant),
    "dead letters refused": lambda on, one: DeadLettersRefused(on, **one.parameters),
    "timestamps off": lambda on, one: TimestampsOff(on.traffic, **one.parameters),
}


PATIENCE_S = 12.0  # for a fault to fire after its time: a worker that backs off sends nothing
LOOK_EVERY_S = 0.2


async def conduct(fault: Fault, lasts_s: float, calm: asyncio.Event) -> int | None:
    """Carry a fault through, at most until `calm`; how often it acted, None when it could not be set at all."""
    try:
        if not await fault.start():
            return None
        await _sleep(lasts_s, calm)
        left_s = PATIENCE_S
        while left_s > 0 and not calm.is_set() and not await fault.hits():
            await _sleep(LOOK_EVERY_S, calm)
            left_s -= LOOK_EVERY_S
    finally:
        await fault.end()
    return await fault.hits()


async def _sleep(seconds: float, calm: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await calm.wait()
    except TimeoutError:
        pass
