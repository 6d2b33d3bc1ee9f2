"""Which faults happen when: decided by the seed alone. Pure.

Kinds are dealt like cards from a shuffled deck, so that in the long run each comes as often as its weight says. Most
rounds have a mood: while the group is in turmoil, hardly anything is embedded that a neighbour's fault could hit. Whom
a fault hits is a number in [0, 1) here: only at that moment it is known who is there.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from chaos.hooked_worker import MOMENTS, STEPS

MEAN_GAP_S = 1.1
FIRST_AT_S = 2.0
FEWEST, MOST = 3, 6  # members of the group
LINKS = ("kafka", "qdrant", "jina")

Dice = random.Random
Parameters = dict[str, Any]
Make = Callable[[Dice], Parameters]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: how often its card is in the deck, how long it lasts in seconds, what else is decided."""

    weight: int
    lasts_s: tuple[float, float]
    make: Make = lambda _: {}


@dataclass(frozen=True, slots=True)
class Action:
    """One fault to come. `at_s` is in the round's time; `pick` in [0, 1) chooses among those who can be hit."""

    number: int
    kind: str
    at_s: float
    lasts_s: float
    pick: float
    parameters: Parameters


def _hook(rng: Dice) -> Parameters:
    step = rng.choice(list(STEPS))
    return {"step": step, "moment": rng.choice(MOMENTS) if step != "settle" else rng.choice(("before", "after"))}


def _times(least: int, most: int) -> Make:
    return lambda rng: {"times": rng.randint(least, most)}


def _link(link: str, mode: str) -> Make:
    def make(rng: Dice) -> Parameters:
        return {
            "link": link,
            "mode": mode,
            "delay_s": round(rng.uniform(0.05, 1.5), 3),
            "rate_bytes": rng.choice((2_000, 8_000, 30_000)),
            "everyone": rng.random() < (0.5 if link == "jina" else 0.2),
        }

    return make


def _jina(kind: str, arguments: tuple[str, ...] = ("",), times: tuple[int, int] | None = None) -> Make:
    def make(rng: Dice) -> Parameters:
        order = {"kind": kind, "argument": rng.choice(arguments), "probability": rng.choice((0.3, 1.0))}
        if times is not None:
            order |= {"times": rng.randint(*times), "probability": 1.0}
        return {"order": order}

    return make


def _qdrant(kind: str, times: tuple[int, int] | None = None, **fields: Any) -> Make:
    def make(rng: Dice) -> Parameters:
        order = {"kind": kind, "probability": rng.choice((0.3, 1.0)), **fields}
        if times is not None:
            order |= {"times": rng.randint(*times), "probability": 1.0}
        if kind in ("slow", "wait_timeout", "lost_answer", "unanswered", "severed"):
            order["delay_s"] = round(rng.uniform(0.05, 1.5), 3)
        return {"order": order}

    return make


