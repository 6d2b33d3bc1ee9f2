"""What several commands share: how settings are named on the command line, and how secrets are shown."""

from pathlib import Path
from typing import Annotated

import typer

from worker.config import Settings, load_settings
from worker.errors import ConfigurationError

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file of settings.", envvar="STREAMDEX_CONFIG")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="SECTION.NAME=VALUE", help="Override one setting; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text for people.")]


def settings_from(config: Path | None, overrides: list[str] | None) -> Settings:
    """The settings of a command. Raises ConfigurationError for what cannot be read or is not known."""
    flags = {}
    for override in overrides or ():
        name, equals, value = override.partition("=")
        if not equals:
            # Not quoted: with another sign in the place of "=" it may hold a secret.
            raise ConfigurationError("an override has no value", "--set", "Write --set section.name=value.")
        flags[name.strip()] = value.strip()
    return load_settings(config, flags)
