"""What several commands share: how the command line names settings and documents, and how times are shown."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from streamdex.config import Settings, load_settings
from streamdex.errors import ConfigurationError
from streamdex.model import Partition

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of settings.", envvar="STREAMDEX_CONFIG")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="SECTION.NAME=VALUE", help="Override one setting; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text for people.")]

_PLACE = re.compile(r"(?P<topic>[^\[\]]+)\[(?P<partition>[0-9]{1,9})\]@(?P<offset>[0-9]{1,18})", re.ASCII)


def checked_id(document: str) -> str:
    """The document's id as it was typed. Raises ConfigurationError for bytes that the terminal's encoding lacks."""
    try:
        document.encode()
    except UnicodeEncodeError:
        raise ConfigurationError("the id is not UTF-8", "the document's id", "Give it as UTF-8.") from None
    return document


def parse_place(place: str, where: str) -> tuple[Partition, int]:
    """The partition and the offset in a place as commands print it. Raises ConfigurationError."""
    found = _PLACE.fullmatch(place)
    if found is None:
        fix = "Write it as 'topic[partition]@offset', in quotes, as streamdex dlq list prints it."
        raise ConfigurationError("the place cannot be read", where, fix)
    return Partition(found["topic"], int(found["partition"])), int(found["offset"])


def print_json(value: Any) -> None:
    """Print what `--json` promises."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def settings_from(config: Path | None, overrides: list[str] | None) -> Settings:
    """The settings of a command. Raises ConfigurationError for what it cannot read or does not know."""
    flags = {}
    for override in overrides or ():
        name, equals, value = override.partition("=")
        if not equals:
            # Not quoted: with another sign in place of "=" it may hold a secret.
            raise ConfigurationError("an override has no value", "--set", "Write --set section.name=value.")
        flags[name.strip()] = value.strip()
    return load_settings(config, flags)


def time_text(time_ms: int) -> str:
    """A time in ISO 8601, UTC. A number that is no date is shown as it is."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # producers may write any timestamp
        return f"{time_ms} ms"
