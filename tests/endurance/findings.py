"""What a run has measured: figures, of which some have a bound; as a table for people and as JSON for programs."""

import json
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table

MIB = 1024 * 1024
WIDTH = 130  # of the table, where there is no terminal to tell


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `bound` says what the value must keep to; empty when it is only told."""

    name: str
    value: float | str
    unit: str = ""
    bound: str = ""
    kept: bool = True

    @property
    def told(self) -> str:
        """The value as people read it."""
        if isinstance(self.value, str):
            return self.value
        digits = 0 if float(self.value).is_integer() or abs(self.value) >= 1000 else 1 if abs(self.value) >= 10 else 2
        return f"{self.value:,.{digits}f} {self.unit}".strip()


@dataclass(slots=True)
class Findings:
    """The figures of one run in the order they were found, and in words whatever else went wrong."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def tell(self, name: str, value: float | str, unit: str = "") -> None:
        """A figure without a bound."""
        self.figures.append(Figure(name, value, unit))

    def at_most(self, name: str, value: float, most: float, unit: str = "") -> None:
        """A figure that must not be above its bound."""
        bound = f"≤ {Figure('', most, unit).told}"
        self.figures.append(Figure(name, value, unit, bound, kept=value <= most))

    def at_least(self, name: str, value: float, least: float, unit: str = "") -> None:
        """A figure that must not be below its bound."""
        bound = f"≥ {Figure('', least, unit).told}"
        self.figures.append(Figure(name, value, unit, bound, kept=value >= least))

    def exactly(self, name: str, value: float, wanted: float) -> None:
        """A count that can only be this."""
        self.figures.append(Figure(name, value, "", f"= {wanted:,}", kept=value == wanted))

    @property
    def broken(self) -> list[Figure]:
        """Figures beyond their bound."""
        return [figure for figure in self.figures if not figure.kept]

    @property
    def failed(self) -> bool:
        """Whether a bound is broken, or anything else went wrong."""
        return bool(self.broken or self.complaints)

    def show(self, console: Console) -> None:
        """The table, then the complaints."""
        table = Table(title=self.title, title_justify="left")
        for head in ("measured", "value", "bound", ""):
            table.add_column(head, justify="right" if head == "value" else "left")
        for figure in self.figures:
            proven_fault = "" if not figure.bound else "kept" if figure.kept else "[red]BROKEN[/red]"
            table.add_row(figure.name, figure.told, figure.bound, proven_fault)
        console.print(table)
        for complaint in self.complaints:
            console.print(f"  {complaint}", markup=False, highlight=False)

    def as_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self) | {"failed": self.failed}, indent=2)
