"""Real text that is on every machine: the documentation of the Python standard library that runs this program."""

import ast
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from streamdex.model import JsonObject

SHORTEST_CHARACTERS = 80  # shorter docstrings say no more than the name
_NOT_FOR_READERS = frozenset({"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__", "ensurepip"})


@dataclass(frozen=True, slots=True)
class SampleDocument:
    """A piece of documentation: `id` is its dotted name, such as json.dumps."""

    id: str
    text: str
    metadata: JsonObject


def sample_documents(most: int, most_bytes: int) -> list[SampleDocument]:
    """Up to `most` documents of together at most `most_bytes` of text, in an order that is the same at every call.

    The language reference's topics come first (they are long), then the docstrings of modules, classes and functions.
    """
    found: list[SampleDocument] = []
    seen: set[str] = set()
    left_bytes = most_bytes
    for document in chain(_topics(), _docstrings()):
        size = len(document.text.encode())
        if document.id in seen or size > left_bytes:
            continue
        if len(found) == most:
            break
        seen.add(document.id)
        found.append(document)
        left_bytes -= size
    return found


def _topics() -> Iterator[SampleDocument]:
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415  # some distributions leave it out
    except ImportError:
        return
    for name in sorted(topics):
        yield SampleDocument(f"topic.{name}", topics[name], {"kind": "topic", "module": "python"})


def _docstrings() -> Iterator[SampleDocument]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if _NOT_FOR_READERS.intersection(parts) or any(part.startswith("_") for part in parts[:-1]):
            continue
        module = ".".join(part for part in parts if part != "__init__")
        if module.partition(".")[0] in sys.stdlib_module_names:
            yield from _docstrings_of(module, path)


def _docstrings_of(module: str, path: Path) -> Iterator[SampleDocument]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, OSError, ValueError):  # a template, or a file for another version of the language
        return
    yield from _described(module, module, tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield from _described(f"{module}.{node.name}", module, node)


def _described(
    name: str, module: str, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
) -> Iterator[SampleDocument]:
    text = ast.get_docstring(node)
    if text and len(text) >= SHORTEST_CHARACTERS:
        kind = {ast.Module: "module", ast.ClassDef: "class"}.get(type(node), "function")
        yield SampleDocument(name, f"{name}\n\n{text}", {"kind": kind, "module": module})
