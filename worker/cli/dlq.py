"""`streamdex dlq`: what lies in the dead-letter topics, one letter of it, and the way back."""

import asyncio
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.bars import Bars
from worker.cli.options import ConfigOption, JsonOption, SetOption, document_key, settings_from, time_text
from worker.config import Settings
from worker.deadletter import MOST_REPLAYS, Letter, Wanted, parse_letter
from worker.errors import ConfigurationError, Reason
from worker.model import Partition, Record
from worker.replay import LetterBox, letter_at, opened, replayable
from worker.telemetry import configure_logging
from worker.verify import Spot, place_of

_PLACE = re.compile(r"(?P<topic>[^\[\]]+)\[(?P<partition>[0-9]{1,9})\]@(?P<offset>[0-9]{1,18})", re.ASCII)

ReasonOption = Annotated[
    list[Reason] | None, typer.Option("--reason", help="Only these reasons; may be repeated.", case_sensitive=False)
]
SinceOption = Annotated[datetime | None, typer.Option("--since", help="Only what failed at this time (UTC) or later.")]
UntilOption = Annotated[datetime | None, typer.Option("--until", help="Only what failed before this time (UTC).")]
DocumentOption = Annotated[str | None, typer.Option("--document", metavar="ID", help="Only this document's.")]
IntegerOption = Annotated[bool, typer.Option("--integer", help="The document's id is an integer.")]

dlq = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look into the dead-letter topics of `kafka.topics`, and try again what lies there.",
)


