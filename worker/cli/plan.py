"""`streamdex plan`: what a backlog will take, before it is paid for."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from worker.cli.options import ConfigOption, JsonOption, SetOption, settings_from
from worker.config import Settings
from worker.estimate import Estimate, estimate, sample_topics
from worker.intake import TopicReader
from worker.pipeline import examine


def plan(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    sample: Annotated[int, typer.Option(min=10, max=1_000_000, help="How many records to look at.")] = 2_000,
    everything: Annotated[bool, typer.Option("--all", help="The whole topic, not just what the group lacks.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Estimate tokens, requests, duration and cost of what the group has not indexed yet, from a sample.

    An upper bound: text that the collection knows already, and updates that overtake each other, cost nothing.
    The cost is shown when jina.price_per_million_tokens is set.

    Example: `streamdex plan --all --set jina.price_per_million_tokens=0.02`
    """
    settings = settings_from(config_file, overrides)
    examine(settings)  # an estimate for what cannot run would mislead
    found = asyncio.run(_plan(settings, sample, everything=everything))
    if as_json:
        typer.echo(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(_table(found))


async def _plan(settings: Settings, most_records: int, *, everything: bool) -> Estimate:
    async with TopicReader(settings.kafka) as reader:
        ranges = await reader.ranges(settings.kafka.topics)
        if not everything:
            committed = await reader.committed(ranges)
            ranges = {at: (max(begin, committed.get(at, begin)), end) for at, (begin, end) in ranges.items()}
        sample = await sample_topics(settings, reader, ranges, most_records)
        backlog = sum(max(0, end - begin) for begin, end in ranges.values())
    return estimate(settings, sample, backlog)


def _table(found: Estimate) -> Table:
    table = Table("what", "how much", title=f"A backlog of {found.records:,} records, from {found.sampled:,} of them")
    table.add_row("chunks", f"{found.chunks:,}")
    table.add_row("tokens", f"{found.tokens:,}, by estimate")
    table.add_row("requests", f"{found.requests:,}")
    table.add_row("time", f"{found.minutes:,.1f} minutes, bound by the {found.bound_by} per minute")
    if found.cost is not None:
        table.add_row("cost", f"{found.cost:,.2f}")
    return table
