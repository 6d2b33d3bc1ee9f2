"""`streamdex estimate`: what a backlog will take, before it is paid for."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streamdex.cli.options import ConfigOption, JsonOption, SetOption, print_json, settings_from
from streamdex.cli.progress import ProgressBars
from streamdex.config import Settings
from streamdex.embed import Profile
from streamdex.kafka.topic_reader import TopicReader
from streamdex.operations.estimate import Estimate, sample_topics
from streamdex.operations.estimate import estimate as estimate_backlog
from streamdex.run.pipeline import examine
from streamdex.telemetry import configure_logging


def estimate(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    sample: Annotated[int, typer.Option(min=10, max=1_000_000, help="How many records to look at.")] = 2_000,
    everything: Annotated[
        bool, typer.Option("--all", help="The whole topic, not only what the group has left.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Estimate tokens, requests, duration and cost of what the group has not indexed yet, from a sample.

    This is an upper bound: text that the collection has already, and an update that a newer one replaces, cost nothing.
    Tokens are estimated from the script of the text, for prose within about 15 %. Set chunk.tokenizer to the model's
    own tokenizer for a closer number. The cost is shown when jina.price_per_million_tokens is set.

    Exit codes: 0 estimated, also when nothing waits; 1 the brokers fail; 2 configuration.

    Example: `streamdex estimate --all --set jina.price_per_million_tokens=0.02`
    """
    settings = settings_from(config_file, overrides)
    profile, _ = examine(settings)  # an estimate for settings that cannot run would mislead
    configure_logging(settings.worker.log_format, "warning")
    with ProgressBars(quiet=as_json) as progress:
        found = asyncio.run(_estimate(settings, profile, sample, progress, everything=everything))
    if as_json:
        print_json(asdict(found))
    elif not found.records:
        typer.echo("Nothing waits: the topic is empty." if everything else "Nothing waits for the group.")
    else:
        Console().print(_table(found))


async def _estimate(
    settings: Settings, profile: Profile, most_records: int, progress: ProgressBars, *, everything: bool
) -> Estimate:
    async with TopicReader(settings.kafka) as reader:
        ranges = await reader.ranges(settings.kafka.topics)
        if not everything:
            committed = await reader.committed(ranges)
            ranges = {at: (max(begin, committed.get(at, begin)), end) for at, (begin, end) in ranges.items()}
        backlog = sum(max(0, end - begin) for begin, end in ranges.values())
        look_at = min(backlog, most_records)
        sample, meanings = await sample_topics(
            settings, reader, ranges, most_records, lambda: progress("look at records", 1, look_at)
        )
    return estimate_backlog(settings, profile, sample, backlog, meanings.unread)


def _table(found: Estimate) -> Table:
    table = Table("what", "how much", title=f"A backlog of {found.records:,} records, from {found.sampled:,} of them")
    table.add_row("chunks", f"{found.chunks:,}")
    table.add_row("tokens", f"{found.tokens:,}, by estimate")
    table.add_row("requests", f"{found.requests:,}")
    table.add_row("time", f"{found.minutes:,.1f} minutes, bound by the {found.bound_by} per minute")
    for one in found.unread:
        table.add_row("dead letters", f"{one.records:,} of the sample, {one.reason.value}: {one.message} ({one.place})")
    if found.cost is not None:
        table.add_row("cost", f"{found.cost:,.2f}")
    return table
