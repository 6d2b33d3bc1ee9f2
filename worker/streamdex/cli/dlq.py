"""`streamdex dlq`: what lies in the dead-letter topics, one dead letter of it, and the way back."""

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from streamdex.cli.options import ConfigOption, JsonOption, SetOption, checked_id, parse_place, settings_from, time_text
from streamdex.cli.progress import ProgressBars
from streamdex.cli.temporary_folder import temporary_folder
from streamdex.config import Settings
from streamdex.deadletter import DeadLetterFacts, ListedDeadLetter, Wanted, parse_dead_letter
from streamdex.errors import ConfigurationError, ExitCode, Reason
from streamdex.model import Record
from streamdex.operations.replay import DeadLetterBox, Replayed, dead_letter_at, opened
from streamdex.operations.verify import Spot, dead_letter_topics, place_of
from streamdex.telemetry import configure_logging

ReasonOption = Annotated[
    list[Reason] | None, typer.Option("--reason", help="Only these reasons; may be repeated.", case_sensitive=False)
]
SinceOption = Annotated[datetime | None, typer.Option("--since", help="Only what failed then or later; UTC.")]
UntilOption = Annotated[datetime | None, typer.Option("--until", help="Only what failed before that; UTC.")]
DocumentOption = Annotated[
    str | None,
    typer.Option(
        "--document", metavar="ID", help="Only this document's; where the event cannot be read, by the record's key."
    ),
]

dlq = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look into the dead-letter topics of `kafka.topics`, and try again what lies there.",
)