KINDS: dict[str, Kind] = {
    "killed": Kind(3, (0.2, 3.0)),
    "killed between steps": Kind(7, (0.2, 2.0), _hook),
    "stopped": Kind(2, (0.2, 2.0)),
    "stopped twice": Kind(2, (0.2, 2.0), lambda rng: {"second_after_s": round(rng.uniform(0, 0.4), 2)}),
    "frozen past the session": Kind(2, (7.5, 11.0)),
    "frozen": Kind(3, (0.3, 3.0)),
    "member joins": Kind(2, (0.0, 0.1)),
    "member leaves": Kind(2, (0.0, 0.1)),
    "broker killed": Kind(1, (0.2, 3.0)),
    "broker restarted": Kind(1, (0.1, 0.5)),
    **{
        f"{link} link {mode}": Kind(3, (0.5, 5.0), _link(link, mode))
        for link in LINKS
        for mode in ("drop", "reset", "delay", "blackhole", "drip")
    },
    "jina 5xx": Kind(2, (0.5, 4.0), _jina("status", ("500", "503", "504"))),
    "jina html": Kind(1, (0.5, 4.0), _jina("html", ("502", "200"), (1, 3))),
    "jina hang": Kind(2, (0.5, 4.0), _jina("hang", ("", "2"), (1, 4))),
    "jina drip": Kind(2, (0.5, 4.0), _jina("drip", ("1", "3", "8"), (1, 4))),
    "jina 429": Kind(2, (0.5, 4.0), _jina("throttle", ("",))),
    "jina 429 absurd": Kind(2, (0.5, 3.0), _jina("throttle", ("absurd", "4000"), (1, 3))),
    "jina 429 dated": Kind(2, (0.5, 4.0), _jina("throttle", ("date:1", "date:3", "date:0"))),
    "jina 401": Kind(1, (0.5, 2.0), _jina("status", ("401",), (1, 2))),
    "jina 402": Kind(1, (0.5, 2.0), _jina("status", ("402",), (1, 2))),
    "jina 403": Kind(1, (0.5, 2.0), _jina("status", ("403",), (1, 2))),
    "jina not json": Kind(2, (0.5, 4.0), _jina("truncated-json", times=(1, 4))),
    "jina wrong count": Kind(2, (0.5, 4.0), _jina("wrong-count", ("-1", "1"), (1, 4))),
    "jina wrong dimension": Kind(2, (0.5, 4.0), _jina("wrong-dimension", times=(1, 4))),
    "jina nan": Kind(2, (0.5, 4.0), _jina("nan", times=(1, 4))),
    "jina zero": Kind(2, (0.5, 4.0), _jina("zero", times=(1, 4))),
    "jina duplicate index": Kind(2, (0.5, 4.0), _jina("duplicate-index", times=(1, 4))),
    "jina shuffled": Kind(1, (0.5, 4.0), _jina("shuffled")),
    "jina reset": Kind(2, (0.5, 4.0), _jina("reset", times=(1, 4))),
    "jina cut": Kind(2, (0.5, 4.0), _jina("cut", times=(1, 4))),
    "qdrant unavailable": Kind(2, (0.5, 3.0), _qdrant("unavailable")),
    "qdrant slow": Kind(2, (0.5, 4.0), _qdrant("slow")),
    "qdrant exhausted": Kind(2, (0.5, 3.0), _qdrant("rate_limited")),
    "qdrant exhausted, retry after": Kind(2, (0.5, 3.0), _qdrant("rate_limited", retry_after_s=1)),
    "qdrant disk full": Kind(2, (0.5, 3.0), _qdrant("disk_full")),
    "qdrant storage refused": Kind(1, (0.5, 3.0), _qdrant("insufficient_storage")),
    "qdrant wait timeout": Kind(2, (0.5, 4.0), _qdrant("wait_timeout", (1, 5))),
    "qdrant answer lost": Kind(2, (0.5, 4.0), _qdrant("lost_answer", (1, 5))),
    "qdrant unanswered": Kind(2, (0.5, 4.0), _qdrant("unanswered", (1, 3))),
    "qdrant severed": Kind(1, (0.5, 4.0), _qdrant("severed", (1, 2))),
    "qdrant frozen": Kind(2, (0.5, 3.0)),
    "qdrant killed": Kind(1, (0.2, 2.0)),
    "dead letters refused": Kind(
        3, (3.0, 6.0), lambda rng: {"setting": rng.choice(("max.message.bytes", "min.insync.replicas"))}
    ),
    "timestamps off": Kind(2, (0.5, 4.0), lambda rng: {"shift_s": rng.choice((-3540, 3540))}),
}


MEMBERS = (
    *("killed", "killed between steps", "stopped", "stopped twice", "frozen past the session", "frozen"),
    *("member joins", "member leaves", "broker killed", "broker restarted"),
)
# Of ten faults so many concern the members of the group, in turn.
MOODS = (2, 1, 4)


class Schedule:
    """Deals faults round by round; `members` is how many workers the group is meant to have."""

    def __init__(self, seed: int, members: int = 4) -> None:
        self._rng = random.Random(f"schedule {seed}")
        self._members = self._cards([kind for kind in KINDS if kind in MEMBERS])
        self._neighbours = self._cards([kind for kind in KINDS if kind not in MEMBERS])
        self._moods = itertools.cycle(MOODS)
        self._number = 0
        self.members = members

    def round(self, seconds: float, mean_gap_s: float = MEAN_GAP_S) -> list[Action]:
        """The faults of a round that lasts so long, in the order of their beginning."""
        actions: list[Action] = []
        at_s, of_ten = FIRST_AT_S, next(self._moods)
        while at_s < seconds:
            deck = self._members if self._rng.randrange(10) < of_ten else self._neighbours
            actions.append(self._action(self._possible(next(deck)), at_s, seconds))
            at_s += self._rng.uniform(0.2, 1.8) * mean_gap_s
        return actions

    def _cards(self, kinds: list[str]) -> Iterator[str]:
        while True:
            deck = [kind for kind in kinds for _ in range(KINDS[kind].weight)]
            self._rng.shuffle(deck)
            yield from deck

    def _possible(self, kind: str) -> str:
        """The group keeps between FEWEST and MOST members."""
        if kind == "member joins" and self.members == MOST:
            kind = "member leaves"
        elif kind == "member leaves" and self.members == FEWEST:
            kind = "member joins"
        self.members += {"member joins": 1, "member leaves": -1}.get(kind, 0)
        return kind

    def _action(self, name: str, at_s: float, end_s: float) -> Action:
        kind = KINDS[name]
        lasts_s = min(self._rng.uniform(*kind.lasts_s), max(0.0, end_s - at_s))
        self._number += 1
        return Action(self._number, name, at_s, lasts_s, self._rng.random(), kind.make(self._rng))
