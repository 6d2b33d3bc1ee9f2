"""`streamdex explain`: one document as it is in the collection, and what an event would do to it."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamdex.cli.options import (
    ConfigOption,
    JsonOption,
    SetOption,
    checked_id,
    parse_place,
    print_json,
    settings_from,
    time_text,
)
from streamdex.config import Settings
from streamdex.errors import ConfigurationError
from streamdex.model import Manifest, Rank
from streamdex.operations.explain import ChunkState, Explanation, Forecast, Supposed, explain_document
from streamdex.operations.record import ExplainedRecord, explain_record
from streamdex.operations.verify import place_of

AS_IF = "as if it were the topic's next record"
SHOWN_CHARACTERS = 240


def explain(  # noqa: PLR0913, PLR0917 - one for each option
    document: Annotated[
        str | None, typer.Argument(metavar="DOC", help="The document's id.", show_default=False)
    ] = None,
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    event: Annotated[
        str | None,
        typer.Option(
            "--event",
            metavar="FILE",
            help="Say what this event would do. - reads stdin; an empty file is a null value.",
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="The record key that goes with --event; DOC when it is left out.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="NAME=VALUE", help="A header that goes with --event; may be repeated."),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option("--record", metavar="PLACE", help="In place of DOC: what the worker makes of the record there."),
    ] = None,
    show_text: Annotated[bool, typer.Option("--text", help="Show the chunks' texts.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Explain one document: its manifest, its chunks, where its last event is in Kafka, and whether all of that agrees.

    With --event it says which outcome a record with that value would have if it came next, which chunks would be
    embedded, and about how many tokens that takes. Nothing is written, nothing is embedded, Kafka is not asked.

    With --record, such as 'articles[3]@42', it reads that record and says step by step what it means: its format, its
    document, and the outcome or the reason. Its text is not shown.

    Example: `echo '{"id": "guide-1", "text": "Rotate keys monthly."}' | streamdex explain guide-1 --event -`
    """
    settings = settings_from(config_file, overrides)
    if record is not None:
        _explain_record(settings, document, record, as_json=as_json)
        return
    if document is None:
        raise ConfigurationError("no document is named", "DOC", "Give its id, or a record with --record.")
    supposed = _supposed(event, key, header or ())
    explained = asyncio.run(explain_document(settings, checked_id(document), supposed))
    if as_json:
        print_json(_as_json(explained, show_text))
    else:
        _show(Console(), explained, show_text)


def _explain_record(settings: Settings, document: str | None, place: str, *, as_json: bool) -> None:
    if document is not None:
        raise ConfigurationError("both a document and a record are named", "--record", "Give one of them.")
    found = asyncio.run(explain_record(settings, *parse_place(place, "--record")))
    if as_json:
        print_json(asdict(found))
        return
    console = Console()
    for name, text in _steps(found).items():
        console.print(Text(f"{name:10}", style="bold") + Text(text))


def _steps(found: ExplainedRecord) -> dict[str, str]:
    """What the worker sees, a line each."""
    sizes = [
        f"{name} null" if size is None else f"{name} of {size:,} bytes"
        for name, size in (("key", found.key_bytes), ("value", found.value_bytes))
    ]
    steps = {
        "record": f"{found.place}, {time_text(found.timestamp_ms)}, {', '.join(sizes)}",
        "headers": ", ".join(map(repr, found.headers)) or "none",
        "format": found.format,
        "document": "none" if found.document_id is None else repr(found.document_id),
        "key": "names no document" if found.key_names is None else f"names {found.key_names!r}",
        "version": "none" if found.version is None else f"{found.version}",
    }
    match found.meaning:
        case "upsert":
            means = f"{found.chunks:,} chunks of about {found.tokens:,} tokens, {found.metadata_fields} metadata fields"
        case "delete":
            means = "the document is deleted"
        case "ignored":
            means = found.why
        case _:
            means = f"{found.reason}: {found.why}"
    return {**steps, "meaning": f"{found.meaning}: {means}"}


def _supposed(event: str | None, key: str | None, headers: Sequence[str]) -> Supposed | None:
    if event is None:
        if key is None and not headers:
            return None
        raise ConfigurationError("--key and --header go with an event", "--event", "Give its file, or - for stdin.")
    pairs = [header.partition("=") for header in headers]
    if not all(mark for _, mark, _ in pairs):
        raise ConfigurationError("a header has no value", "--header", "Write NAME=VALUE.")
    named = tuple((name, value.encode(errors="surrogateescape")) for name, _, value in pairs)
    return Supposed(_read_event(event) or None, None if key is None else key.encode(errors="surrogateescape"), named)


