"""`streamdex check`: checks everything that the worker needs, one line each, with the fix."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.text import Text

from streamdex.cli.options import ConfigOption, JsonOption, SetOption, print_json, settings_from
from streamdex.config import Settings
from streamdex.deadletter import DeadLetters
from streamdex.embed import Embedder, resolve
from streamdex.errors import AccountFault, ConfigurationError, ExitCode, ServiceFault, StreamdexError
from streamdex.index import CollectionMissing, Index
from streamdex.kafka.client import survey_all
from streamdex.kafka.rights import check_group, check_topics
from streamdex.operations.meanings import sample_ends
from streamdex.run.pipeline import examine
from streamdex.telemetry import Health, Metrics, configure_logging

RETRY_S = 2.0
SETTINGS = "settings"
WAIT_FIX = "Start it, or check the address in the settings."


@dataclass(frozen=True, slots=True)
class _Line:
    """What one check found; `--json` prints it as it is."""

    check: str
    ok: bool
    message: str
    fix: str = ""


class _Asked(NamedTuple):
    """What the command was asked: `sample` is a number of records."""

    settings: Settings
    create: bool
    sample: int


def check(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    wait: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Try again for up to so long.")] = 0,
    create: Annotated[
        bool, typer.Option("--create", help="Make dead-letter topics and collection if missing.")
    ] = False,
    sample: Annotated[int, typer.Option(min=0, max=100_000, help="How many records to read for `events`.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Check settings, Kafka, events, Jina and Qdrant; print a line for each, with the fix where something is wrong.

    The oldest and the newest records are read, and counted by what they mean to these settings. Jina is asked to embed
    one word. Exit codes: 0 all is well, 2 something must be fixed.

    Example: `streamdex check --wait 120 && streamdex run`
    """
    configure_logging("auto", "error")
    settings = settings_from(config_file, overrides)
    asked = _Asked(settings, create, sample)
    lines = asyncio.run(_check_until(asked, wait_s=wait, console=Console(stderr=True, quiet=as_json)))
    if as_json:
        print_json([asdict(line) for line in lines])
    else:
        console = Console()
        for line in lines:
            _print(console, line)
    if not all(line.ok for line in lines):
        raise typer.Exit(ExitCode.CONFIGURATION)


async def _check_until(asked: _Asked, *, wait_s: float, console: Console) -> list[_Line]:
    """Check again while something is wrong and there is time: what is missing may be about to start.

    Wrong settings stay wrong, so they are not checked again.
    """
    deadline_s = time.monotonic() + wait_s
    while True:
        lines = [line async for line in _check_all(asked)]
        wrong = [line for line in lines if not line.ok]
        if not wrong or wrong[0].check == SETTINGS or time.monotonic() + RETRY_S > deadline_s:
            return lines
        console.print(f"waiting: {wrong[0].check}: {wrong[0].message}", markup=False)
        await asyncio.sleep(RETRY_S)


async def _check_all(asked: _Asked) -> AsyncIterator[_Line]:
    """A line for each check; only the first when the settings cannot work, since all others would repeat it."""
    settings, create, sample = asked
    checks: dict[str, Callable[[], Awaitable[str]]] = {
        SETTINGS: lambda: _check_settings(settings),
        "kafka": lambda: _check_kafka(settings),
        **({"events": lambda: _check_events(settings, sample)} if sample else {}),
        "dead letters": lambda: _check_dead_letters(settings, create=create),
        "jina": lambda: _check_jina(settings),
        "qdrant": lambda: _check_qdrant(settings, create=create),
    }
    reachable = True
    for name, one in checks.items():
        if name == "events" and not reachable:
            continue  # it would say the same again
        line = await _line(name, one)
        reachable = reachable and line.ok
        yield line
        if name == SETTINGS and not line.ok:
            return


async def _line(name: str, one: Callable[[], Awaitable[str]]) -> _Line:
    try:
        return _Line(name, True, await one())
    except ConfigurationError as error:
        return _Line(name, False, f"{error.what} ({error.where})", error.fix)
    except AccountFault as fault:
        return _Line(name, False, fault.message, fault.fix)
    except ServiceFault as fault:
        return _Line(name, False, fault.message, WAIT_FIX)
    except StreamdexError as fault:
        return _Line(name, False, str(fault), "Check the model and its settings.")


async def _check_settings(settings: Settings) -> str:
    profile, _ = examine(settings)
    requests, tokens, concurrency = settings.jina.effective_limits
    return (
        f"{profile.model}, {profile.dimension} dimensions, {requests:,} requests and {tokens:,} tokens a minute, "
        f"{concurrency} at a time"
    )


async def _check_kafka(settings: Settings) -> str:
    found = await survey_all(settings.kafka, settings.kafka.topics)
    await check_topics(settings.kafka, settings.kafka.topics)
    await check_group(settings.kafka)
    named = ", ".join(f"{topic} with {found.topics[topic].partitions} partitions" for topic in settings.kafka.topics)
    return f"cluster {found.cluster_id}: {named}"


async def _check_events(settings: Settings, sample: int) -> str:
    found = await sample_ends(settings, sample)
    if not found.records:
        return "the topics hold no record yet"
    if found.reasons and not found.documents:  # null values alone can be read whatever the format is
        fix = "Set events.format and mapping.* to what the records are; streamdex explain tries one."
        raise ConfigurationError(f"no record has a document: {found.summary()}", "events, mapping", fix)
    if found.strangers:
        return f"{found.summary()}; {found.strangers:,} have keys that do not name them, so null values delete none"
    return found.summary()


async def _check_dead_letters(settings: Settings, *, create: bool) -> str:
    dead_letters = DeadLetters(settings.kafka, "check", Health(), Metrics())
    return await dead_letters.check_topics(create=create)


async def _check_jina(settings: Settings) -> str:
    profile = resolve(settings.jina)
    embedder = Embedder(settings.jina, profile, Health(), Metrics())
    try:
        (vector,) = await embedder.embed_once(["word"])
    finally:
        await embedder.close()
    return f"{settings.jina.base_url} embedded a word into {len(vector) // 4} dimensions"


async def _check_qdrant(settings: Settings, *, create: bool) -> str:
    profile, collection = resolve(settings.jina), settings.qdrant.collection
    try:
        index = await Index.open(settings, profile.fingerprint, profile.dimension, Metrics(), create=create)
    except CollectionMissing:  # as it is before the first worker; the version has been checked by then
        return f"{settings.qdrant.url} answers; the worker will make the collection {collection} when it starts"
    try:
        return f"version {await index.ping()}, collection {collection}"
    finally:
        await index.close()


def _print(console: Console, line: _Line) -> None:
    mark = Text("✓ " if line.ok else "✗ ", style="green" if line.ok else "bold red")
    console.print(mark + Text(f"{line.check:13}", style="bold") + Text(line.message))
    if line.fix:
        console.print(Text(f"  {'':13}fix: {line.fix}", style="yellow"))
