"""The folder in which `verify` and `dlq` keep what they know: one that cannot be used is reported, with its fix."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from harness.cli import Cli
from streamdex.cli.temporary_folder import temporary_folder
from streamdex.errors import ConfigurationError


@pytest.mark.parametrize("command", [("verify",), ("dlq", "list")])
def test_one_that_is_not_there_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    said = cli(*command)
    assert said.exit_code == 2
    assert "the temporary folder cannot be written to: FileNotFoundError" in said.err
    assert "where: TMPDIR" in said.err


def overfill(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "full.sqlite")) as database:
        database.executescript("PRAGMA max_page_count = 2; CREATE TABLE dead_letters (body TEXT)")
        database.execute("INSERT INTO dead_letters VALUES (?)", ("x" * 100_000,))


def test_one_that_is_full_is_told_and_gone() -> None:
    with pytest.raises(ConfigurationError, match="TMPDIR"), temporary_folder("verify") as folder:
        overfill(folder)
    assert not folder.exists()


def test_what_is_not_the_folders_passes() -> None:
    with pytest.raises(ConnectionResetError), temporary_folder("verify"):
        raise ConnectionResetError