def _read_event(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        what = f"the event's file cannot be read: {error.strerror}"
        raise ConfigurationError(what, "--event", "Give a file that can be read, or - for stdin.") from None


def _as_json(explained: Explanation, show_text: bool) -> dict[str, Any]:
    return {
        "document_id": explained.document_id,
        "manifest": None if explained.manifest is None else _manifest_as_json(explained.manifest, explained.same_cut),
        "chunks": [_chunk_as_json(chunk, show_text) for chunk in explained.chunks],
        "extra_points": [{"id": point.id, "rank": _rank(point.rank)} for point in explained.extra],
        "consistent": not explained.differences,
        "differences": {kind.name.lower(): count for kind, count in Counter(explained.differences).items()},
        "event": None if explained.forecast is None else _forecast_as_json(explained.forecast, show_text),
    }


def _manifest_as_json(manifest: Manifest, same_cut: bool) -> dict[str, Any]:
    position = manifest.position
    return {
        "rank": _rank(manifest.rank),
        "topic": position.topic,
        "partition": position.partition,
        "epoch": position.epoch,
        "offset": position.offset,
        "time": time_text(position.timestamp_ms),
        "generation": manifest.generation,
        "cut_by_these_settings": same_cut,
        "content_hash": manifest.content_hash,
        "tombstone_until": None if manifest.tombstone_until_ms is None else time_text(manifest.tombstone_until_ms),
    }


def _chunk_as_json(chunk: ChunkState, show_text: bool) -> dict[str, Any]:
    point = chunk.point
    whole: dict[str, Any] = {"place": chunk.place, "id": chunk.id, "there": point is not None}
    if point is not None:
        whole |= {"vector": chunk.has_vector, "rank": _rank(point.rank), "indexed_at": point.indexed_at}
        whole |= {"text": point.text} if show_text else {}
    return whole


def _forecast_as_json(forecast: Forecast, show_text: bool) -> dict[str, Any]:
    return {
        "as_if": AS_IF,
        "outcome": forecast.outcome.value,
        "reason": forecast.reason or None,
        "message": forecast.fault or None,
        "estimated_tokens_to_embed": forecast.tokens_to_embed,
        "chunks": [
            {"place": chunk.place, "id": chunk.id, "embedded": chunk.embedded, "estimated_tokens": chunk.tokens}
            | ({"text": chunk.text} if show_text else {})
            for chunk in forecast.chunks
        ],
    }


def _rank(rank: Rank) -> dict[str, int]:
    return {"version": rank.version} | ({"sequence": rank.sequence} if rank.sequence else {})


def _show(console: Console, explained: Explanation, show_text: bool) -> None:
    console.print(Text(explained.document_id, style="bold"))
    if explained.manifest is None:
        console.print("The collection has no manifest of it: it was never indexed, or deleted long ago.")
    else:
        _show_manifest(console, explained.manifest, explained.same_cut)
    if explained.chunks:
        console.print(_chunks_table(explained.chunks, show_text))
    for point in explained.extra:
        console.print(Text(f"not listed: point {point.id} at rank {_rank_text(point.rank)}", style="yellow"))
    if explained.differences:
        counted = ", ".join(f"{kind.value} ({count})" for kind, count in Counter(explained.differences).items())
        console.print(Text(f"Inconsistent: {counted}. An update may be under way; else verify --repair.", style="red"))
    elif explained.manifest is not None:
        console.print("Manifest and points [green]agree[/].")
    if explained.forecast is not None:
        _show_forecast(console, explained.forecast, show_text)


def _show_manifest(console: Console, manifest: Manifest, same_cut: bool) -> None:
    position = manifest.position
    epoch = f", epoch {position.epoch}" if position.epoch else ""
    cut = "" if same_cut else ", not cut by these settings"
    lines = {
        "last event": f"{place_of(position)}{epoch}, {time_text(position.timestamp_ms)}",
        "rank": _rank_text(manifest.rank),
        "generation": f"{manifest.generation}{cut}",
        "content hash": manifest.content_hash or "none",
    }
    if manifest.tombstone_until_ms is not None:
        lines["deleted"] = f"remembered until {time_text(manifest.tombstone_until_ms)}"
    for name, value in lines.items():
        console.print(Text(f"  {name:13}{value}"))


def _chunks_table(chunks: tuple[ChunkState, ...], show_text: bool) -> Table:
    table = Table("chunk", "id", "point", "rank", *(["text"] if show_text else []))
    for chunk in chunks:
        point = chunk.point
        there = "missing" if point is None else "there" if chunk.has_vector else "without vector"
        cells = [str(chunk.place), chunk.id, there, "" if point is None else _rank_text(point.rank)]
        if show_text:
            cells.append("" if point is None else _shortened(point.text))
        table.add_row(*map(Text, cells))
    return table


def _show_forecast(console: Console, forecast: Forecast, show_text: bool) -> None:
    outcome = forecast.outcome.value.replace("_", " ")
    why = f": {forecast.reason}, {forecast.fault}" if forecast.fault else ""
    console.print(Text(f"The event, {AS_IF}, would be {outcome}{why}."))
    embedded = [chunk for chunk in forecast.chunks if chunk.embedded]
    if forecast.chunks:
        console.print(
            f"{len(embedded):,} of its {len(forecast.chunks):,} chunks would be embedded, "
            f"about {forecast.tokens_to_embed:,} tokens."
        )
    for chunk in embedded:
        text = f"  {_shortened(chunk.text)}" if show_text else ""
        console.print(Text(f"  chunk {chunk.place}  {chunk.id}  about {chunk.tokens:,} tokens{text}"))


def _rank_text(rank: Rank) -> str:
    return f"{rank.version}/{rank.sequence}" if rank.sequence else str(rank.version)


def _shortened(text: str) -> str:
    return " ".join(text.split())[:SHOWN_CHARACTERS]
