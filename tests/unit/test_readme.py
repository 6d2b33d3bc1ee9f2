"""README.md says what the code does: its tables, commands, exit codes, reasons, settings and links."""

import re

import pytest

from harness.cli import COMMANDS
from streamdex.config import Settings
from streamdex.embed import MODELS
from streamdex.errors import ExitCode, Reason
from streamdex.model import Outcome
from tools import readme

TEXT = readme.README.read_text(encoding="utf-8")
EXIT_CODES = {value for name, value in vars(ExitCode).items() if name.isupper()}


def test_the_tables_are_those_of_the_code() -> None:
    assert readme.render(readme.README, TEXT) == TEXT, "README.md is stale: run `make docs`"


def test_the_tables_hold_every_setting_and_model() -> None:
    """The generator itself might leave something out."""
    for section in Settings.model_fields:
        assert f"### `{section}`" in TEXT
        for name in type(getattr(Settings(), section)).model_fields:
            assert f"\n| `{name}` | " in readme.settings_tables()
    for name, model in MODELS.items():
        (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |")]
        assert str(model.dimension) in row
        for task in model.tasks:
            assert task in row or f"{task.removesuffix('.passage')}.query` / `.passage" in row


def test_a_stale_table_is_noticed() -> None:
    stale = TEXT.replace("| `group_id` | `streamdex` |", "| `group_id` | `another` |")
    assert stale != TEXT
    assert readme.render(readme.README, stale) == TEXT


def test_a_missing_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="models"):
        readme.render(readme.README, TEXT.replace("<!-- models: end -->", ""))


def test_the_commands_are_those_that_there_are() -> None:
    assert set(re.findall(r"^\| `streamdex ([a-z-]+)", TEXT, re.MULTILINE)) == {name.split()[0] for name in COMMANDS}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_an_example_in_its_help(name: str) -> None:
    example = COMMANDS[name].help.partition("Example: ")[2]
    assert f"streamdex {name}" in example


def test_commands_in_the_text_exist_and_so_do_their_options() -> None:
    for command, rest in re.findall(r"^\$ streamdex (dlq [a-z]+|[a-z-]+)(.*)", TEXT, re.MULTILINE):
        offered = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest.partition("#")[0])) <= offered


def test_settings_in_the_text_exist() -> None:
    named = re.findall(r"[` ](kafka|jina|qdrant|chunk|mapping|caps|admin|worker)\.([a-z_]+)\b(?!\()", TEXT)
    assert len(named) > 5
    for section, name in named:
        if name not in ("py", "sh"):
            assert name in type(getattr(Settings(), section)).model_fields, f"{section}.{name}"


def test_every_reason_and_no_other_stands_in_its_table() -> None:
    table = TEXT.partition("| reason |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z0-9_]+)`", table, re.MULTILINE) == [reason.value for reason in Reason]


def test_every_exit_code_is_told() -> None:
    paragraph = TEXT.partition("Exit codes: ")[2].partition("\n\n")[0]
    assert {int(code) for code in re.findall(r"(?:^|, )(\d) ", paragraph)} == EXIT_CODES


def test_every_outcome_is_told() -> None:
    promise = " ".join(TEXT.split()).partition("exactly one of six outcomes: **")[2].partition("**")[0]
    assert promise.split(", ") == [outcome.value.replace("_", "-") for outcome in Outcome]


def test_links_within_the_repository_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert links
    missing = [link for link in links if not (readme.README.parent / link.partition("#")[0]).exists()]
    assert missing == []
