"""`make backpressure`, `make soak`, `make storm`: does the worker hold what it promises for long, and under churn?"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path

from endurance import backpressure
from endurance.findings import WIDTH, Findings
from endurance.voice import Voice
from rich.console import Console


def main() -> None:
    """Run one of them; exit code 1 when a bound is broken."""
    arguments = _arguments()
    directory = arguments.keep or Path(tempfile.mkdtemp(prefix=f"{arguments.trial}-"))
    directory.mkdir(parents=True, exist_ok=True)
    voice = Voice()
    try:
        findings = asyncio.run(_chosen(arguments, directory, voice))
    finally:
        voice.end()
    if arguments.json:
        sys.stdout.write(findings.as_json() + "\n")
    else:
        findings.show(Console() if sys.stdout.isatty() else Console(width=WIDTH))
    if findings.failed or arguments.keep:
        voice.say(f"what happened stands in {directory}")
    else:
        shutil.rmtree(directory)
    sys.exit(findings.failed)


def _chosen(arguments: argparse.Namespace, directory: Path, voice: Voice) -> Coroutine[None, None, Findings]:
    options = backpressure.Options(arguments.minutes, int(arguments.megabytes * 1e6))
    return backpressure.run(options, directory, voice)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m endurance", description=__doc__)
    trials = parser.add_subparsers(dest="trial", required=True)
    trial = trials.add_parser(
        "backpressure",
        description=backpressure.__doc__,
        epilog="Example: make backpressure MINUTES=1 ARGS='--megabytes 200'",
    )
    _shared(trial, minutes=10.0, told="of each of the two outages")
    trial.add_argument("--megabytes", type=float, default=1000.0, help="that wait in Kafka (1000)")
    return parser.parse_args()


def _shared(trial: argparse.ArgumentParser, minutes: float, told: str) -> None:
    trial.add_argument("--minutes", type=float, default=minutes, help=f"{told} ({minutes:g})")
    trial.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    trial.add_argument("--keep", type=Path, help="keep logs and data in this directory, also when all is well")


if __name__ == "__main__":
    main()
