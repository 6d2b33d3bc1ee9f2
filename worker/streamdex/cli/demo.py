"""`streamdex demo`: real documents through the whole worker in one process, and a comparison at the end."""

import asyncio
import secrets
from dataclasses import asdict, dataclass
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamdex.cli.demo_run import DemoRun
from streamdex.cli.options import ConfigOption, JsonOption, SetOption, settings_from
from streamdex.config import Settings, with_section
from streamdex.errors import ExitCode
from streamdex.model import Outcome
from streamdex.operations.search import search_collection
from streamdex.operations.verify import Report
from streamdex.standins.stage import Stage, stage_for
from streamdex.telemetry import configure_logging

QUERY = "parse a JSON document into a Python object"


@dataclass(frozen=True, slots=True)
class _Hit:
    document_id: str
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class _Search:
    query: str
    hits: list[_Hit]


@dataclass(frozen=True, slots=True)
class _Result:
    """How the demo ended; `--json` prints it as it is."""

    documents: int
    outcomes: dict[str, int]
    points: int
    fold_equal: bool
    search: _Search
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
    result, report = asyncio.run(_demo(settings, documents, console))
    if as_json:
        typer.echo(orjson.dumps(asdict(result), option=orjson.OPT_INDENT_2).decode())
    else:
        _show(Console(), result, report)
    if not result.fold_equal:
        raise typer.Exit(ExitCode.CRASHED)


async def _demo(settings: Settings, documents: int, console: Console) -> tuple[_Result, Report]:
    name = f"streamdex-demo-{secrets.token_hex(4)}"  # unique, so that nothing real is touched
    settings = with_section(settings, "kafka", topics=(name,), group_id=name)
    settings = with_section(settings, "qdrant", collection=name)
    console.print("[bold]streamdex demo[/]: from Kafka through embeddings to Qdrant")
    async with stage_for(settings) as stage:
        _introduce(console, stage)
        with _progress(console) as progress:
            demo_run = DemoRun(stage, documents, progress)
            outcomes = await demo_run.run()
            report = await demo_run.verify()
        hits = await search_collection(stage.settings, QUERY, limit=3)
    search = _Search(QUERY, [_Hit(hit.document_key[2:], hit.score, hit.text) for hit in hits])
    counted = {outcome.value: outcomes[outcome] for outcome in Outcome}
    return _Result(documents, counted, report.points, report.equal, search, dict(stage.embedded)), report


def _introduce(console: Console, stage: Stage) -> None:
    parts = {
        "kafka": "librdkafka's mock cluster",
        "jina": "a stand-in whose vectors are lexical: words, not meaning",
        "qdrant": "Qdrant's own engine, without the server around it",
    }
    for section, stand_in in parts.items():
        real = "[green]real[/], from the environment"
        console.print(f"  {section:7} {f'embedded: {stand_in}' if stage.embedded[section] else real}")


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:44}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _show(console: Console, result: _Result, report: Report) -> None:
    table = Table("outcome", "records", title="Every record ended in exactly one outcome")
    for outcome, count in result.outcomes.items():
        table.add_row(outcome.replace("_", " "), f"{count:,}")
    console.print(table)
    verify = "[green]equals[/]" if result.fold_equal else "[red]differs from[/]"
    console.print(f"The collection of {result.points:,} points {verify} an independent fold of the topic.")
    for kind, count in report.counts.items():
        console.print(f"  {kind.value}: {count}, such as {report.examples[kind][0].place}")
    console.print(f"\nQuestion: {result.search.query}")
    for hit in result.search.hits:
        first_line = hit.text.partition("\n\n")[2].strip().partition("\n")[0]
        console.print(f"  {hit.score:.3f}  [bold]{hit.document_id}[/]  {escape(first_line)}")
