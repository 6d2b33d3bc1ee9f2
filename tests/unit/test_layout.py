"""The folder list draws the architecture: CONTRIBUTING's map, the packages' promises, no cycles, no long functions."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "worker" / "streamdex"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROMISE_CHARACTERS = 60
LONGEST_LINES = 50
LOOSE_MODULES = 6


def packages() -> list[Path]:
    return sorted(path.parent for path in MODULES if path.name == "__init__.py")


def mapped() -> dict[str, set[str]]:
    """By package (the path in the first column), the modules that the map in CONTRIBUTING names."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| `(worker/streamdex/[\w/]*)` \|(.*)\|$", text, re.MULTILINE)
    assert rows, "CONTRIBUTING has no map"
    return {where: set(re.findall(r"`(\w+)\.py`", row)) for where, row in rows}


def test_the_map_names_every_module_and_no_other() -> None:
    there: dict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        if path.name not in ("__init__.py", "__main__.py"):
            there[f"{path.parent.relative_to(ROOT)}/"].add(path.stem)
    assert mapped() == dict(there)


def test_there_are_few_loose_modules() -> None:
    loose = [path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]
    assert len(loose) <= LOOSE_MODULES, loose


@pytest.mark.parametrize("package", packages(), ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_a_package_says_what_it_promises(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    assert len(text) >= PROMISE_CHARACTERS, text


def imports_of(path: Path) -> Iterator[str]:
    """The modules of ours that a module imports when it is imported itself."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = {name_of(path): path for path in MODULES}
    graph = {name: sorted(set(imports_of(path)) & known.keys() - {name}) for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in graph[name]:
                if not other.startswith(f"{name}."):  # a package imports its own modules
                    visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_class_name_means_two_things() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(str(path.relative_to(PACKAGE)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_function_is_long() -> None:
    long = {
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}": length
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_LINES
    }
    assert long == {}
