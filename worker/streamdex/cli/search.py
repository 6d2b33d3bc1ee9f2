"""`streamdex search`: the chunks nearest to a question."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from streamdex.cli.options import ConfigOption, JsonOption, SetOption, print_json, settings_from
from streamdex.errors import ConfigurationError
from streamdex.operations.search import search_collection
from streamdex.telemetry import configure_logging

SHOWN_CHARACTERS = 240


def search(
    question: Annotated[str, typer.Argument(help="What to search for.", show_default=False)],
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many chunks.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Search the collection. The question is embedded with the query task that belongs to the documents' task.

    Example: `streamdex search "how often do I rotate keys?" --limit 3`
    """
    configure_logging("auto", "error")
    settings = settings_from(config_file, overrides)
    if not question.strip():
        raise ConfigurationError("the question is empty", "TEXT", "Write what to search for, in quotes.")
    hits = asyncio.run(search_collection(settings, question, limit))
    if as_json:
        found = [
            {
                "document_id": hit.document_id,
                "score": hit.score,
                "chunk": hit.place,
                "text": hit.text,
                "metadata": hit.metadata,
            }
            for hit in hits
        ]
        print_json(found)
        return
    console = Console()
    for hit in hits:
        console.print(Text(f"{hit.score:.3f}  {hit.document_id}  (chunk {hit.place})", style="bold"))
        console.print(Text(" ".join(hit.text.split())[:SHOWN_CHARACTERS]))
    if not hits:
        console.print("Nothing found: the collection is empty.")
