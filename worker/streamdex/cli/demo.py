"""`streamdex demo`: real documents through the whole worker in one process, and a comparison at the end."""

import asyncio
import secrets
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamdex.cli.demo_run import DemoRun
from streamdex.cli.options import ConfigOption, JsonOption, SetOption, print_json, settings_from
from streamdex.cli.progress import ProgressBars
from streamdex.config import Settings, with_section
from streamdex.errors import ExitCode
from streamdex.index import Hit
from streamdex.model import Outcome
from streamdex.operations.search import search_collection
from streamdex.operations.verify import Report
from streamdex.standins.local import LocalServices, start_local_services
from streamdex.telemetry import configure_logging

QUERY = "parse a JSON document into a Python object"


class _Result(NamedTuple):
    """How the demo ended."""

    documents: int
    outcomes: dict[str, int]
    report: Report
    hits: list[Hit]
    embedded: dict[str, bool]


def demo(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    documents: Annotated[int, typer.Option(min=200, max=1700, help="How many documents.")] = 1500,
    as_json: JsonOption = False,
) -> None:
    """Index the documentation of the Python standard library, in one process that needs nothing else.

    The demo writes documents, changes and deletes some, delivers all of them again and adds records that cannot be
    indexed. At the end it compares the collection with an independent fold of the topic, and asks a question.
    KAFKA_BOOTSTRAP_SERVERS, JINA_API_KEY and QDRANT_URL in the environment each put the real service in place of its
    stand-in.

    Example: `streamdex demo --json | jq .outcomes`
    """
    settings = settings_from(config_file, overrides)
    configure_logging(settings.worker.log_format, "error")
    console = Console(stderr=True, quiet=as_json)
    result = asyncio.run(_demo(settings, documents, console))
    if as_json:
        print_json(_as_json(result))
    else:
        _show(Console(), result)
    if not result.report.equal:
        raise typer.Exit(ExitCode.CRASHED)


async def _demo(settings: Settings, documents: int, console: Console) -> _Result:
    name = f"streamdex-demo-{secrets.token_hex(4)}"  # unique, so that nothing real is touched
    settings = with_section(settings, "kafka", topics=(name,), group_id=name)
    settings = with_section(settings, "qdrant", collection=name)
    console.print("[bold]streamdex demo[/]: from Kafka through embeddings to Qdrant")
    async with start_local_services(settings) as stage:
        _introduce(console, stage)
        with ProgressBars(quiet=console.quiet, width=44) as progress:
            demo_run = DemoRun(stage, documents, progress)
            outcomes = await demo_run.run()
            report = await demo_run.verify()
        hits = await search_collection(stage.settings, QUERY, limit=3)
    counted = {outcome.value: outcomes[outcome] for outcome in Outcome}
    return _Result(documents, counted, report, hits, dict(stage.embedded))


def _introduce(console: Console, stage: LocalServices) -> None:
    parts = {
        "kafka": "librdkafka's mock cluster",
        "jina": "a stand-in whose vectors are lexical: words, not meaning",
        "qdrant": "Qdrant's own engine, without the server around it",
    }
    for section, stand_in in parts.items():
        real = "[green]real[/], from the environment"
        console.print(f"  {section:7} {f'embedded: {stand_in}' if stage.embedded[section] else real}")


def _as_json(result: _Result) -> dict[str, Any]:
    hits = [{"document_id": hit.document_id, "score": hit.score, "text": hit.text} for hit in result.hits]
    return {
        "documents": result.documents,
        "outcomes": result.outcomes,
        "points": result.report.points,
        "fold_equal": result.report.equal,
        "search": {"query": QUERY, "hits": hits},
        "embedded": result.embedded,
    }


def _show(console: Console, result: _Result) -> None:
    report = result.report
    table = Table("outcome", "records", title="Every record ended in exactly one outcome")
    for outcome, count in result.outcomes.items():
        table.add_row(outcome.replace("_", " "), f"{count:,}")
    console.print(table)
    equals = "[green]equals[/]" if report.equal else "[red]differs from[/]"
    console.print(f"The collection of {report.points:,} points {equals} an independent fold of the topic.")
    for kind, count in report.counts.items():
        console.print(f"  {kind.value}: {count}, such as {report.examples[kind][0].place}")
    console.print(f"\nQuestion: {QUERY}")
    for hit in result.hits:
        first_line = hit.text.partition("\n\n")[2].strip().partition("\n")[0]
        console.print(f"  {hit.score:.3f}  [bold]{hit.document_id}[/]  {escape(first_line)}")
