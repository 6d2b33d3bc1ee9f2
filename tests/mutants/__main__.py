"""`make mutants`: plants each bug, plays its scenario, and prints who catches whom. Exit code 1 when one survives."""

import sys
import time

from rich.console import Console
from rich.table import Table

from mutants import of_the_protocol, of_the_worker
from mutants.mutant import survives

WIDTH = 180  # of the table, where there is no terminal to tell


def main() -> int:
    """Play all, print the table."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    table = Table(title="Deliberate bugs and what catches them", title_justify="left")
    for head in ("mutant", "what it breaks", "caught by", "as", "s"):
        table.add_column(head)
    survivors = 0
    for mutant in (*of_the_worker.MUTANTS, *of_the_protocol.MUTANTS):
        started_s = time.monotonic()
        instead = survives(mutant)
        survivors += instead is not None
        caught = mutant.caught_as.value if instead is None else f"[bold red]SURVIVES: {instead}"
        breaks = (mutant.plant.__doc__ or "").partition("\n")[0]
        seconds = f"{time.monotonic() - started_s:.1f}"
        table.add_row(mutant.name, breaks, mutant.scenario, caught, seconds)
    console.print(table)
    console.print(f"{table.row_count - survivors} of {table.row_count} mutants caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
