"""Markdown, code and prose: what stays together, and what `auto` takes for which."""

import itertools
import re
from inspect import getsource

import pytest

from streamdex.plan import splitting
from streamdex.plan.breaks import LOOK_CHARACTERS, Mode, headings, look
from streamdex.plan.splitting import Splitter
from streamdex.plan.tokens import estimate_tokens

SENTENCE = "This sentence has nine words and says very little. "
PYTHON = getsource(splitting)
SMALL = 8


def cut(text: str, mode: Mode, size_tokens: int = 96) -> list[str]:
    spans = list(Splitter(estimate_tokens, size_tokens, mode=mode).spans(text))
    assert all(span.tokens <= size_tokens for span in spans)
    return [text[span.start : span.end] for span in spans]


def handbook(sections: int = 30) -> str:
    """Sections of all lengths, with subsections right below the heading of some."""
    parts = []
    for number in range(sections):
        below = f"\n\n### Details of {number}" if number % 3 == 0 else ""
        parts.append(f"## Section {number}{below}\n\n{SENTENCE * (1 + number * 7 % 17)}")
    return "# Handbook\n\n" + "\n\n".join(parts)


def test_a_heading_stays_with_what_follows() -> None:
    pieces = cut(handbook(), "markdown")
    assert len(pieces) > 20
    assert not [piece for piece in pieces if piece.splitlines()[-1].startswith("#")]


def test_sections_begin_chunks() -> None:
    """Two chunks of three begin with a heading; the others go on with a section that fits into no chunk."""
    pieces = cut(handbook(), "markdown", 200)
    assert sum(piece.startswith("#") for piece in pieces) >= len(pieces) * 2 / 3


@pytest.mark.parametrize("heading", ["# Long", "Long\n====", "Long\n----", "## Long\r\n\r\n### Longer"])
def test_a_heading_before_a_paragraph_too_long_for_a_chunk_is_not_alone(heading: str) -> None:
    pieces = cut(f"{SENTENCE * 5}\n\n{heading}\n\n{SENTENCE * 40}", "markdown")
    (begun,) = [piece for piece in pieces if piece.startswith(heading)]
    assert begun.count("sentence") > 2


def test_what_looks_like_a_heading_in_a_fence_is_none() -> None:
    text = "# One\n\n```sh\n# comment\nmake\n```\n\n~~~~\n# no\n~~~\n# no\n~~~~ x\n# no\n~~~~~\n\n## Two\n"
    assert [text[start:].split("\n", maxsplit=1)[0] for start in headings(text).starts] == ["# One", "## Two"]


def test_list_items_and_table_rows_are_whole() -> None:
    items = "\n".join(f"- item {number} {'word ' * (number % 9)}\n  goes on" for number in range(200))
    assert all(piece.startswith("- item") for piece in cut(items, "markdown"))
    rows = "\n".join(f"| {number} | {'cell ' * (number % 9)} |" for number in range(200))
    assert all(piece.startswith("| ") and piece.endswith(" |") for piece in cut(rows, "markdown"))


def test_code_is_cut_before_what_is_not_indented_and_keeps_its_indentation() -> None:
    pieces = cut(PYTHON, "code", 400)
    assert (
        sum(bool(re.match(r"(class|def|@|#|[A-Z_]+ =|\"\"\"| {4}(def|@|#))", piece)) for piece in pieces)
        >= len(pieces) - 2
    )
    lines = set(PYTHON.splitlines())
    assert all(piece.splitlines()[0] in lines for piece in pieces)


def test_what_is_small_joins_a_neighbour_that_it_fits_beside() -> None:
    text = "\n\n".join(f"# {number}\n\n{SENTENCE * (0 if number % 2 else 7)}" for number in range(40))
    spans = list(Splitter(estimate_tokens, 128, mode="markdown").spans(text))
    for left, right in itertools.pairwise(spans):
        if min(left.tokens, right.tokens) < 128 / SMALL:
            assert estimate_tokens(text[left.start : right.end]) > 128


LOOKS = {
    "prose": [
        SENTENCE * 20,
        "吾輩は猫である。名前はまだ無い。" * 20,
        "\n".join(f"2026-12-01T10:00:{number:02} INFO request served in {number} ms" for number in range(60)),
        "# A line that starts like a heading\n" + SENTENCE * 10,
        "From here it goes on.\nIf it rains, we stay.\nFor all of us.\n" * 10,
        "name,city,age\n" + "Ada,London,36\n" * 40,
    ],
    "markdown": [
        handbook(3),
        "Some words.\n\n```python\nx = 1\n```\n",
        "# Title\n\nSee [the manual](https://example.org).\n",
        "Intro\n\n## A table\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    ],
    "code": [
        PYTHON,
        "#!/bin/sh\n\n# install\ncd /tmp\nmake install\n",
        'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hi")\n}\n',
        "export function add(a, b) {\n  // sums\n  return a + b;\n}\n\nconst x = add(1, 2);\n",
        '{\n  "a": {\n    "b": [\n      1\n    ]\n  }\n}\n',
    ],
}


@pytest.mark.parametrize(("mode", "text"), [(mode, text) for mode, texts in LOOKS.items() for text in texts])
def test_auto_goes_by_how_a_text_looks(mode: str, text: str) -> None:
    assert look(text) == mode
    assert look(text + "\n" + text) == mode


def test_auto_looks_at_the_beginning_alone() -> None:
    assert look(SENTENCE * LOOK_CHARACTERS + handbook()) == "prose"


def test_auto_cuts_like_what_it_takes_the_text_for() -> None:
    looks: list[tuple[str, Mode]] = [(handbook(), "markdown"), (PYTHON, "code"), (SENTENCE * 99, "prose")]
    for text, mode in looks:
        automatic = list(Splitter(estimate_tokens, 96, mode="auto").spans(text))
        assert automatic == list(Splitter(estimate_tokens, 96, mode=mode).spans(text))
