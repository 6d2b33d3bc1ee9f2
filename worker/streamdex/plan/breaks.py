"""Where a text may be cut, by what it is: prose, Markdown or code.

All of it is linear in the text: patterns repeat only what no other part of them matches, or a bounded number of times.
"""

import re
from bisect import bisect_right
from typing import Literal, NamedTuple

Mode = Literal["prose", "markdown", "code"]


class Break(NamedTuple):
    """A kind of place where a text may be cut: at the end of a match, but not before this share of what fits."""

    pattern: re.Pattern[str]
    least: float


class Headings(NamedTuple):
    """Headings of a Markdown text in order, those right below each other as one: where they start and end."""

    starts: list[int]
    ends: list[int]


_BLANK_LINE = Break(re.compile(r"\n[ \t\r]*\n"), 0.25)
_TOP_LEVEL = Break(re.compile(r"\n[ \t\r]*\n(?=[^\s)}\]])"), 0.25)  # in code: what follows is not indented
_LIST_ITEM = Break(re.compile(r"\n(?=[ \t]{0,8}(?:[-*+]|\d{1,9}[.)])[ \t])"), 0.5)
_LINE = Break(re.compile(r"[\n\r\u2028\u2029]"), 0.5)
_SENTENCE = Break(re.compile(r"(?<=[.!?…؟۔।॥])[\"'”’»)\]]{0,3}\s|[。！？｡][」』）】”’]{0,3}"), 0.5)  # noqa: RUF001  # other scripts
_CLAUSE = Break(re.compile(r"(?<=[,;:،؛])\s|[、，；：]"), 0.5)  # noqa: RUF001  # likewise
_BLANK = Break(re.compile(r"\s+"), 0.25)
_SYMBOL = Break(re.compile(r"[,;|&}\])>/=]"), 0.5)  # within a word: data in one line, addresses

# Best first. In Markdown the headings come before all of these.
KINDS: dict[Mode, tuple[Break, ...]] = {
    "prose": (_BLANK_LINE, _LINE, _SENTENCE, _CLAUSE, _BLANK, _SYMBOL),
    "markdown": (_BLANK_LINE, _LIST_ITEM, _LINE, _SENTENCE, _CLAUSE, _BLANK, _SYMBOL),
    "code": (_TOP_LEVEL, _BLANK_LINE, _LINE, _BLANK, _SYMBOL),
}
# A text may be cut before a heading from this share of what fits: whole sections are worth shorter chunks.
HEADING_LEAST = 0.125

_HEADING_OR_FENCE = re.compile(
    r"^ {0,3}(?:(?P<fence>`{3,}|~{3,})[^`\n]*|#{1,6}(?:[ \t][^\n]*)?)$"
    r"|(?:\A|(?<=\n\n)|(?<=\n\r\n)) {0,3}\S[^\n]*\n {0,3}(?:=+|-+)[ \t\r]*$",
    re.MULTILINE,
)
# What belongs to the character before it: marks, joiners, variation selectors, skin tones.
_ATTACHED = re.compile(
    r"[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    r"\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20ff\u3099\u309a\ufe00-\ufe0f\ufe20-\ufe2f\U0001f3fb-\U0001f3ff]"
)
_LONGEST_CHARACTER = 32

LOOK_CHARACTERS = 8_192
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_ATX = re.compile(r"(?:\A|\n[ \t\r]*\n)#{1,6} \S")
_MARKDOWN = re.compile(
    r"\[[^\]\n]{1,100}\]\([^)\s]{1,300}\)|\*\*[^*\n]{1,100}\*\*|^ {0,3}[-*+] \S|^\|? *:?-{3,}:? *\|",
    re.MULTILINE,
)
_CODE_LINE = re.compile(
    r"^[ \t]*(?:(?:def|class|if|elif|else|for|while|with|try|except|finally|async|match|case)\b.*:"
    r"|(?:import|from|package|using|return|const|let|var|func|fn|pub|public|private|static|export)\b(?:.*[^.!?,\s])?"
    r"|[\w.\[\]\"']+ ?[-+*/|&:]?= ?\S.*|[\w.]+\(.*\)|.*[;{}]|[\])}]+[,;]?|//.*)[ \t\r]*$"
)
CODE_SHARE = 0.4


