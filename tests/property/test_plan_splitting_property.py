"""Any text, size and overlap: nothing visible is lost, nothing is above the size, no small part could join."""

import itertools
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from streamdex.plan.breaks import Mode
from streamdex.plan.splitting import Splitter
from streamdex.plan.tokens import estimate_tokens

PARTS = st.sampled_from(
    [
        "word ",
        "a",
        " ",
        "\n",
        "\n\n",
        "\t",
        ". ",
        "。",
        "漢字",
        "é",
        "e\u0301",
        "\u200d",
        "😀",
        "# H\n",
        "```\n",
        ",",
        "0",
        "ส",
    ]
)
TEXTS = st.lists(st.tuples(PARTS, st.integers(1, 40)), max_size=40).map(
    lambda parts: "".join(part * times for part, times in parts)
) | st.text(max_size=400)


MODES = st.sampled_from(get_args(Mode))


@given(TEXTS, st.integers(8, 64), st.integers(0, 32), MODES)
def test_nothing_is_lost_or_above_the_size(text: str, size_tokens: int, overlap_tokens: int, mode: Mode) -> None:
    spans = list(Splitter(estimate_tokens, size_tokens, min(overlap_tokens, size_tokens // 2), mode).spans(text))
    covered = 0
    for span in spans:
        assert not text[covered : span.start].strip()
        part = text[span.start : span.end]
        assert part.strip()
        assert part == (part.strip() if mode == "prose" else part.rstrip())
        assert span.tokens == estimate_tokens(text[span.start : span.end]) <= size_tokens
        assert span.end > covered
        covered = span.end
    assert not text[covered:].strip()


@given(TEXTS, st.integers(8, 64), MODES)
def test_a_small_part_would_not_fit_beside_its_neighbours(text: str, size_tokens: int, mode: Mode) -> None:
    spans = list(Splitter(estimate_tokens, size_tokens, mode=mode).spans(text))
    for left, right in itertools.pairwise(spans):
        if min(left.tokens, right.tokens) < size_tokens / 8:
            assert estimate_tokens(text[left.start : right.end]) > size_tokens