@dlq.command("list")
def list_letters(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    document: DocumentOption = None,
    integer: IntegerOption = False,
    limit: Annotated[int, typer.Option(min=0, max=1_000_000, help="How many to show, the newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List dead letters by reason, and the newest of them one by one.

    A record that was replayed and failed again counts once, by its last letter. Letters stay in their topic until its
    retention ends, also when their record was replayed and indexed since: `streamdex explain` tells that.

    Exit codes: 0 listed, also when there are none; 1 the brokers fail; 2 configuration.

    Example: `streamdex dlq list --reason refused_by_embedder --since 2026-01-31`
    """
    settings = _settings(config_file, overrides)
    wanted = _wanted(reason, since, until, document, integer=integer)
    asyncio.run(_list(settings, wanted, limit, as_json=as_json))


@dlq.command("show")
def show_letter(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="Where the letter stands, as `list` prints it.", show_default=False)
    ],
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    value: Annotated[
        bool, typer.Option("--value", help="Write the record's value to stdout, and nothing else.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter: where its record came from, why it failed, and its key. Its value only with --value.

    Exit codes: 0 shown, 1 the brokers fail, 2 no letter there, or configuration.

    Example: `streamdex dlq show 'articles.dlq[3]@42' --value | jq .`
    """
    settings = _settings(config_file, overrides)
    record = asyncio.run(letter_at(settings, *_parse_place(place)))
    if record is None:
        raise ConfigurationError(f"there is no record at {place}", "PLACE", "streamdex dlq list prints the places.")
    if value:
        sys.stdout.buffer.write(record.value or b"")
    else:
        _show(record, as_json=as_json)


@dlq.command("replay")
def replay_letters(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    document: DocumentOption = None,
    integer: IntegerOption = False,
    rate: Annotated[int, typer.Option(min=1, max=10_000, help="How many a second at most.")] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be replayed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters back to the topic and partition they came from, byte for byte, for the workers to try again.

    A replayed event keeps the place in the order that it had first: what is newer in the collection is never
    overwritten, and to replay a letter twice does no harm. What fails again becomes a letter again; what came back
    three times stays where it is. Without filters all letters are replayed; mend first what made them fail.

    Exit codes: 0 replayed, also when there was nothing; 1 the brokers fail; 2 configuration.

    Example: `streamdex dlq replay --reason too_many_tokens --dry-run`
    """
    settings = _settings(config_file, overrides)
    wanted = _wanted(reason, since, until, document, integer=integer)
    if dry_run:
        asyncio.run(_list(settings, replayable(wanted), limit=20, as_json=as_json))
    else:
        asyncio.run(_replay(settings, wanted, rate, as_json=as_json))


# --- what is asked ----------------------------------------------------------------------------------------------


def _settings(config_file: Path | None, overrides: list[str] | None) -> Settings:
    settings = settings_from(config_file, overrides)
    configure_logging(settings.worker.log_format, "error")
    return settings


def _wanted(
    reasons: list[Reason] | None, since: datetime | None, until: datetime | None, document: str | None, *, integer: bool
) -> Wanted:
    return Wanted(
        reasons=tuple(reason.value for reason in reasons) if reasons else None,
        since_ms=_ms(since),
        until_ms=_ms(until),
        document=None if document is None else document_key(document, integer=integer),
    )


def _ms(when: datetime | None) -> int | None:
    return None if when is None else int(when.replace(tzinfo=UTC).timestamp() * 1000)


def _parse_place(place: str) -> tuple[Partition, int]:
    found = _PLACE.fullmatch(place)
    if found is None:
        mend = "Write it as 'topic[partition]@offset', in quotes, as streamdex dlq list prints it."
        raise ConfigurationError("the place cannot be read", "PLACE", mend)
    return Partition(found["topic"], int(found["partition"])), int(found["offset"])


# --- what is answered -------------------------------------------------------------------------------------------


async def _list(settings: Settings, wanted: Wanted, limit: int, *, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="streamdex-dlq-") as folder:
        with Bars(quiet=as_json) as bars:
            async with opened(settings, Path(folder), bars) as box:
                counts, shown = box.register.count(wanted), list(box.register.newest(wanted, limit))
        if as_json:
            typer.echo(orjson.dumps(_list_as_json(box, counts, shown), option=orjson.OPT_INDENT_2).decode())
        else:
            _print_list(Console(), box, counts, shown)


async def _replay(settings: Settings, wanted: Wanted, rate: int, *, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="streamdex-dlq-") as folder, Bars(quiet=as_json) as bars:
        async with opened(settings, Path(folder), bars) as box:
            found = sum(box.register.count(wanted).values())
            stay = found - sum(box.register.count(replayable(wanted)).values())
            sent = await box.send_back(wanted, rate, bars) if found > stay else 0
    if as_json:
        typer.echo(orjson.dumps({"replayed": sent, "stay": stay}).decode())
        return
    typer.echo(f"Replayed {sent:,} letters." if sent else "There is nothing to replay.")
    if stay:
        typer.echo(f"{stay:,} stay where they are: they came back {MOST_REPLAYS} times.")


def _list_as_json(box: LetterBox, counts: dict[str, int], shown: list[Letter]) -> dict[str, Any]:
    return {
        "letters": box.letters,
        "not_ours": box.others,
        "records": sum(counts.values()),
        "by_reason": counts,
        "shown": [_letter_as_json(letter) for letter in shown],
    }


def _letter_as_json(letter: Letter) -> dict[str, Any]:
    facts, first = letter.facts, letter.facts.position
    return {
        "place": _place(letter),
        "document_id": None if letter.document is None else letter.document[2:],
        "value_bytes": letter.size_bytes,
        "topic": first.topic,
        "partition": first.partition,
        "epoch": first.epoch,
        "offset": first.offset,
        "time": time_text(first.timestamp_ms),
        "failed_at": time_text(facts.first_failed_at_ms),
        "stage": facts.stage,
        "reason": facts.reason,
        "message": facts.message,
        "attempts": facts.attempts,
        "replays": facts.replays,
        "worker": facts.worker,
    }


def _print_list(console: Console, box: LetterBox, counts: dict[str, int], shown: list[Letter]) -> None:
    if not counts:
        console.print("There are no such letters." if box.letters else "There are no dead letters.")
    for reason, count in counts.items():
        console.print(Text(f"{count:>10,}  {reason}"))
    if shown:
        table = Table("failed at", "place", "document", "reason", "replays", "why")
        for letter in shown:
            facts = letter.facts
            document = "" if letter.document is None else letter.document[2:]
            cells = (time_text(facts.first_failed_at_ms), _place(letter), document, facts.reason, str(facts.replays))
            table.add_row(*map(Text, (*cells, facts.message)))
        console.print(table)
    if sum(counts.values()) > len(shown) > 0:
        console.print(f"The newest {len(shown):,} are shown; --limit shows more.")
    if box.others:
        console.print(f"{box.others:,} records there are no letters of these topics.")


def _show(record: Record, *, as_json: bool) -> None:
    try:
        facts = parse_letter(record)
    except ValueError as error:
        mend = "Look at it with a Kafka tool, or with --value."
        raise ConfigurationError(f"the record there cannot be read: {error}", "PLACE", mend) from None
    letter = Letter(record.topic, record.partition, record.offset, facts, None, len(record.value or b""))
    whole = _letter_as_json(letter)
    del whole["document_id"]  # `list` knows it, by the settings of the mapping
    whole["key"] = None if record.key is None else record.key.decode(errors="replace")
    if as_json:
        typer.echo(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode())
        return
    for name, value in whole.items():
        Console().print(Text(f"{name.replace('_', ' '):14}{'' if value is None else value}"))


def _place(letter: Letter) -> str:
    return place_of(Spot(letter.topic, letter.partition, letter.offset))
