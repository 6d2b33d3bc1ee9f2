"""One list of metrics and log events: code, docs, dashboard and alerts all hold to it."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamdex.telemetry import EXPORTED, Counts, Metrics
from tools import readme
from tools.readme import ROOT

TELEMETRY = ROOT / "worker" / "streamdex" / "telemetry.py"
CODE = [path for path in (ROOT / "worker").rglob("*.py") if path != TELEMETRY]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "streamdex.json").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy" / "alerts" / "streamdex.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
METRICS = {one.name: one for one in Metrics().described}
# What Prometheus adds to every series, and what a histogram's buckets have.
COMMON_LABELS = {"job", "instance", "le"}


def panels(of: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in of["panels"]:
        yield panel
        if panel["type"] == "row":
            yield from panels(panel)


QUERIES = [target["expr"] for panel in panels(DASHBOARD) for target in panel.get("targets", ())]
EXPRESSIONS = [rule["expr"] for rule in RULES]


def named(expression: str) -> set[str]:
    """The metrics of an expression, a histogram's by its own name."""
    names = set(re.findall(r"\b(?:streamdex|process)_[a-z_]+", expression))
    return {name if name in METRICS else re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_the_documents_tables_are_those_of_the_code() -> None:
    text = readme.TELEMETRY.read_text(encoding="utf-8")
    assert readme.render(readme.TELEMETRY, text) == text, "docs/telemetry.md is stale: run `make docs`"
    assert all(f"| `{name}` |" in text for name in METRICS)
    assert all(f"| `{signal.event}` |" in text for signal in readme.signals().values())


def test_what_is_described_is_what_is_served() -> None:
    """The list is written beside the registry, so it is held against it."""
    metrics = Metrics()
    served = {family.name for family in metrics.registry.collect() if family.name.startswith("streamdex_")}
    assert {name.removesuffix("_total") for name in METRICS} == served
    for line in metrics.text().decode().splitlines():
        if line.startswith("# TYPE streamdex_") and not line.split()[2].endswith("_created"):
            _, _, name, kind = line.split()
            assert METRICS[name].kind == kind


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    shown = set().union(*map(named, QUERIES))
    process = set(re.findall(r"process_[a-z_]+", Metrics().text().decode()))
    assert METRICS.keys() - shown == set()
    assert shown - METRICS.keys() - process == set()


def test_the_alerts_rest_on_metrics_that_there_are() -> None:
    for rule in RULES:
        assert named(rule["expr"]), rule["alert"]
        assert named(rule["expr"]) <= METRICS.keys(), rule["alert"]


@pytest.mark.parametrize("expression", [*QUERIES, *EXPRESSIONS])
def test_labels_are_those_that_the_metrics_have(expression: str) -> None:
    labels = COMMON_LABELS.union(*(METRICS[name].labels for name in named(expression) & METRICS.keys()))
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")}
    selected = set(re.findall(r"[{,]\s*([a-z_]+)\s*(?:=~|!~|!=|=)", expression))
    assert grouped | selected <= labels


def test_legends_name_labels_that_their_queries_keep() -> None:
    for panel in panels(DASHBOARD):
        for target in panel.get("targets", ()):
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), target["expr"]


def test_every_alert_says_what_it_means_and_how_bad_it_is() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 5
    for rule in RULES:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    each = list(panels(DASHBOARD))
    assert len({panel["id"] for panel in each}) == len(each)
    taken: set[tuple[int, int]] = set()
    for panel in each:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def names_used(path: Path) -> Iterator[str]:
    """Names and attributes that a module reads."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr


def counted(path: Path) -> Iterator[str]:
    """Attributes that a module adds to, or to an element of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AugAssign):
            target = node.target.value if isinstance(node.target, ast.Subscript) else node.target
            if isinstance(target, ast.Attribute):
                yield target.attr


def test_every_metric_is_fed_and_every_log_event_emitted() -> None:
    used = {name for path in CODE for name in names_used(path)}
    fed = [name for name, value in vars(Metrics()).items() if hasattr(value, "labels")]
    assert len(fed) + len(EXPORTED) + 1 == len(METRICS)  # that one is a histogram
    assert set(fed) - used == set()
    assert {one.name for one in fields(Counts)} - {
        name for path in (*CODE, TELEMETRY) for name in counted(path)
    } == set()
    assert "settled" in used
    assert readme.signals().keys() - used - {"SERVICE_BACK"} == set()  # that one is for `Health` alone