@dlq.command("list")
def list_dead_letters(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    document: DocumentOption = None,
    limit: Annotated[int, typer.Option(min=0, max=1_000_000, help="How many to show, the newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List dead letters by reason, and the newest of them one by one.

    A record that was replayed and failed again counts once, by its last dead letter. Dead letters stay in their
    topic until its retention ends, also when their record was replayed and indexed since: `streamdex explain` tells
    that. What is known of them is kept in the temporary folder (TMPDIR), some 500 bytes for each.

    Exit codes: 0 listed, also when there are none; 1 the brokers fail; 2 configuration.

    Example: `streamdex dlq list --reason refused_by_embedder --since 2026-01-31`
    """
    settings = _settings(config_file, overrides)
    wanted = _wanted(reason, since, until, document)
    asyncio.run(_list(settings, wanted, limit, with_old=False, as_json=as_json))


@dlq.command("show")
def show_dead_letter(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="Where it stands, as `list` prints it.", show_default=False)
    ],
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    value: Annotated[
        bool, typer.Option("--value", help="Write the record's value to stdout, and nothing else.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter: where its record came from, why it failed, and its key. Its value only with --value.

    Exit codes: 0 shown, 1 the brokers fail, 2 no dead letter there, or configuration.

    Example: `streamdex dlq show 'articles.dlq[3]@42' --value | jq .`
    """
    settings = _settings(config_file, overrides)
    record = asyncio.run(dead_letter_at(settings, *parse_place(place, "PLACE")))
    if record is None:
        topics = ", ".join(sorted(dead_letter_topics(settings)))
        raise ConfigurationError(
            f"no dead letter stands at {place}", "PLACE", f"Name one in {topics}, as list prints it."
        )
    if value:
        sys.stdout.buffer.write(record.value or b"")
    else:
        _show(record, as_json=as_json)


@dlq.command("replay")
def replay_dead_letters(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    document: DocumentOption = None,
    rate: Annotated[int, typer.Option(min=1, max=10_000, help="How many a second at most.")] = 100,
    old: Annotated[
        bool,
        typer.Option("--old", help="Also events older than worker.tombstone_ttl_s; what was deleted may come back."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be replayed.")] = False,
    limit: Annotated[int, typer.Option(min=0, max=1_000_000, help="How many --dry-run shows.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters back to the topic and partition they came from, byte for byte, for the workers to try again.

    A replayed event keeps the place in the order that it had first: what is newer in the collection is not
    overwritten, and to replay a dead letter twice does no harm. What fails again becomes a dead letter again.
    Without filters all dead letters are replayed; fix first what made them fail.

    Some stay where they are, and are counted: what came back three times; what had lost its place in the order; and
    what is older than deletes are remembered, unless --old is given. A compacted topic takes nothing back: the
    replayed event would push out newer ones of its key.

    Exit codes: 0 replayed, also when there was nothing; 1 the brokers fail, or a dead letter is too large for its
    topic; 2 configuration.

    Example: `streamdex dlq replay --reason too_many_tokens --dry-run`
    """
    settings = _settings(config_file, overrides)
    wanted = _wanted(reason, since, until, document)
    if dry_run:
        asyncio.run(_list(settings, replace(wanted, to_replay=True), limit, with_old=old, as_json=as_json))
    else:
        asyncio.run(_replay(settings, wanted, rate, with_old=old, as_json=as_json))


# --- what is asked ----------------------------------------------------------------------------------------------


def _settings(config_file: Path | None, overrides: list[str] | None) -> Settings:
    settings = settings_from(config_file, overrides)
    configure_logging(settings.worker.log_format, "error")
    return settings


def _wanted(
    reasons: list[Reason] | None, since: datetime | None, until: datetime | None, document: str | None
) -> Wanted:
    return Wanted(
        reasons=tuple(reason.value for reason in reasons) if reasons else None,
        since_ms=_ms(since),
        until_ms=_ms(until),
        document=None if document is None else checked_id(document),
    )


def _ms(when: datetime | None) -> int | None:
    if when is None:
        return None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


# --- what is answered -------------------------------------------------------------------------------------------


async def _list(settings: Settings, wanted: Wanted, limit: int, *, with_old: bool, as_json: bool) -> None:
    with temporary_folder("dlq") as folder, ProgressBars(quiet=as_json) as progress:
        async with opened(settings, folder, progress, with_old=with_old) as box:
            counts, shown = box.index.count(wanted), list(box.index.newest(wanted, limit))
            stay = box.index.staying(replace(wanted, to_replay=False))
    if not as_json:
        _print_list(box, counts, shown)
        _print_staying(stay)
        return
    whole = {
        "dead_letters": box.dead_letters,
        "not_ours": box.others,
        "records": sum(counts.values()),
        "by_reason": counts,
        "stay": stay,
        "shown": [_dead_letter_as_json(dead_letter) for dead_letter in shown],
    }
    typer.echo(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode())


async def _replay(settings: Settings, wanted: Wanted, rate: int, *, with_old: bool, as_json: bool) -> None:
    with temporary_folder("dlq") as folder, ProgressBars(quiet=as_json) as progress:
        async with opened(settings, folder, progress, with_old=with_old) as box:
            stay = box.index.staying(wanted)
            done = await box.send_back(wanted, rate, progress)
    large = [_place(record) for record in done.too_large]
    if as_json:
        typer.echo(orjson.dumps({"replayed": done.sent, "stay": stay, "too_large": large}).decode())
    else:
        typer.echo(f"Dead letters replayed: {done.sent:,}." if done.sent else "Nothing was replayed.")
        _print_staying(stay)
    if large:
        typer.echo(_too_large(done, large), err=True)
        raise typer.Exit(ExitCode.CRASHED)


def _too_large(done: Replayed, places: list[str]) -> str:
    topics = sorted({parse_dead_letter(record).position.topic for record in done.too_large})
    return (
        f"Error: {len(places):,} dead letters are larger than their topic takes, with the headers of a replay\n"
        f"  where: {places[0]}{' and others' if len(places) > 1 else ''}\n"
        f"  fix:   Raise max.message.bytes of {', '.join(topics)}, then replay again."
    )


def _dead_letter_as_json(dead_letter: ListedDeadLetter) -> dict[str, Any]:
    return {
        "place": _place(dead_letter),
        "document_id": dead_letter.document,
        "value_bytes": dead_letter.size_bytes,
        **_facts_as_json(dead_letter.facts),
        "stays": dead_letter.stays,
    }


def _facts_as_json(facts: DeadLetterFacts) -> dict[str, Any]:
    first = facts.position
    return {
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


def _print_list(box: DeadLetterBox, counts: dict[str, int], shown: list[ListedDeadLetter]) -> None:
    if not counts:
        typer.echo("There are no such dead letters." if box.dead_letters else "There are no dead letters.")
    for reason, count in counts.items():
        typer.echo(f"{count:>10,}  {reason}")
    for dead_letter in shown:  # lines, no table: a place must be whole in a narrow terminal, and in a pipe
        facts = dead_letter.facts
        document = "" if dead_letter.document is None else f"  {dead_letter.document}"
        replays = f" (replays: {facts.replays})" if facts.replays else ""
        typer.echo(f"\n{_place(dead_letter)}  {time_text(facts.first_failed_at_ms)}{document}")
        typer.echo(f"    {facts.reason}: {facts.message}{replays}")
    if shown:
        typer.echo()
    if sum(counts.values()) > len(shown) > 0:
        typer.echo(f"Shown are the newest {len(shown):,}; --limit shows more.")
    if box.others:
        typer.echo(f"Records there that are no dead letters of these topics: {box.others:,}.")


def _print_staying(stay: dict[str, int]) -> None:
    for why, count in stay.items():
        typer.echo(f"Left out by a replay: {count:,} ({why}).")


def _show(record: Record, *, as_json: bool) -> None:
    try:
        facts = parse_dead_letter(record)
    except ValueError as error:
        fix = "Look at it with a Kafka tool, or with --value."
        raise ConfigurationError(f"the record there cannot be read: {error}", "PLACE", fix) from None
    whole = {
        "place": _place(record),
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "value_bytes": None if record.value is None else len(record.value),
        **_facts_as_json(facts),
    }
    if as_json:
        typer.echo(orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode())
        return
    for name, value in whole.items():
        typer.echo(f"{name.replace('_', ' '):14}{'' if value is None else value}")


def _place(dead_letter: ListedDeadLetter | Record) -> str:
    return place_of(Spot(dead_letter.topic, dead_letter.partition, dead_letter.offset))
