"""`make simulate`: what the pacing reaches, and what others reach, as a table. Minutes of virtual time in seconds."""

import sys
from collections.abc import Iterator

import structlog
from rich.console import Console
from rich.table import Table

from simulation import adversity, scenarios
from simulation.rejected_clients import REJECTED
from simulation.scenarios import FREE, PAID, Result
from simulation.simulated_load import heavy_tailed, uniform
from simulation.simulated_service import affine
from streamdex.standins.jina.windows import WindowKind

Row = tuple[str, ...]
SIZES = {"400-token documents": uniform, "50 to 8,000 tokens": heavy_tailed}
LINES = {"0.2 s + 0.02 s per 1,000": (0.2, 0.02), "1 s + 0.02": (1.0, 0.02), "0.2 s + 0.2": (0.2, 0.2)}
WIDTH = 130  # of the tables, where there is no terminal


def main() -> None:
    """Print each table as soon as it is known."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # refusals are what is tested here
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    windows = [window.value for window in WindowKind]
    _print(console, "Used of what could be used %, and 429s as % of requests, by the server's window", windows, _used())
    _print(console, "A service five times slower, and back: % of the attainable", ["before", "slow", "again"], _steps())
    _print(console, "Ten minutes of faults", ["requests sent meanwhile", "used from 30 s after it %"], _drills())
    heads = ["mean s", "median s", "nine in ten s", "median wait until sent ms"]
    _print(console, "Documents below the limits, from their coming to their vectors", heads, _loads())


def _print(console: Console, title: str, heads: list[str], rows: Iterator[Row]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for head in heads:
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _used() -> Iterator[Row]:
    """All five windows beside each other."""
    for name, sizes in SIZES.items():
        for count in (1, 4, 32):
            title = f"paced, {count} replica{'s' * (count > 1)}, {name}"
            yield (title, *(_cell(scenarios.saturated(window, sizes=sizes, count=count)) for window in WindowKind))
    yield ("paced, one document a request", *(_cell(scenarios.saturated(w, together=True)) for w in WindowKind))
    yield ("paced, free limits", *(_cell(scenarios.saturated(window, key=FREE, minutes=8)) for window in WindowKind))
    yield ("paced, limits set 25 % too high", *(_cell(adversity.configured_too_high(w)) for w in WindowKind))
    yield ("paced, another client takes half", *(_cell(adversity.another_takes_half(w)) for w in WindowKind))
    yield ("paced, 4 replicas dealt again each 20 s", *(_cell(adversity.rebalances(window)) for window in WindowKind))
    yield _slots()
    for client in REJECTED:
        yield (client, *(_cell(scenarios.rejected(client, window)) for window in WindowKind))


def _slots() -> Row:
    """Concurrency binds: four at once, answers of a second and more."""
    key = (PAID[0], PAID[1], 4)
    results = [scenarios.saturated(window, key=key, latency=affine(1.0, 0.1)) for window in WindowKind]
    return ("paced, 4 slots bind", *(f"{100 * one.in_flight / key[2]:.1f} / {_refused(one)}" for one in results))


def _cell(result: Result) -> str:
    return f"{100 * result.used:.1f} / {_refused(result)}"


def _refused(result: Result) -> str:
    return f"{100 * result.refused_share:.1f}" if result.refused else "0"


def _steps() -> Iterator[Row]:
    for name, line in LINES.items():
        step = adversity.latency_step(5, *line)
        yield (name, *(f"{100 * part:.1f}" for part in (step.before, step.slow, step.again)))


def _drills() -> Iterator[Row]:
    for name, status, failing in (
        ("every request 503", 503, 1.0),
        ("every request 400", 400, 1.0),
        ("every request 403", 403, 1.0),
        ("half of them 503", 503, 0.5),
    ):
        drill = adversity.outage(status, failing)
        yield (name, str(drill.probes), f"{100 * drill.again:.1f}")


def _loads() -> Iterator[Row]:
    for load, sizes in ((0.05, (1, 2)), (0.2, (2, 3, 4)), (0.5, (5, 6, 7)), (0.8, (9, 10, 11))):
        waits = scenarios.at_load(load)
        yield (f"{load:.0%} of the tokens, paced", *_done(waits.done), f"{1000 * waits.until_sent_s:.0f}")
        for size in sizes:
            yield (f"{load:.0%}, batches of {size}", *_done(scenarios.fixed_batches(load, size)), "")


def _done(done: scenarios.Done) -> Row:
    return (f"{done.mean_s:.2f}", f"{done.p50_s:.2f}", f"{done.p90_s:.2f}")


if __name__ == "__main__":
    main()
