"""What `mapping.*` may say: a path of names with dots, or a JMESPath expression (jmespath.org) over the row.

Functions beside JMESPath's own: `header('name')`, `key()`, `topic()`, `partition()`, `offset()` and `timestamp()` (in
milliseconds since 1970) of the record; `parse_json(text)`, `base64(text)` and `html(text)` for what a text contains.
"""

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import jmespath
import orjson
from jmespath import functions
from jmespath.exceptions import JMESPathError, LexerError, ParseError

from streamdex.errors import ConfigurationError, Reason
from streamdex.intake.formats.ids import read_key
from streamdex.intake.formats.values import fault
from streamdex.model import JsonObject, Record

MISSING: Any = object()
"""What a path picks where there is nothing; null is something."""

_PLAIN = re.compile(r"[^\W\d][\w-]*(\.[\w-]+)*")
_TEXT: Any = {"types": ["string"]}
_BLOCKS = (
    "address, article, aside, blockquote, br, dd, div, dl, dt, figcaption, footer, form, h1, h2, h3, h4, h5, h6, "
    "header, hr, li, main, nav, ol, p, pre, section, table, td, th, tr, ul"
)

Pick = Callable[[JsonObject, Record], Any]


class Expression:
    """One expression of a setting. `name` is what a metadata field gets that it fills: the last name in it."""

    __slots__ = ("name", "pick", "text", "uses", "where")

    def __init__(self, text: str, where: str) -> None:
        """`where` is the setting. Raises ConfigurationError, with the place marked, for what cannot be read."""
        self.text = text.strip()
        self.where = where
        names = re.findall(r"[\w-]+", self.text)
        self.name = names[-1] if names else ""
        # A plain path is what nearly everybody writes: it takes a tenth of the time.
        plain = _PLAIN.fullmatch(self.text) is not None
        self.pick: Pick = _path(self.text) if plain else _jmespath(self.text, where)
        # The fields of a row that it may look at: rather one too many. None: it may look at all of them.
        whole = not plain and ("@" in self.text or "*" in self.text)
        self.uses = None if whole else frozenset(names[:1] if plain else names)

    def pick_or_none(self, row: JsonObject, record: Record) -> Any:
        """What it picks; None for null and for nothing."""
        found = self.pick(row, record)
        return None if found is MISSING else found


def _path(text: str) -> Pick:
    """Names with dots between them; a number picks from an array."""
    steps = text.split(".")
    if len(steps) == 1:
        return lambda row, _: row.get(text, MISSING)

    def pick(row: JsonObject, _: Record) -> Any:
        value: Any = row
        for step in steps:
            if type(value) is dict:
                value = value.get(step, MISSING)
            elif type(value) is list and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                return MISSING
        return value

    return pick


def _jmespath(text: str, where: str) -> Pick:
    try:
        compiled = jmespath.compile(text)
    except (LexerError, ParseError, JMESPathError) as error:
        at = getattr(error, "lex_position", None) or getattr(error, "lexer_position", None) or len(text)
        marked = f"{text[:at]}⟨here⟩{text[at:]}"
        fix = "Write names with dots, such as author.name, or a JMESPath expression (jmespath.org)."
        raise ConfigurationError(f"the expression cannot be read: {marked}", where, fix) from None

    def pick(row: JsonObject, record: Record) -> Any:
        try:
            found = compiled.search(row, jmespath.Options(custom_functions=_RecordFunctions(record)))
        except JMESPathError as error:  # its text quotes the value
            kind = type(error).__name__
            raise fault(f"{where} cannot be worked out for this record: {kind}", Reason.WRONG_TYPE) from None
        return MISSING if found is None else found

    return pick


class _RecordFunctions(functions.Functions):
    """Ours, beside those of JMESPath. The library finds them by their prefix."""

    def __init__(self, record: Record) -> None:
        self._record = record

    @functions.signature(_TEXT)
    def _func_header(self, name: str) -> str | None:
        for found, value in self._record.headers:
            if found == name and value is not None:
                return value.decode(errors="replace")
        return None

    @functions.signature()
    def _func_key(self) -> Any:
        return read_key(self._record.key) if self._record.key else None

    @functions.signature()
    def _func_topic(self) -> str:
        return self._record.topic

    @functions.signature()
    def _func_partition(self) -> int:
        return self._record.partition

    @functions.signature()
    def _func_offset(self) -> int:
        return self._record.offset

    @functions.signature()
    def _func_timestamp(self) -> int:
        return self._record.timestamp_ms

    @functions.signature({"types": ["string", "null"]})
    def _func_parse_json(self, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:  # its text quotes the value
            raise fault("parse_json() met a text that is not JSON", Reason.NOT_JSON) from None

    @functions.signature({"types": ["string", "null"]})
    def _func_base64(self, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            return base64.b64decode(text, validate=True).decode()
        except ValueError:  # UnicodeDecodeError is one
            raise fault("base64() met what is not a text in base64", Reason.WRONG_TYPE) from None

    @functions.signature({"types": ["string", "null"]})
    def _func_html(self, text: str | None) -> str | None:
        """The text that a browser would show, block by block."""
        from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415  # 5 MB that most deployments never need

        if text is None:
            return None
        page = LexborHTMLParser(text)
        page.strip_tags(["script", "style", "template", "noscript", "head"])
        for node in page.css(_BLOCKS):
            node.insert_before("\n")
            node.insert_after("\n")
        lines = (" ".join(line.split()) for line in page.text().splitlines())
        return "\n".join(line for line in lines if line)


def split_list(text: str) -> Iterator[str]:
    """The expressions of a list with commas; those within brackets and quotes belong to the expression."""
    depth, quote, start = 0, "", 0
    for at, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote and text[at - 1] != "\\" else quote
        elif sign in "'\"`":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif sign == "," and not depth:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()
