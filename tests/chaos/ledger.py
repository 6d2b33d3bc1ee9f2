"""The figures of a campaign: faults by kind, records, violations. Several campaigns can be added up.

python -m chaos.ledger RUN1.json RUN2.json …      the sum, as a table
"""

import json
import sys
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.schedule import KINDS

MUST_FIRE_AFTER = 4  # a kind that was set so often and never fired is not tested by this campaign
FIRED_PART = 0.6  # of the faults that were set, at least


@dataclass(slots=True)
class Ledger:
    """Counts by kind of fault: those that came up, those that could be set, those that fired, and their hits."""

    seeds: list[int] = field(default_factory=list)
    rounds: int = 0
    seconds: float = 0.0
    scheduled: Counter[str] = field(default_factory=Counter)
    started: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    hooks: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    drains_s: list[float] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)  # the checker's, of the last round
    violations: list[str] = field(default_factory=list)

    def note_fault(self, kind: str, hits: int | None) -> None:
        """A fault has ended; None: it could not be set."""
        self.scheduled[kind] += 1
        self.started[kind] += hits is not None
        self.fired[kind] += bool(hits)
        self.hits[kind] += hits or 0

    @property
    def total_fired(self) -> int:
        """Faults that fired."""
        return self.fired.total()

    def silent(self) -> list[str]:
        """Kinds that never fired, though they were set often enough; and one line when too few fired in all."""
        never = [f"{kind}: set {n} times, never fired" for kind, n in self.started.items() if _never(n, self, kind)]
        set_, fired = self.started.total(), self.total_fired
        few = [f"only {fired} of {set_} faults fired"] if fired < FIRED_PART * set_ else []
        return never + few

    def add(self, other: "Ledger") -> None:
        """Add another campaign's figures."""
        for name, value in other._values().items():
            mine = getattr(self, name)
            if name == "figures":
                self.figures = value  # of several campaigns they cannot be added
            elif isinstance(mine, Counter):
                mine.update(value)
            elif isinstance(mine, list):
                mine.extend(value)
            else:
                setattr(self, name, mine + value)

    def as_json(self) -> str:
        """All of it."""
        return json.dumps(self._values(), indent=1)

    def _values(self) -> dict[str, Any]:
        """By name. (`dataclasses.asdict` breaks on counters.)"""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, text: str) -> "Ledger":
        """What `as_json` wrote."""
        ledger = cls()
        for name, value in json.loads(text).items():
            setattr(ledger, name, Counter(value) if isinstance(getattr(ledger, name), Counter) else value)
        return ledger

    def show(self, console: Console) -> None:
        """Tables for people."""
        faults = Table("fault", "came up", "set", "fired", "hits", title="Faults", title_justify="left")
        for kind in sorted(self.scheduled, key=list(KINDS).index):
            row = (self.scheduled, self.started, self.fired, self.hits)
            faults.add_row(kind, *(f"{counter[kind]:,}" for counter in row))
        whole = (self.scheduled, self.started, self.fired, self.hits)
        faults.add_row("all", *(f"{counter.total():,}" for counter in whole), style="bold")
        console.print(faults)
        console.print(f"Killed between steps: {_listed(self.hooks)}")
        console.print(f"Records: {self.records.total():,}: {_listed(self.records)}")
        if self.drains_s:
            console.print(f"Lag 0 after healing: at most {max(self.drains_s):.0f} s")
        for invariant, figures in self.figures.items():
            console.print(f"{invariant}: {figures}", markup=False)
        console.print(
            f"{self.rounds} rounds in {self.seconds / 60:.1f} minutes, seeds {', '.join(map(str, self.seeds))}: "
            f"{self.total_fired:,} faults fired, {len(self.violations)} violations"
        )
        for violation in self.violations:
            console.print(f"  {violation}", markup=False)


def _never(started: int, ledger: Ledger, kind: str) -> bool:
    return started >= MUST_FIRE_AFTER and not ledger.fired[kind]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def main(files: list[str]) -> None:
    """Print the sum of the ledgers in these files."""
    total = Ledger()
    for file in files:
        total.add(Ledger.from_json(Path(file).read_text()))
    total.show(Console())


if __name__ == "__main__":
    main(sys.argv[1:])
