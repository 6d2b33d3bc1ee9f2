"""The commands, one file each. A fault becomes a short message and an exit code; a bug shows where it was raised."""

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from streamdex import __version__
from streamdex.cli.crash import describe
from streamdex.errors import AccountFault, ConfigurationError, ExitCode, StreamdexError

COMMANDS = (
    *("run", "demo", "check", "search", "estimate", "explain", "verify", "reindex", "config", "serve-embeddings"),
    "dlq",
)


class _Commands(TyperGroup):
    """Imports a command when it is asked for: a worker then takes 9 MiB less than with all commands in memory."""

    def list_commands(self, ctx: Any) -> list[str]:  # typer keeps the type of the context to itself
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for name in (cmd_name,) if cmd_name in COMMANDS else COMMANDS:  # all of them, to suggest one like it
            if name not in self.commands:
                self.commands[name] = _load(name)
        return self.commands.get(cmd_name)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            sys.stderr.write(f"Error: {error.what}\n  where: {error.where}\n  fix:   {error.fix}\n")
            raise typer.Exit(ExitCode.CONFIGURATION) from None
        except AccountFault as fault:
            sys.stderr.write(f"Error: {fault.message}\n  fix:   {fault.fix}\n")
            raise typer.Exit(ExitCode.CONFIGURATION) from None
        except StreamdexError as error:
            sys.stderr.write(f"Error: {error}\n")
            raise typer.Exit(ExitCode.CRASHED) from None


def _load(name: str) -> Any:
    """The command of that name, from the module of that name."""
    attribute = name.replace("-", "_")
    found = getattr(import_module(f"streamdex.cli.{attribute}"), attribute)
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
    else:
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
        alone.command()(found)
        command = get_command(alone)
    command.name = name
    return command


# Typer's pretty tracebacks show local variables, and with them keys and documents.
app = typer.Typer(
    cls=_Commands,
    name="streamdex",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Document changes on Kafka, embedded by Jina, searchable in Qdrant within a second.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamdex {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Document changes on Kafka, embedded by Jina, searchable in Qdrant within a second.

    Nothing lost, nothing stale, nothing paid for twice. Start with `streamdex demo`: it needs nothing else.
    """


def main() -> None:
    """The entry point of the `streamdex` command."""
    try:
        app()
    except Exception as bug:  # noqa: BLE001 - Python's own traceback would quote what the exception says
        sys.stderr.write(describe(bug))
        sys.exit(ExitCode.CRASHED)
