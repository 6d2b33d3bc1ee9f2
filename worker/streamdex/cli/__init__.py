"""The commands, one file each. A fault becomes a short message and an exit code; a bug shows where it was raised."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from streamdex import __version__
from streamdex.cli.check import check
from streamdex.cli.config import config
from streamdex.cli.crash import describe
from streamdex.cli.demo import demo
from streamdex.cli.dlq import dlq
from streamdex.cli.estimate import estimate
from streamdex.cli.explain import explain
from streamdex.cli.reindex import reindex
from streamdex.cli.run import run
from streamdex.cli.search import search
from streamdex.cli.serve_embeddings import serve_embeddings
from streamdex.cli.verify import verify
from streamdex.errors import AccountFault, ConfigurationError, ExitCode, StreamdexError


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:  # typer keeps the type of the context to itself
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
for command in (run, demo, check, search, estimate, explain, verify, reindex, config, serve_embeddings):
    app.command()(command)
app.add_typer(dlq, name="dlq")


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
