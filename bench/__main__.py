"""`python -m bench`, or `make bench`: what the worker costs, beside the script that people write today."""

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bench.cores import core_apart
from bench.neighbours import neighbours
from bench.report import as_json, print_results
from bench.scenarios import Options, Results, run

WIDTH = 140  # of the tables, where there is no terminal to tell


def main() -> None:
    """Measure and print."""
    arguments = _parse()
    with nullcontext() if arguments.share_cores else core_apart() as core:
        options = Options(
            documents=arguments.documents,
            rounds=arguments.rounds,
            partitions=arguments.partitions,
            script=not arguments.no_script,
            profile=arguments.profile,
            core=core,
        )
        results = _run(options, ["--latency-ms", str(arguments.latency_ms)])
    if arguments.json:
        sys.stdout.write(orjson.dumps(as_json(results), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        console = Console()
        print_results(results, console if console.is_terminal else Console(width=WIDTH))


def _run(options: Options, jina_options: list[str]) -> Results:
    """Progress goes to stderr, so that --json can be piped."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        tempfile.TemporaryDirectory(prefix="streamdex-bench-") as directory,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        bar = progress.add_task("starting", total=None)

        def tell(title: str, done: int, total: int) -> None:
            progress.update(bar, description=title, completed=done, total=total)

        with neighbours(Path(directory), progress.console.print, *jina_options) as place:
            return run(place, options, Path(directory), tell)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000, help="new documents in all slices (10000)")
    parser.add_argument("--rounds", type=int, default=5, help="slices, each of the worker and of the script (5)")
    parser.add_argument("--partitions", type=int, default=4, help="partitions of the topics (4)")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="how long the embedding stub waits (0)")
    parser.add_argument("--no-script", action="store_true", help="the worker alone")
    parser.add_argument("--profile", action="store_true", help="CPU by stage beside the budget, and the dearest places")
    parser.add_argument("--share-cores", action="store_true", help="no core of its own for the process measured")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
