"""`streamdex verify`: is the collection the fold of the topic? `--repair` makes it so."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamdex.cli.options import ConfigOption, JsonOption, SetOption, print_json, settings_from
from streamdex.cli.progress import ProgressBars
from streamdex.cli.temporary_folder import temporary_folder
from streamdex.config import Settings
from streamdex.errors import ExitCode
from streamdex.operations.verify import (
    MEANINGS,
    Difference,
    Repaired,
    RepairResult,
    Report,
    repair_collection,
    verify_collection,
)
from streamdex.telemetry import configure_logging


def verify(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what differs, then verify again.")] = False,
    to_end: Annotated[
        bool, typer.Option("--to-end", help="Also expect what no worker has settled yet, up to the end of the log.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fold the topic and compare the result with the collection: every document, its manifest and its points.

    A worker may run meanwhile. Only what is settled is compared: the fold ends at the workers' progress, and a document
    that seems to differ is read once more before it is reported. A document whose events the log no longer holds cannot
    be verified; it is counted as such and never repaired. An event counts as dead-lettered only when it is in the
    dead-letter topic. What the command knows is kept in the temporary folder (TMPDIR), up to 1 KB for each document and
    chunk.

    --repair writes with the worker's guards, at each event's own rank, so it cannot overwrite anything newer. It embeds
    what has no vector, deletes what the log does not ask for, and sends dead letters for events that cannot be indexed.
    Give it the settings of the worker. It does not share the key's limits with workers that embed at the same time, so
    give it a part of them, as with --set jina.requests_per_minute=50.

    Exit codes: 0 equal, 1 different (with --repair: still different), 2 configuration.

    Example: `streamdex verify --config streamdex.toml && echo equal`
    """
    settings = settings_from(config_file, overrides)
    configure_logging(settings.worker.log_format, "warning")
    with temporary_folder("verify") as folder, ProgressBars(quiet=as_json) as progress:
        result = asyncio.run(_run(settings, folder, progress, repair=repair, to_end=to_end))
    if as_json:
        print_json(_as_json(result))
    else:
        _show(Console(), result)
    if not result.after.equal:
        raise typer.Exit(ExitCode.CRASHED)


async def _run(settings: Settings, folder: Path, progress: ProgressBars, *, repair: bool, to_end: bool) -> RepairResult:
    if repair:
        return await repair_collection(settings, folder, progress, to_end=to_end)
    report = await verify_collection(settings, folder, progress, to_end=to_end)
    return RepairResult(report, None, report)


def _as_json(result: RepairResult) -> dict[str, Any]:
    whole = _report_as_json(result.after)
    if result.repaired is not None:
        done = result.repaired
        whole["repair"] = {
            "before": _report_as_json(result.before),
            "written": done.written,
            "deleted": done.deleted,
            "leftovers_deleted": done.leftovers_deleted,
            "texts_embedded": done.texts_embedded,
            "dead_lettered": done.dead_lettered,
        }
    return whole


def _report_as_json(report: Report) -> dict[str, Any]:
    return {
        "equal": report.equal,
        "records": report.records,
        "dead_letters": report.dead_letters,
        "documents": report.documents,
        "points": report.points,
        "unverifiable": report.unverifiable,
        "after_cut_off": report.after_cut_off,
        "unsettled": report.unsettled,
        "foreign_points": report.foreign,
        "not_repairable": report.not_repairable,
        "differences": {
            kind.name.lower(): {
                "count": count,
                "examples": [{"document_id": one.document_id, "place": one.place} for one in report.examples[kind]],
            }
            for kind, count in report.counts.items()
        },
    }


def _show(console: Console, result: RepairResult) -> None:
    if result.repaired is not None and not result.before.equal:
        _show_differences(console, result.before, "Differences before the repair")
        _show_repair(console, result.repaired)
    report = result.after
    console.print(
        f"Compared {report.documents:,} documents and {report.points:,} points with {report.records:,} records "
        f"and {report.dead_letters:,} dead letters."
    )
    for line in _remarks(report):
        console.print(line)
    if report.equal:
        console.print("The collection [green]equals[/] the fold of the topic.")
        return
    _show_differences(console, report, "Differences")
    if report.not_repairable:
        console.print(
            f"{report.not_repairable:,} of them cannot be repaired from what was folded: where the log no longer holds "
            "a document's events, produce the document again."
        )
    console.print("The collection [red]differs[/] from the fold of the topic.")


def _remarks(report: Report) -> list[str]:
    remarks = {
        "{:,} documents are unverifiable: the log no longer holds their events.": report.unverifiable,
        "{:,} documents were written from events after the cut-off: only their points were compared.": (
            report.after_cut_off
        ),
        "{:,} records at the end of the log are not settled yet: a worker is behind, or none runs.": report.unsettled,
        "{:,} points are not streamdex's: left alone.": report.foreign,
    }
    return [text.format(count) for text, count in remarks.items() if count]


def _show_differences(console: Console, report: Report, title: str) -> None:
    table = Table("difference", "count", "what it means", "such as", title=title)
    for kind, count in report.counts.most_common():
        examples = "\n".join(_example(one) for one in report.examples[kind])
        table.add_row(kind.value, f"{count:,}", MEANINGS[kind], Text(examples))  # ids are no markup
    console.print(table)


def _example(one: Difference) -> str:
    return f"{one.document_id}  {one.place}".strip()


def _show_repair(console: Console, done: Repaired) -> None:
    console.print(
        f"Repaired: {done.written:,} documents written again with {done.texts_embedded:,} texts embedded, "
        f"{done.deleted:,} deleted, {done.leftovers_deleted:,} freed of points that are not theirs, "
        f"{done.dead_lettered:,} dead letters sent."
    )
