"""The field's terms alone: no private word is left in the code, the docs or the README.

Identifiers are split at underscores and capitals. Words that are also ordinary English are refused as identifiers only,
or in their private sense.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Refused anywhere, in whatever form.
PRIVATE = re.compile(
    r"(room|rooms|house|houses|mend|mends|mended|mending|anew|patiently|patience|surely|valve|valves|parcel|parcels"
    r"|swallow\w*|dice|condemn\w*|acquit\w*|blame\w*|verdict|verdicts|succession|lacking|hurry|hurried|halving"
    r"|swept|sweep\w*|purge\w*|door|doors)"
)
# Refused as identifiers: ordinary words that once named things here.
AS_NAMES = frozenset(
    [
        "said",
        "told",
        "letter",
        "letters",
        "piece",
        "pieces",
        "standing",
        "standings",
        "horizon",
        "fraction",
        "fractions",
        "shell",
        "register",
        "wall",
        "lack",
        "lacks",
        "sweeps",
        "forget",
        "forgets",
        "forgotten",
        "tell",
        "tells",
        "clean",
        "cleans",
        "cleaned",
        "remove",
        "removes",
        "removed",
        "hasty",
    ]
)
PHRASES = re.compile(r"(?<![a-z])(take_in|took_in|let_go|lets_go|give_up|given_up|gives_up)(?![a-z])")
LETTER = re.compile(r"(?<!dead )(?<!dead-)(?<!-)\bletters?\b", re.IGNORECASE)

# Names that stay: what deployments, stored formats and other people's APIs call things.
EXEMPT = {
    "request_horizon_s": "a setting that deployments have",
    "REQUEST_HORIZON_S": "the same setting as a variable",
    "wall_clock": "the field's term, with its unit",
    "registry.register": "prometheus_client's method",
    "remove_signal_handler": "asyncio's method",
    "remove_processors_meta": "structlog's method",
    "CLEAN": "an exit that is clean",
    "_writing.remove": "a list's method",
}
LETTERS_OF_THE_ALPHABET = ("Use letters, digits",)


def files() -> list[Path]:
    found = [*(ROOT / "worker").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*")]
    return sorted(path for path in [*found, ROOT / "README.md", ROOT / "CONTRIBUTING.md"] if path.is_file())


def words_of(name: str) -> list[str]:
    return [word.lower() for part in name.split("_") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", part)]


def without_exempt(text: str) -> str:
    for name in (*EXEMPT, *LETTERS_OF_THE_ALPHABET):
        text = text.replace(name, "exempt")
    return text


def identifiers(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def findings(text: str, *, python: bool) -> Iterator[str]:
    """Private words with the numbers of their lines."""
    text = without_exempt(text)
    for number, line in enumerate(text.splitlines(), start=1):
        for word in re.findall(r"[A-Za-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", line.replace("_", " "))):
            if PRIVATE.fullmatch(word.lower()):
                yield f"{number}: {word}"
        for found in (*PHRASES.findall(line), *LETTER.findall(re.sub(r"(?i)dead_letter", "dead letter", line))):
            yield f"{number}: {found}"
    if python:
        for number, name in identifiers(text):
            words = words_of(re.sub(r"(?i)dead_letter", "deadletter", name).replace("DeadLetter", "Deadletter"))
            for word in AS_NAMES.intersection(words):
                yield f"{number}: {word} in {name}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_word_is_left(path: Path) -> None:
    assert list(findings(path.read_text(), python=path.suffix == ".py")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# a room of its own\n", ["1: room"]),
        ("self._verdicts = 1\n", ["1: verdicts"]),
        ("class SentLetters: ...\n", ["1: letters in SentLetters"]),
        ("def _take_in(): ...\n", ["1: take_in"]),
        ("x = tell_all\n", ["1: tell in tell_all"]),
        ("# a letter is sent\n", ["1: letter"]),
        ("# a dead letter is sent, and dead_letters are told apart\n", []),
    ],
)
def test_the_test_would_find_one(text: str, found: list[str]) -> None:
    assert list(findings(text, python=True)) == found
