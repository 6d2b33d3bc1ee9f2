"""`streamdex reindex`: a new collection from the log, and the switch to it."""

import asyncio
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamdex.cli.bars import Bars
from streamdex.cli.options import ConfigOption, JsonOption, SetOption, settings_from
from streamdex.cli.signals import stopped_by_signals
from streamdex.config import Settings
from streamdex.errors import ExitCode
from streamdex.operations.reindex.reindex import Reindexed, Reindexing, Wishes
from streamdex.telemetry import configure_logging


def reindex(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    share: Annotated[float, typer.Option(min=0.001, max=1.0, help="Which part of the settings' limits to use.")] = 0.5,
    switch: Annotated[bool, typer.Option(help="Let the alias lead to the new collection at the end.")] = True,
    accept_missing: Annotated[
        bool, typer.Option("--accept-missing", help="Switch also when the new collection lacks documents.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin another one, whatever is there or was begun. Leave it out to go on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fill a new collection from the beginning of the log with other settings, and let qdrant.collection lead to it.

    For another model, other dimensions, another distance or order. Give the new settings. qdrant.collection is an
    alias, so its next collection (articles__2 after articles__1) is filled beside it, in a consumer group of its own
    (streamdex__2), while the old workers go on with the old one. When it has every document of the old one, the alias
    is switched in one step. Then start the workers with the new settings: they catch up on what came since. Searches
    need query vectors of the new model from the moment of the switch; with --no-switch it is filled and compared, and
    the same command without it comes to that moment later, in little time.

    Every text is embedded again: streamdex plan --all tells what that takes. It uses a share of the key's limits; give
    the old workers the rest of them meanwhile. SIGTERM or SIGINT stops it, and the same command goes on from there,
    without paying for anything twice. Several may run at once and share the work. What kafka.auto_offset_reset=latest
    once skipped is indexed too, and what is a dead letter again is sent once more.

    Exit codes: 0 filled, and switched unless --no-switch; 1 not switched, since documents are missing, or a service
    fails; 2 configuration; 3 stopped before the end.

    Example: `streamdex reindex --config streamdex.toml --set jina.dimensions=256`
    """
    settings = settings_from(config_file, overrides)
    configure_logging(settings.worker.log_format, "warning")
    wishes = Wishes(share, anew, switch, accept_missing)
    try:
        with Bars(quiet=as_json) as bars:
            done = asyncio.run(_reindex(settings, wishes, bars))
    except asyncio.CancelledError:
        typer.echo("Stopped before there was a worker: nothing was embedded.", err=True)
        raise typer.Exit(ExitCode.DRAIN_INCOMPLETE) from None
    if as_json:
        typer.echo(orjson.dumps(_as_json(done), option=orjson.OPT_INDENT_2).decode())
    else:
        _show(Console(), done, wishes)
    if done.stopped:
        raise typer.Exit(ExitCode.DRAIN_INCOMPLETE)
    if switch and not done.switched:
        raise typer.Exit(ExitCode.CRASHED)


async def _reindex(settings: Settings, wishes: Wishes, bars: Bars) -> Reindexed:
    reindexing = Reindexing(settings, wishes, bars)
    with stopped_by_signals(reindexing.stop):
        return await reindexing.run()


def _as_json(done: Reindexed) -> dict[str, Any]:
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
            gap.name.lower(): {"count": count, "examples": [{"document_id": key[2:]} for key in done.examples[gap]]}
            for gap, count in done.missing.items()
        },
    }


def _show(console: Console, done: Reindexed, wishes: Wishes) -> None:
    alias, predecessor, successor, *_ = done.alias_switch
    the_same = "The same command without --anew" if wishes.anew else "The same command"
    if done.stopped:
        console.print(f"Stopped: {alias} still leads to {predecessor}. {the_same} goes on from where it was.")
        return
    missing = sum(done.missing.values())
    console.print(
        f"{successor} is filled. {predecessor} has {done.compared:,} documents, of which it lacks {missing:,}."
    )
    if missing:
        _show_missing(console, done)
    if done.switched:
        console.print(f"{alias} leads to {successor} [green]now[/]. Start the workers with these settings.")
        console.print(
            f"{predecessor} and {predecessor}__manifests are kept; when nobody needs them any more, delete them in "
            f"Qdrant, and the group {done.group} in Kafka."
        )
    elif missing and not wishes.accept_missing:
        console.print(
            f"{alias} [red]still leads[/] to {predecessor}. {the_same} goes on when that is mended; --accept-missing "
            "switches all the same."
        )
    else:
        console.print(f"{alias} still leads to {predecessor}. {the_same}, and without --no-switch, switches.")


def _show_missing(console: Console, done: Reindexed) -> None:
    table = Table("count", "why", "such as", title="Documents that are missing")
    for gap, count in done.missing.items():
        examples = "\n".join(key[2:] for key in done.examples[gap])
        table.add_row(f"{count:,}", Text(gap.value), Text(examples))  # ids are no markup
    console.print(table)
