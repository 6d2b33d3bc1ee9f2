"""Describes a bug that ends a command by its kind and place, for a bug report.

Not by a traceback: an exception's words may quote a key, an address with credentials, or a document.
"""

from collections.abc import Iterator
from traceback import extract_tb


def describe(bug: BaseException) -> str:
    """Lines for stderr: the exceptions' kinds, and where each one was raised."""
    lines = [f"Internal error: {line}" if number == 0 else line for number, line in enumerate(_lines(bug))]
    return "\n".join([*lines, "This is a bug of streamdex: please report it with these lines.", ""])


def _lines(bug: BaseException) -> Iterator[str]:
    yield type(bug).__name__
    for frame in extract_tb(bug.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
    inside = bug.exceptions if isinstance(bug, BaseExceptionGroup) else ()
    for one in (*inside, *((bug.__cause__,) if bug.__cause__ else ())):
        yield from _lines(one)
