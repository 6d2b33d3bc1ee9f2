"""`make chaos MINUTES=n SEED=s`: faults by the thousand on real Kafka, and the proof that nothing came of them."""

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from rich.console import Console

from chaos.campaign import Options, opened
from chaos.ledger import Ledger

ORDERS = ("offset", "version")
WIDTH = 130  # of the tables, where there is no terminal to tell


def main() -> None:
    """Run a campaign; exit code 1 when something was violated, or faults did not fire."""
    arguments = _arguments()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    directory = arguments.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    order = arguments.order or random.Random(f"order {arguments.seed}").choice(ORDERS)
    options = Options(arguments.seed, arguments.minutes, directory, order)
    about = f"seed {options.seed}, order {options.order}, {options.minutes:g} minutes"
    console.print(f"chaos: {about}, in {directory}", highlight=False)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that the broker is away is meant so
    ledger = asyncio.run(_campaign(options, console))
    silent = ledger.silent()
    ledger.show(console)
    for line in silent:
        console.print(f"  {line}", markup=False)
    if arguments.ledger:
        _add_to(arguments.ledger, ledger)
    failed = bool(ledger.violations or silent)
    if failed or arguments.keep:
        console.print(f"What happened stands in {directory}. Again: make chaos MINUTES=… SEED={options.seed}")
    else:
        shutil.rmtree(directory)
    sys.exit(failed)


async def _campaign(options: Options, console: Console) -> Ledger:
    async with opened(options, console) as campaign:
        try:
            await campaign.run()
        except Exception as error:  # noqa: BLE001 - what was found up to here must not be lost with it
            traceback.print_exc()
            campaign.ledger.violations.append(f"the campaign itself broke off: {type(error).__name__}")
    return campaign.ledger


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description=__doc__,
        epilog="Example: make chaos MINUTES=10 SEED=7 ARGS='--ledger chaos.json'",
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="at least one round of about two minutes is run")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="decides all that is decided here")
    parser.add_argument("--order", choices=ORDERS, help="what orders a document's events; else the seed decides it")
    parser.add_argument("--keep", type=Path, help="keep what happened in this directory, also when all is well")
    parser.add_argument("--ledger", type=Path, help="add the figures to those in this file")
    return parser.parse_args()


def _add_to(file: Path, ledger: Ledger) -> None:
    total = Ledger.from_json(file.read_text()) if file.exists() else Ledger()
    total.add(ledger)
    file.write_text(total.as_json())


if __name__ == "__main__":
    main()
