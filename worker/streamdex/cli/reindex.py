"""`streamdex reindex`: a new collection from the log, and the switch to it."""

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamdex.cli.options import ConfigOption, JsonOption, SetOption, print_json, settings_from
from streamdex.cli.progress import ProgressBars
from streamdex.cli.signals import stopped_by_signals
from streamdex.config import Settings
from streamdex.errors import ExitCode
from streamdex.operations.reindex import Reindexing, ReindexOptions, ReindexResult
from streamdex.telemetry import configure_logging


def reindex(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    share: Annotated[float, typer.Option(min=0.001, max=1.0, help="Which part of the limits to use.")] = 0.5,
    switch: Annotated[bool, typer.Option(help="At the end, switch the alias to the new collection.")] = True,
    accept_missing: Annotated[
        bool, typer.Option("--accept-missing", help="Switch even if documents are missing from the new collection.")
    ] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Begin another collection, even if one was begun.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fill a new collection from the beginning of the log with other settings, and switch qdrant.collection to it.

    Use it for another model, other dimensions, another distance or order, and give it the new settings.
    qdrant.collection is an alias. Its next collection (articles__2 after articles__1) is filled in a consumer group of
    its own (streamdex__2) while the old workers go on with the old one. When the new collection has every document of
    the old one, the alias is switched in one step. Then start the workers with the new settings: they catch up on what
    came since. From the switch on, searches need query vectors of the new model. To choose that moment, run it with
    --no-switch first, which fills and compares; the same command without --no-switch then switches soon.

    Every text is embedded again: streamdex estimate --all says what that takes. It uses --share of the key's limits;
    give the old workers the rest meanwhile. SIGTERM or SIGINT stops it, and the same command goes on from there,
    without paying for anything twice. Several may run at once and share the work. Records that
    kafka.auto_offset_reset=latest once skipped are indexed too. A record that still cannot be indexed is sent to the
    dead-letter topic once more.

    Exit codes: 0 filled, and switched unless --no-switch; 1 not switched, since documents are missing, or a service
    fails; 2 configuration; 3 stopped before the end.

    Example: `streamdex reindex --config streamdex.toml --set jina.dimensions=256`
    """
    settings = settings_from(config_file, overrides)
    configure_logging(settings.worker.log_format, "warning")
    options = ReindexOptions(share, from_scratch, switch, accept_missing)
    try:
        with ProgressBars(quiet=as_json) as progress:
            done = asyncio.run(_reindex(settings, options, progress))
    except asyncio.CancelledError:
        typer.echo("Stopped before a worker was started: nothing was embedded.", err=True)
        raise typer.Exit(ExitCode.DRAIN_INCOMPLETE) from None
    if as_json:
        print_json(_as_json(done))
    else:
        _show(Console(), done, options)
    if done.stopped:
        raise typer.Exit(ExitCode.DRAIN_INCOMPLETE)
    if switch and not done.switched:
        raise typer.Exit(ExitCode.CRASHED)


async def _reindex(settings: Settings, options: ReindexOptions, progress: ProgressBars) -> ReindexResult:
    reindexing = Reindexing(settings, options, progress)
    with stopped_by_signals(reindexing.stop):
        return await reindexing.run()


def _as_json(done: ReindexResult) -> dict[str, Any]:
    return {
        "alias": done.alias_switch.alias,
        "predecessor": done.alias_switch.predecessor,
        "successor": done.alias_switch.successor,
        "group": done.group,
        "stopped": done.stopped,
        "filled": done.filled,
        "switched": done.switched,
        "compared": done.compared,
        "missing": {
            gap.name.lower(): {"count": count, "examples": [{"document_id": key} for key in done.examples[gap]]}
            for gap, count in done.missing.items()
        },
    }


def _show(console: Console, done: ReindexResult, options: ReindexOptions) -> None:
    alias, predecessor, successor, *_ = done.alias_switch
    the_same = "The same command without --from-scratch" if options.from_scratch else "The same command"
    if done.stopped:
        console.print(f"Stopped: {alias} still leads to {predecessor}. {the_same} goes on from where it was.")
        return
    missing = sum(done.missing.values())
    console.print(
        f"{successor} is filled. {predecessor} has {done.compared:,} documents; {missing:,} of them are missing."
    )
    if missing:
        _show_missing(console, done)
    if done.switched:
        console.print(f"{alias} leads to {successor} [green]now[/]. Start the workers with these settings.")
        console.print(
            f"{predecessor} and {predecessor}__manifests are kept; when nobody needs them any more, delete them in "
            f"Qdrant, and the group {done.group} in Kafka."
        )
    elif missing and not options.accept_missing:
        console.print(
            f"{alias} [red]still leads[/] to {predecessor}. {the_same} goes on when that is fixed; --accept-missing "
            "switches all the same."
        )
    else:
        console.print(f"{alias} still leads to {predecessor}. {the_same}, and without --no-switch, switches.")


def _show_missing(console: Console, done: ReindexResult) -> None:
    table = Table("count", "why", "such as", title="Documents that are missing")
    for gap, count in done.missing.items():
        examples = "\n".join(done.examples[gap])
        table.add_row(f"{count:,}", Text(gap.value), Text(examples))  # ids are no markup
    console.print(table)
