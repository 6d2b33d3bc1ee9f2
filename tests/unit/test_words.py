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
    r"|swept|sweep\w*|purge\w*)"
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
        "door",
        "shell",
        "register",
        "wall",
        "lack",
        "lacks",
        "sweeps",
        "forget",
        "forgets",
        "hasty",
    ]
)
PHRASES = re.compile(r"\b(take_in|let_go|give_up|made_anew|start_anew|read_anew)\b")
LETTER = re.compile(r"(?<!dead )(?<!dead-)(?<!-)\bletters?\b", re.IGNORECASE)

# Names that stay: what deployments, stored formats and other people's APIs call things.
EXEMPT = {
    "request_horizon_s": "a setting that deployments have",
    "REQUEST_HORIZON_S": "the same setting as a variable",
    "wall_clock": "the field's term, with its unit",
    "registry.register": "prometheus_client's method",
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


def findings(path: Path) -> Iterator[str]:
    text = without_exempt(path.read_text())
    for number, line in enumerate(text.splitlines(), start=1):
        for word in re.findall(r"[A-Za-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", line.replace("_", " "))):
            if PRIVATE.fullmatch(word.lower()):
                yield f"{path.relative_to(ROOT)}:{number}: {word}"
        for found in (*PHRASES.findall(line), *LETTER.findall(re.sub(r"(?i)dead_letter", "dead letter", line))):
            yield f"{path.relative_to(ROOT)}:{number}: {found}"
    if path.suffix == ".py":
        for number, name in identifiers(text):
            words = words_of(re.sub(r"(?i)dead_letter", "deadletter", name).replace("DeadLetter", "Deadletter"))
            for word in AS_NAMES.intersection(words):
                yield f"{path.relative_to(ROOT)}:{number}: {word} in {name}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_word_is_left(path: Path) -> None:
    assert list(findings(path)) == []


def test_the_test_would_find_one() -> None:
    samples = {"a room of its own": "room", "what patiently does": "patiently", "self._verdicts": "verdicts"}
    for text, word in samples.items():
        spaced = text.replace("_", " ")
        assert word in [found.lower() for found in re.findall(r"[A-Za-z]+", spaced) if PRIVATE.fullmatch(found.lower())]
    assert LETTER.search("a letter is sent") is not None
    assert LETTER.search("a dead letter is sent") is None
