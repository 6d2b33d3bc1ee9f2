"""Reads the settings: a TOML file, then variables, then flags, in rising precedence."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from streamdex.config.sections import PREFIX, Settings
from streamdex.errors import ConfigurationError

CONFIG_VARIABLE = "STREAMDEX_CONFIG"

# Variables that other tools set already, and the setting each one stands for.
USUAL_VARIABLES = {
    "JINA_API_KEY": ("jina", "api_key"),
    "JINA_API_KEY_FILE": ("jina", "api_key_file"),
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
    "QDRANT_URL": ("qdrant", "url"),
    "QDRANT_API_KEY": ("qdrant", "api_key"),
    "QDRANT_API_KEY_FILE": ("qdrant", "api_key_file"),
}


def load_settings(config_file: Path | None = None, flags: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    `flags` maps `section.name` to its value. Raises ConfigurationError naming the setting, never its value.
    """
    if config_file is None and os.environ.get(CONFIG_VARIABLE):
        config_file = Path(os.environ[CONFIG_VARIABLE])
    _refuse_unknown_variables(os.environ)
    layers = (
        _from_file(config_file),
        _from_usual_variables(os.environ),
        EnvSettingsSource(Settings, env_ignore_empty=True)(),
        _from_flags(flags or {}),
    )
    merged: dict[str, Any] = {}
    for layer in layers:
        for section, values in layer.items():
            merged[section] = {**merged.get(section, {}), **values}
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise _as_configuration_error(error) from None


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    if not path.is_file():
        raise ConfigurationError("there is no such settings file", str(path), "Give the path of a TOML file.")
    try:
        content = TomlConfigSettingsSource(Settings, path)()
    except (ValueError, OSError) as error:  # tomllib's error is a ValueError that quotes only line and column
        raise ConfigurationError(f"not a TOML file: {error}", str(path), "Fix the line it names.") from None
    for section, values in content.items():
        if not isinstance(values, dict):
            raise ConfigurationError(f"{section} stands outside a section", str(path), _SECTIONS)
    return content


def _from_usual_variables(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, (section, name) in USUAL_VARIABLES.items():
        if environment.get(variable):
            found.setdefault(section, {})[name] = environment[variable]
    return found


def _from_flags(flags: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for flag, value in flags.items():
        section, _, name = flag.partition(".")
        if not name or section not in Settings.model_fields:
            raise ConfigurationError(f"there is no setting {flag}", "--set", f"Write section.name. {_SECTIONS}")
        found.setdefault(section, {})[name] = value
    return found


_SECTIONS = f"The sections are {', '.join(Settings.model_fields)}."


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """A misspelt section would otherwise be ignored silently; a misspelt name is refused by its section."""
    for variable in environment:
        section, delimiter, _ = variable.removeprefix(PREFIX).partition("__")
        if variable.startswith(PREFIX) and delimiter and section.lower() not in Settings.model_fields:
            raise ConfigurationError(f"there is no section {section.lower()}", variable, _SECTIONS)


def _as_configuration_error(error: ValidationError) -> ConfigurationError:
    """Name the first setting that is wrong. pydantic's own text would quote the value, which may be a secret."""
    first = error.errors(include_input=False, include_url=False)[0]
    section, *rest = (str(part) for part in first["loc"])
    name = ".".join(rest)
    where = f"{section}.{name}" if name else section
    if first["type"] == "extra_forbidden":
        known = _names_of(section)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {section}.{near[0]}?" if near else f"Known in {section}: {', '.join(known)}."
        return ConfigurationError(f"there is no setting {where}", where, hint)
    what = first["msg"].removeprefix("Value error, ")
    if not name:
        return ConfigurationError(what, where, "Fix it in the TOML file, in the environment or with --set.")
    variable = PREFIX + where.replace(".", "__").upper()
    return ConfigurationError(what, where, f"Set it in the TOML file, as {variable} or with --set {where}=….")


def _names_of(section: str) -> list[str]:
    annotation = Settings.model_fields[section].annotation if section in Settings.model_fields else None
    return list(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
