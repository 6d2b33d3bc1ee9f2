"""What the checker says: violations, and figures."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

Figures = dict[str, Any]
MOST_TOLD = 20  # violations in the same words that are told one by one; all are counted


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant (`I1` to `I8`; `I0`: the campaign itself went wrong). `details` hold no document text."""

    invariant: str
    what: str
    details: Figures = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.details.items())
        return f"{self.invariant}: {self.what}" + (f" ({told})" if told else "")


@dataclass(slots=True)
class Report:
    """What was found: by one invariant, or by all of them, whose figures then stand under the invariant's name."""

    violations: list[Violation] = field(default_factory=list)
    figures: Figures = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.violations

    def violate(self, invariant: str, what: str, **details: Any) -> None:
        """Add a violation."""
        self.violations.append(Violation(invariant, what, details))

    def take(self, invariant: str, part: "Report") -> None:
        """Add what one invariant has found. Of what is found often, MOST_TOLD are told, and how many more there are."""
        found: Counter[str] = Counter()
        for violation in part.violations:
            found[violation.what] += 1
            if found[violation.what] <= MOST_TOLD:
                self.violations.append(violation)
        for what, count in found.items():
            if count > MOST_TOLD:
                self.violate(invariant, f"{what}: more of the same", count=count - MOST_TOLD)
        self.figures[invariant] = {"violations": len(part.violations), **part.figures}
