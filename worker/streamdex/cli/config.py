"""`streamdex config`: the effective settings."""

import json
from typing import Annotated

import typer
from pydantic import BaseModel, SecretStr

from streamdex.cli.options import ConfigOption, SetOption, settings_from
from streamdex.config import PREFIX, Settings


def config(
    config_file: ConfigOption = None,
    overrides: SetOption = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the settings instead.")] = False,
) -> None:
    """Print the effective settings as TOML, each with what it is for; secrets are masked.

    Example: `streamdex config --set jina.limits=free > streamdex.toml`
    """
    if schema:
        typer.echo(json.dumps(Settings.model_json_schema(), indent=2))
        return
    settings = settings_from(config_file, overrides)
    for section in type(settings).model_fields:
        typer.echo(_section(section, getattr(settings, section)))


def _section(name: str, section: BaseModel) -> str:
    lines = [f"[{name}]"]
    values = section.model_dump(mode="json")
    for field, about in type(section).model_fields.items():
        value = values[field]
        lines.append(f"# {about.description} ({PREFIX}{name.upper()}__{field.upper()})")
        if isinstance(getattr(section, field), SecretStr):
            lines.append(f"# {field} is set, and not shown")
        else:
            lines.append(f"# {field} =" if value is None else f"{field} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    # Strings, numbers, booleans and lists of them are written alike in JSON and TOML, but for these two: TOML knows no
    # surrogate pairs, and wants DEL escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
