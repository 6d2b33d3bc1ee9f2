"""`make fuzz`: at least ten million bytes through every place that reads what others wrote. Fails at a finding."""

import argparse
import random
import sys
import time

from rich.console import Console
from rich.table import Table

from fuzz import of_jina, of_qdrant, of_records, of_the_wire
from fuzz.target import campaign

TARGETS = [*of_records.TARGETS, *of_jina.TARGETS, *of_the_wire.TARGETS, *of_qdrant.TARGETS]
WIDTH = 150  # of the table, where there is no terminal to tell
MOST_OUTCOMES = 12


def main() -> int:
    """Feed each target its share, print the table."""
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=…", description=__doc__)
    parser.add_argument("--bytes", type=int, default=10_000_000, help="how much, over all targets (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of all inputs; a fresh one else")
    given = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(f"seed {given.seed}; the same again with --seed {given.seed} --bytes {given.bytes}")
    table = Table(title="What came of the inputs", title_justify="left", show_lines=True)
    for head in ("target", "bytes", "inputs", "s", "outcomes"):
        table.add_column(head, justify="left" if head in ("target", "outcomes") else "right")
    fed = 0
    for target in TARGETS:
        started_s = time.monotonic()
        tally = campaign(target, -(-given.bytes // len(TARGETS)), given.seed)
        fed += tally.bytes
        outcomes = "\n".join(f"{count:,} {outcome}" for outcome, count in tally.outcomes.most_common(MOST_OUTCOMES))
        seconds = f"{time.monotonic() - started_s:.0f}"
        table.add_row(target.name, f"{tally.bytes:,}", f"{tally.inputs:,}", seconds, outcomes)
    console.print(table)
    console.print(f"{fed:,} bytes, no exception outside the taxonomy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
