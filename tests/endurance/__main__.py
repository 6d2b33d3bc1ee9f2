"""`make backpressure`, `make soak`, `make storm`: does the worker hold what it promises for long, and under churn?"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from types import ModuleType

from rich.console import Console

from endurance import backpressure, soak, storm
from endurance.findings import WIDTH, Findings
from endurance.voice import Voice


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
    minutes = arguments.minutes
    match arguments.trial:
        case "backpressure":
            outages = backpressure.Options(minutes, int(arguments.megabytes * 1e6))
            return backpressure.run(outages, directory, voice)
        case "soak":
            return soak.run(soak.Options(minutes), directory, voice)
        case _:
            logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that a topic is not there yet is no news
            return storm.run(storm.Options(minutes, arguments.seed, arguments.rate), directory, voice)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m endurance", description=__doc__)
    trials = parser.add_subparsers(dest="trial", required=True)
    outages = _trial(trials, backpressure, 10.0, "of each of the two outages", "MINUTES=1 ARGS='--megabytes 200'")
    outages.add_argument("--megabytes", type=float, default=1000.0, help="that wait in Kafka (1000)")
    _trial(trials, soak, 30.0, "beside a minute of warming up", "MINUTES=5 ARGS=--json")
    rebalances = _trial(trials, storm, 5.0, "of storm, before the calm", "MINUTES=1 ARGS='--seed 7'")
    rebalances.add_argument("--seed", type=int, default=1, help="decides who comes and goes, and the documents (1)")
    rebalances.add_argument("--rate", type=float, default=40.0, help="records a second (40)")
    return parser.parse_args()


def _trial(
    trials: "argparse._SubParsersAction[argparse.ArgumentParser]",
    module: ModuleType,
    minutes: float,
    told: str,
    example: str,
) -> argparse.ArgumentParser:
    name = module.__name__.rpartition(".")[2]
    trial = trials.add_parser(name, description=module.__doc__, epilog=f"Example: make {name} {example}")
    trial.add_argument("--minutes", type=float, default=minutes, help=f"{told} ({minutes:g})")
    trial.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    trial.add_argument("--keep", type=Path, help="keep logs and data in this directory, also when all is well")
    return trial


if __name__ == "__main__":
    main()
