r"""The text of a document: one expression, or a template such as `{title}\n\n{summary?}`.

Braces hold expressions; a `?` behind one makes it optional: when it is null or missing, it vanishes with the blank
lines before it. `{{` and `}}` stand for braces.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import orjson

from streamdex.errors import ConfigurationError, Reason
from streamdex.intake.formats.expressions import MISSING, Expression
from streamdex.intake.formats.values import fault, kind_of
from streamdex.model import JsonObject, Record

WHERE = "mapping.text"

Text = Callable[[JsonObject, Record], str]


class _Part(NamedTuple):
    """An expression in braces, and the literal text before it."""

    before: str
    expression: Expression
    optional: bool


def text_of(template: str) -> tuple[Text, tuple[Expression, ...]]:
    """What makes the text out of a row, and the expressions that it uses. Raises ConfigurationError."""
    if "{" not in template and "}" not in template:
        expression = Expression(template, WHERE)
        return lambda row, record: _required_text(expression, row, record), (expression,)
    try:
        parts, rest = _parsed(template)
    except ValueError:
        fix = "Write expressions in braces, such as {title} - {body}, and {{ or }} for braces themselves."
        raise ConfigurationError("the template cannot be read", WHERE, fix) from None
    return lambda row, record: _filled(parts, rest, row, record), tuple(part.expression for part in parts)


def _filled(parts: list[_Part], rest: str, row: JsonObject, record: Record) -> str:
    """Of two literals around what vanished, the first loses its blank lines."""
    text = ""
    for before, expression, optional in parts:
        found = expression.pick(row, record)
        if optional and (found is MISSING or found is None or found == ""):
            text += before.rstrip("\n")
            continue
        text += before if text else before.lstrip("\n")
        text += found if type(found) is str else _as_text(expression, found)
    return text + rest


def _parsed(template: str) -> tuple[list[_Part], str]:
    """The parts, and the literal text behind the last one. Raises ValueError."""
    parts: list[_Part] = []
    literal = ""
    for kind, fragment in _fragments(template):
        if kind == "literal":
            literal += fragment
            continue
        inner = fragment.strip()
        optional = inner.endswith("?")
        parts.append(_Part(literal, Expression(inner.removesuffix("?"), WHERE), optional))
        literal = ""
    return parts, literal


def _fragments(template: str) -> Iterator[tuple[str, str]]:
    """Literal text, and what stands in braces. Raises ValueError for a brace without its other one."""
    at = 0
    while at < len(template):
        if template[at : at + 2] in ("{{", "}}"):
            yield "literal", template[at]
            at += 2
        elif template[at] == "{":
            end = _end_of_braces(template, at + 1)
            yield "expression", template[at + 1 : end]
            at = end + 1
        elif template[at] == "}":
            raise ValueError("a brace that closes nothing")
        else:
            yield "literal", template[at]
            at += 1


def _end_of_braces(template: str, start: int) -> int:
    """Where the expression's closing brace stands; braces of its own, and those in quotes, are part of it."""
    depth, quote = 0, ""
    for at in range(start, len(template)):
        sign = template[at]
        if quote:
            quote = "" if sign == quote and template[at - 1] != "\\" else quote
        elif sign in "'\"`":
            quote = sign
        elif sign == "{":
            depth += 1
        elif sign == "}" and depth:
            depth -= 1
        elif sign == "}":
            return at
    raise ValueError("a brace that is never closed")


def _required_text(expression: Expression, row: JsonObject, record: Record) -> str:
    found = expression.pick(row, record)
    if type(found) is str:
        return found
    raise _no_text(expression, found)


def _as_text(expression: Expression, found: object) -> str:
    if type(found) is str:
        return found
    if type(found) in (int, float, bool):
        return orjson.dumps(found).decode()
    raise _no_text(expression, found)


def _no_text(expression: Expression, found: object) -> Exception:
    if found is MISSING or found is None:
        what = "missing" if found is MISSING else "null"
        hint = f"; a template may leave it out: {{{expression.text}?}}"
        return fault(f"{expression.text} is {what}{hint}", Reason.MISSING_FIELD)
    return fault(f"{expression.text} is {kind_of(found)}, not a text", Reason.WRONG_TYPE)
