"""Cuts: nothing visible is lost, nothing is above the size, and what is looked at grows with the text alone."""

import itertools
import random
from collections.abc import Iterator

import pytest

from streamdex.plan.breaks import Mode
from streamdex.plan.splitting import Splitter, TextSpan
from streamdex.plan.tokens import estimate_tokens

SIZE_TOKENS = 512
# What a text may be counted in all, as a multiple of its length. Measured: 3 to 8. The square would be thousands.
MOST_COUNTED = 12


class Meter:
    """The estimate, and how many characters it was asked to count."""

    def __init__(self) -> None:
        self.characters = 0

    def __call__(self, text: str) -> int:
        self.characters += len(text)
        return estimate_tokens(text)


def growing(blank: str, characters: int) -> str:
    """Ever longer runs of one blank between single characters."""
    count = int((2 * characters) ** 0.5)
    return "".join(f"a{blank * length}" for length in range(count))


def words(count: int, seed: int = 1) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choice(["the", "river", "of", "mountains", "is", "long"]) for _ in range(count))


def many_separators(count: int) -> str:
    chance = random.Random(2)
    return "".join(f"word{chance.choice('.,;:!?/-_()[]{}|`@#$%&=<>') * chance.randrange(1, 9)}" for _ in range(count))


HOSTILE = {
    "runs of blanks": lambda: growing(" ", 2_000_000),
    "runs of newlines": lambda: growing("\n", 2_000_000),
    "runs of tabs": lambda: growing("\t", 2_000_000),
    "runs of hard blanks": lambda: growing("\u00a0", 1_000_000),
    "one character": lambda: "a" * 3_400_000,
    "blanks within": lambda: "a" + " " * 3_000_000 + "b",
    "alternating": lambda: "a b" * 1_000_000,
    "alternating newlines": lambda: "a\n\nb\n" * 400_000,
    "one line": lambda: words(600_000),
    "many separators": lambda: many_separators(200_000),
    "full stops": lambda: "." * 3_000_000,
    "quotes": lambda: '."' * 1_500_000,
    "Chinese without a stop": lambda: "漢" * 1_100_000,
    "marks": lambda: "a" + "\u0301" * 1_500_000,
    "joiners": lambda: "\u200d" * 1_000_000,
    "brackets": lambda: "[" * 2_000_000,
    "fences": lambda: "```\nx\n```\n# H\n\n" * 150_000,
}


def gaps(text: str, spans: list[TextSpan]) -> Iterator[str]:
    """What stands between the spans."""
    ends = [0, *itertools.accumulate((span.end for span in spans), max)]
    starts = [*(span.start for span in spans), len(text)]
    for end, start in zip(ends, starts, strict=True):
        yield text[end:start]


def assert_sound(text: str, spans: list[TextSpan], size_tokens: int) -> None:
    assert not "".join(gaps(text, spans)).strip()
    assert max(span.tokens for span in spans) <= size_tokens
    assert all(span.tokens == estimate_tokens(text[span.start : span.end]) for span in spans)
    assert all(left.start < right.start and left.end < right.end for left, right in itertools.pairwise(spans))


@pytest.mark.parametrize(("mode", "overlap_tokens"), [("prose", 0), ("markdown", 64), ("code", 0)])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_is_counted_much_more_often_than_it_is_long(name: str, mode: Mode, overlap_tokens: int) -> None:
    text, meter = HOSTILE[name](), Meter()
    spans = list(Splitter(meter, SIZE_TOKENS, overlap_tokens, mode).spans(text))
    assert_sound(text, spans, SIZE_TOKENS)
    assert meter.characters <= MOST_COUNTED * len(text)


def cut(text: str, size_tokens: int, overlap_tokens: int = 0) -> list[str]:
    spans = list(Splitter(estimate_tokens, size_tokens, overlap_tokens).spans(text))
    assert_sound(text, spans, size_tokens)
    return [text[span.start : span.end] for span in spans]


def test_a_caller_may_stop_early() -> None:
    text, meter = words(600_000), Meter()
    assert len(list(itertools.islice(Splitter(meter, SIZE_TOKENS).spans(text), 3))) == 3
    assert meter.characters < 10 * 3 * SIZE_TOKENS * 4


def test_the_overlap_lies_on_top_of_the_usual_cut() -> None:
    text = " ".join(f"word{number}" for number in range(600))
    plain = list(Splitter(estimate_tokens, 48).spans(text))
    spans = list(Splitter(estimate_tokens, 64, 16).spans(text))
    assert_sound(text, spans, 64)
    assert [span.end for span in spans] == [span.end for span in plain]
    for before, own, span in zip(plain, plain[1:], spans[1:], strict=False):
        assert 8 <= estimate_tokens(text[span.start : before.end]) <= 16
        assert span.start < own.start
        assert text[span.start - 1] == " "


def test_where_blanks_take_all_of_the_overlap_a_span_stays_as_it_is() -> None:
    first, second = cut("a" * 100 + " " * 500 + "b" * 100, 64, 16)[:2]
    assert (set(first), set(second)) == ({"a"}, {"b"})


@pytest.mark.parametrize("stop", ["。", "！", "？", "！」"])  # noqa: RUF001  # fullwidth as written there
def test_chinese_and_japanese_are_cut_behind_a_sentence(stop: str) -> None:
    pieces = cut(f"吾輩は猫である名前はまだ無い{stop}" * 100, 64)
    assert len(pieces) > 10
    assert all(piece.endswith(stop) for piece in pieces)


def test_a_sentence_is_whole_where_it_fits() -> None:
    pieces = cut("This one is a sentence of nine words, I think. " * 100, 64)
    assert all(piece.endswith("think.") for piece in pieces)


def test_data_in_one_line_is_cut_behind_a_symbol() -> None:
    pieces = cut(",".join(str(number * 7919) for number in range(2000)), 64)
    assert all(piece.endswith(",") for piece in pieces[:-1])


def test_a_mark_stays_with_its_character() -> None:
    pieces = cut("e\u0301" * 500 + "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 200, 64)
    assert not any(piece.startswith(("\u0301", "\u200d")) for piece in pieces)
    assert not any(piece.endswith("\u200d") for piece in pieces)


def test_a_part_that_counts_more_than_the_whole_is_halved() -> None:
    """A tokenizer may count a text without its last blank higher than with it."""

    def count(text: str) -> int:
        return len(text) // 2 if text.endswith(" ") else len(text)

    text = "ab cd ef " * 50
    spans = list(Splitter(count, 10).spans(text))
    assert not "".join(gaps(text, spans)).strip()
    assert max(span.tokens for span in spans) <= 10