def look(text: str) -> Mode:
    """What a text is, by its first 8,192 characters.

    Code fences make it Markdown. Else it is code when it starts with `#!`, or when at least 40 % of its lines look like
    code: they end with `;`, `{`, `}` or, after a keyword, with a colon, or are an assignment, a call, an import. Else a
    heading (`#` after a blank line) and one more sign of Markdown make it that: another heading, a link, a list item,
    bold text or a table. All else is prose.
    """
    head = text[:LOOK_CHARACTERS]
    # The plain searches come first: they cost a fiftieth, and most texts have neither fences nor headings.
    if ("```" in head or "~~~" in head) and len(_FENCE.findall(head)) > 1:
        return "markdown"
    lines = [line[:200] for line in head.splitlines() if not line.isspace() and line]
    code = sum(1 for line in lines if _CODE_LINE.match(line))
    if head.startswith("#!") or (len(lines) > 2 and code >= CODE_SHARE * len(lines)):
        return "code"
    headings = len(_ATX.findall(head)) if "#" in head else 0
    return "markdown" if headings > 1 or (headings and _MARKDOWN.search(head)) else "prose"


def headings(text: str) -> Headings:
    """The headings of a Markdown text, outside of its code fences."""
    found, fence = Headings([], []), ""
    for match in _HEADING_OR_FENCE.finditer(text):
        mark = match["fence"]
        if mark:
            if not fence:
                fence = mark
            elif mark.startswith(fence) and match[0].strip() == mark:
                fence = ""
        elif not fence:
            start, end = match.span()
            if found.ends and not text[found.ends[-1] : start].strip():
                found.ends[-1] = end
            else:
                found.starts.append(start)
                found.ends.append(end)
    return found


class Breaks:
    """Where one text may be cut."""

    def __init__(self, text: str, mode: Mode) -> None:
        self._text = text
        self._kinds = KINDS[mode]
        self._headings = headings(text) if mode == "markdown" else Headings([], [])

    def best(self, begin: int, limit: int) -> int:
        """Where to end a span that starts at `begin` and fits up to `limit`: the last place of the best kind."""
        least = begin
        above = bisect_right(self._headings.starts, limit) - 1
        if above >= 0 and self._headings.starts[above] >= begin:
            if self._headings.starts[above] > begin + (limit - begin) * HEADING_LEAST:
                return self._headings.starts[above]
            # Some of what follows a heading stays with it.
            least = self._after(self._headings.ends[above], limit)
        for kind in self._kinds:
            first = max(least, begin + int((limit - begin) * kind.least)) + 1
            last = self._last(kind.pattern, first, limit)
            if last is not None:
                return last
        return self._within_a_word(begin, limit)

    def _last(self, pattern: re.Pattern[str], first: int, limit: int) -> int | None:
        """The end of the last match up to the limit; a blank right behind the limit may belong to the match."""
        last, blank = None, self._text[limit].isspace()
        for match in pattern.finditer(self._text, first, limit + 1):
            if match.end() <= limit or blank:
                last = min(match.end(), limit)
        return last

    def _after(self, end: int, limit: int) -> int:
        """Where the text behind a heading starts; where that is out of reach, the heading may be cut, too."""
        while end < limit and self._text[end].isspace():
            end += 1
        return end if end < limit else 0

    def _within_a_word(self, begin: int, limit: int) -> int:
        """An end that does not take a mark or a joined part from its character, where one is near."""
        for end in range(limit, max(begin, limit - _LONGEST_CHARACTER), -1):
            if not _ATTACHED.match(self._text, end) and self._text[end - 1] != "\u200d":
                return end
        return limit
