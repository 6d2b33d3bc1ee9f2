"""Where a text is cut: spans at its own breaks, each of at most so many tokens, in time linear in the text.

Each cut looks at no more than what fits into one span, so that no text can make it slow. The libraries were measured
and rejected. `semchunk` recurses once for each length of a run of blanks, to Python's limit. `semantic-text-splitter`
looks at all that is left of the text for each span: 3 MB of one word, or of `a b`, take it more than 25 s. With a
window of 16 spans at a time, it still needs 14 s for 1 MB of Chinese without punctuation.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from streamdex.plan.breaks import Breaks, Mode, look
from streamdex.plan.tokens import TokenCounter

# Names this way of cutting. A change of where any text is cut, by the estimate too, raises it: all is cut again.
VERSION = 1

# An end is looked for until it is known to this part of a span's length; to the character would take more counting.
PRECISION = 32
# Counts that guess the end from the tokens so far; after these the rest is halved, which always ends.
GUESSES = 6
# What is below this part of the size joins its neighbour.
SMALL = 8


class TextSpan(NamedTuple):
    """A part of a text, in characters, and its tokens."""

    start: int
    end: int
    tokens: int


_VISIBLE = re.compile(r"\S")
_BLANKS = re.compile(r"\s+")
# What stands before a first line is kept as its indentation up to here, and to half as many characters as tokens fit.
_WIDEST_INDENTATION = 256


class Splitter:
    """Cuts texts into spans of at most `size_tokens` as `count` counts them, at the breaks of `mode`.

    What is below an eighth of the size joins its neighbour, where both fit into one.

    With an overlap the usual cut is made at what the overlap leaves of the size; each span but the first then starts
    earlier, by at most `overlap_tokens`.
    """

    def __init__(
        self, count: TokenCounter, size_tokens: int, overlap_tokens: int = 0, mode: Mode | Literal["auto"] = "auto"
    ) -> None:
        self._count = count
        self._mode = mode
        self._size_tokens = size_tokens
        self._overlap_tokens = overlap_tokens
        self._own_tokens = size_tokens - overlap_tokens

    def spans(self, text: str) -> Iterator[TextSpan]:
        """The spans in order, without the blanks between them; made one at a time, so that a caller may stop early."""
        spans = self._joined(text, self._cut(text))
        return self._overlapping(text, spans) if self._overlap_tokens else spans

    def _span(self, text: str, start: int, end: int) -> TextSpan:
        return TextSpan(start, end, self._count(text[start:end]))

    def _cut(self, text: str) -> Iterator[TextSpan]:
        mode = look(text) if self._mode == "auto" else self._mode
        breaks = Breaks(text, mode)
        begin, length = 0, 4 * self._own_tokens
        widest = min(_WIDEST_INDENTATION, self._own_tokens // 2)
        while visible := _VISIBLE.search(text, begin):
            begin = visible.start() if mode == "prose" else _line_start(text, begin, visible.start(), widest)
            limit = self._limit(text, begin, length)
            end = limit if limit == len(text) else breaks.best(begin, limit)
            span = self._span(text, begin, begin + len(text[begin:end].rstrip()))
            # A counter may count a part higher than the whole. It then ends earlier, at a break again.
            while span.tokens > self._own_tokens and end - begin > 1:
                end = breaks.best(begin, max(begin + 1, begin + (end - begin) * 7 // 8))
                span = self._span(text, begin, begin + len(text[begin:end].rstrip()))
            if span.end > span.start:
                yield span
            begin, length = end, limit - begin

    def _limit(self, text: str, begin: int, length: int) -> int:
        """An end that fits, near the furthest one; `length` is a first guess in characters."""
        fits, over = begin, len(text) + 1
        end = min(begin + length, len(text))
        guesses = 0
        while over - fits > 1 + (fits - begin) // PRECISION:
            tokens = self._count(text[begin:end])
            if tokens <= self._own_tokens:
                fits = end
            else:
                over = end
            # What fits grows by half at most: one look never goes far beyond a span, whatever the counter.
            guess = min((end - begin) * self._own_tokens // max(tokens, 1), (end - begin) * 3 // 2)
            guesses += 1
            known = over <= len(text)
            end = (fits + over) // 2 if known and guesses > GUESSES else max(fits + 1, min(begin + guess, over - 1))
        return max(fits, begin + 1)

    def _joined(self, text: str, spans: Iterable[TextSpan]) -> Iterator[TextSpan]:
        """Join what is small with the span before or after it, where both fit into one."""
        small, held = self._own_tokens / SMALL, None
        for span in spans:
            if held is None:
                held = span
                continue
            if min(held.tokens, span.tokens) < small:
                both = self._span(text, held.start, span.end)
                if both.tokens <= self._own_tokens:
                    held = both
                    continue
            yield held
            held = span
        if held is not None:
            yield held

    def _overlapping(self, text: str, spans: Iterable[TextSpan]) -> Iterator[TextSpan]:
        before: TextSpan | None = None
        for span in spans:
            yield span if before is None else self._extended(text, before, span)
            before = span

    def _extended(self, text: str, before: TextSpan, span: TextSpan) -> TextSpan:
        """A span that starts with the end of the one before it: as much as the overlap allows, in whole words."""
        low, high = before.start, before.end
        while low < high:
            middle = (low + high) // 2
            if self._count(text[middle : span.start]) <= self._overlap_tokens:
                high = middle
            else:
                low = middle + 1
        low = _word_start(text, low, before) if low > before.start else low
        # An estimate may be higher for less text, by a little; then half of the overlap is left out.
        while low < before.end:
            extended = self._span(text, low, span.end)
            if extended.tokens <= self._size_tokens and self._count(text[low : before.end]) <= self._overlap_tokens:
                return extended
            low = _word_start(text, (low + before.end + 1) // 2, before)
        return span


def _word_start(text: str, at: int, within: TextSpan) -> int:
    """The first start of a word from a place on, or the place itself where no blank follows in the span."""
    blank = _BLANKS.search(text, at - 1, within.end)
    return blank.end() if blank else at


def _line_start(text: str, begin: int, visible: int, widest: int) -> int:
    """Where a span starts that keeps the indentation of its first line."""
    newline = text.rfind("\n", begin, visible)
    start = newline + 1 if newline >= 0 else begin if begin == 0 or text[begin - 1] == "\n" else visible
    return start if visible - start <= widest else visible
