"""Every command: its help, and wrong use of it. One error, what, where and the fix; never a traceback."""

import asyncio
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from harness.cli import COMMANDS, MARK, Cli
from streamdex import __version__
from streamdex.cli import main

WITH_SETTINGS = [name for name in COMMANDS if name != "serve-embeddings"]
WITH_A_MODEL = [name for name in WITH_SETTINGS if name not in ("config", "demo") and not name.startswith("dlq ")]
ARGUMENTS = {
    name: ["something" for one in command.params if one.param_type_name == "argument"]
    for name, command in COMMANDS.items()
}
SECRET = f"jina_{MARK}_7d1c"


def call(cli: Cli, command: str, *options: str) -> str:
    """Run a command that must be refused; what it says."""
    said = cli(*command.split(), *ARGUMENTS[command], *options)
    assert said.exit_code == 2
    assert said.out == ""
    return said.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_with_an_example(command: str, cli: Cli) -> None:
    said = cli(*command.split(), "--help")
    assert said.exit_code == 0
    assert "Example:" in said.out
    assert f"streamdex {command}" in said.out
    assert said.err == ""


def test_without_a_command_help_is_shown_with_all_commands(cli: Cli) -> None:
    said = cli()
    assert all(command.split()[0] in said.out + said.err for command in COMMANDS)
    assert "Traceback" not in said.out + said.err


def test_the_version(cli: Cli) -> None:
    assert cli("--version") == (0, f"streamdex {__version__}\n", "")


@pytest.mark.parametrize("command", WITH_SETTINGS)
@pytest.mark.parametrize(
    ("options", "what", "where", "fix"),
    [
        (("--set", "jina.modle=x"), "there is no setting jina.modle", "jina.modle", "Did you mean jina.model?"),
        (("--set", "chunk.max_tokens=1"), "greater than or equal to 8", "chunk.max_tokens", "STREAMDEX_CHUNK__MAX"),
        (("--set", "nonsense=1"), "there is no setting nonsense", "--set", "The sections are kafka,"),
        (("--set", f"jina.api_key:{SECRET}"), "an override has no value", "--set", "Write --set section.name=value."),
        (("--config", "/nowhere/streamdex.toml"), "no such settings file", "/nowhere/streamdex.toml", "Give the path"),
    ],
)
def test_a_wrong_setting_is_told_in_three_lines(
    command: str, options: tuple[str, ...], what: str, where: str, fix: str, cli: Cli
) -> None:
    told = call(cli, command, *options).splitlines()
    assert len(told) == 3
    assert told[0].startswith("Error: ")
    assert what in told[0]
    assert told[1] == f"  where: {where}"
    assert told[2].startswith("  fix:   ")
    assert fix in told[2]
    assert SECRET not in "".join(told)


@pytest.mark.parametrize("command", WITH_A_MODEL)
def test_what_the_model_cannot_do_is_refused_before_anything_is_connected(command: str, cli: Cli) -> None:
    said = cli(command, *ARGUMENTS[command], "--set", "jina.dimensions=2048")
    assert said.exit_code == 2
    assert "jina-embeddings-v3 cannot give 2048 dimensions" in said.out + said.err
    assert "Allowed: 32 to 1024." in said.out + said.err


@pytest.mark.parametrize("command", WITH_SETTINGS)
def test_a_broken_settings_file_is_told_with_its_place(command: str, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "streamdex.toml"
    file.write_text(f"[jina]\napi_key = {SECRET}\n")
    told = call(cli, command, "--config", str(file))
    assert "not a TOML file" in told
    assert "line 2" in told
    assert f"where: {file}" in told
    assert SECRET not in told


def test_a_settings_file_may_be_named_by_a_variable(cli: Cli) -> None:
    said = cli("config", env={"STREAMDEX_CONFIG": "/nowhere/streamdex.toml"})
    assert said.exit_code == 2
    assert "where: /nowhere/streamdex.toml" in said.err


def test_a_misspelt_variable_is_refused(cli: Cli) -> None:
    said = cli("config", env={"STREAMDEX_JIAN__API_KEY": SECRET})
    assert said.exit_code == 2
    assert "there is no section jian" in said.err
    assert SECRET not in said.err


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_flag_is_named(command: str, cli: Cli) -> None:
    told = call(cli, command, "--no-such-flag")
    assert "--no-such-flag" in told
    assert "Traceback" not in told


def test_an_unknown_command_is_named(cli: Cli) -> None:
    said = cli("serch")
    assert said.exit_code == 2
    assert "serch" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("question", ["", "  ", "\n"])
def test_an_empty_question_is_refused(question: str, cli: Cli) -> None:
    said = cli("search", question)
    assert said.exit_code == 2
    assert said.err.splitlines()[0] == "Error: the question is empty"


@pytest.mark.parametrize(
    "options",
    [("--port", "65536"), ("--window", "weekly"), ("--latency-ms", "-1"), ("--quota-headers", "sometimes")],
)
def test_serve_embeddings_refuses_what_it_cannot_serve(options: tuple[str, str], cli: Cli) -> None:
    assert options[0] in call(cli, "serve-embeddings", *options)


def test_a_port_in_use_is_told(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = call(cli, "serve-embeddings", "--port", str(port)).splitlines()
    assert told == [
        f"Error: cannot listen on 127.0.0.1, port {port}: Address already in use",
        f"  where: 127.0.0.1:{port}",
        "  fix:   Choose another port, or 0 for a free one.",
    ]


@pytest.mark.usefixtures("cli")
def test_a_bug_of_ours_is_told_without_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: object) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_raise(SECRET))

    monkeypatch.setattr(import_module("streamdex.cli.run"), "_run", fail)
    monkeypatch.setattr(sys, "argv", ["streamdex", "run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Internal error: ExceptionGroup\n")
    assert "\nKeyError\n" in said.err
    assert "test_cli_errors.py:" in said.err
    assert "please report it" in said.err
    assert SECRET not in said.err


async def _raise(words: str) -> None:
    try:
        raise ValueError(words)
    except ValueError as error:
        raise KeyError(words) from error


def test_it_is_the_same_as_a_process() -> None:
    """All of the above runs inside the tests; this once it is the real command."""
    command = (sys.executable, "-m", "streamdex.cli", "config", "--set", "jina.modle=x")
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Error: there is no setting jina.modle",
        "  where: jina.modle",
        "  fix:   Did you mean jina.model?",
    ]
