"""What is printed: a table for people, or one JSON object."""

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.scenarios import NEW, WORKER, Figures, Ratio, Results
from bench.stages import Profile

MIB = 1024 * 1024
BAR_US = 200.0
BAR_RATIO = 4.0
SAID = {
    "new": "new, one chunk, 2 KB",
    "redelivered": "the same again, all known",
    "deleted": "deletes",
    "updated": "40 chunks, one changed",
}


def print_results(results: Results, console: Console) -> None:
    """Tables of everything measured, and whether the worker's goal is met."""
    console.print(_figures_table(results))
    console.print(_requests_table(results))
    ours = results.of(NEW, WORKER)
    if ours is not None:
        console.print(_growth(ours))
    console.print(_place(results))
    if results.profile is not None:
        _print_profile(results.profile, console)
    if ours is not None:
        least = f"{ours.least_cpu_us:.0f} in the slice disturbed least"
        console.print(f"A new document: {ours.cpu_us:.0f} µs of CPU, {least} (bar {BAR_US:.0f}).")
    for ratio in results.ratios:
        console.print(_ratio(ratio))


def as_json(results: Results) -> dict[str, Any]:
    """The same as one object. Times in µs per document, memory in bytes."""
    return {
        "scenarios": [_figures_json(each) for each in results.figures],
        "script_to_worker_ratios": [each._asdict() for each in results.ratios],
        "core": results.core,
        "profile": None if results.profile is None else _profile_json(results.profile),
    }


def _figures_table(results: Results) -> Table:
    table = Table(title="CPU of the process measured: median of slices (least to most)")
    for name in (
        "documents are",
        "process",
        "documents",
        "CPU µs each",
        "",
        "per s",
        "RSS MiB",
        "embedded",
        "times CPU",
    ):
        table.add_column(name, justify="left" if name in ("documents are", "process") else "right")
    for figures in results.figures:
        ours = results.of(figures.scenario, WORKER)
        costs = [each.cpu_us for each in figures.slices]
        table.add_row(
            SAID[figures.scenario],
            figures.subject,
            f"{figures.documents:,}",
            f"{figures.cpu_us:,.0f}",
            f"({min(costs):,.0f} to {max(costs):,.0f})",
            f"{figures.rate:,.0f}",
            f"{figures.slices[-1].rss_bytes / MIB:.0f}",
            f"{figures.inputs:,}",
            f"{figures.cpu_us / ours.cpu_us:.1f}" if ours is not None and figures is not ours else "",
        )
    return table


def _requests_table(results: Results) -> Table:
    """How many requests to Qdrant a batch takes, and which."""
    table = Table(title="Requests to Qdrant per batch written (where nothing is written: per batch read)")
    for name in ("documents are", "process", "documents a batch", "requests a batch"):
        table.add_column(name, justify="right" if name.endswith("batch") else "left")
    table.add_column("of which")
    for figures in results.figures:
        by_method = [f"{count / figures.batches:.2f} {method}" for method, count in sorted(figures.requests.items())]
        table.add_row(
            SAID[figures.scenario],
            figures.subject,
            f"{figures.documents / figures.batches:.1f}",
            f"{figures.requests_per_batch:.2f}",
            ", ".join(by_method),
        )
    return table


def _growth(figures: Figures) -> str:
    costs = " ".join(f"{each.cpu_us:.0f}" for each in figures.slices)
    memory = " ".join(f"{each.rss_bytes / MIB:.0f}" for each in figures.slices)
    return f"New documents, slice by slice: CPU µs each {costs}; RSS MiB {memory}."


def _ratio(ratio: Ratio) -> str:
    if ratio.typical >= BAR_RATIO:
        proven_fault = "as promised"
    elif ratio.least >= BAR_RATIO:
        proven_fault = "as promised where nothing disturbs, LESS in this run's median"
    else:
        proven_fault = "LESS than promised"
    measured = f"{ratio.typical:.2f} times as much, {ratio.least:.2f} by the slices disturbed least"
    return f"The {ratio.subject} a number: {measured} (bar {BAR_RATIO:.0f}): {proven_fault}."


def _place(results: Results) -> str:
    if results.core is None:
        return "All processes shared the cores: figures differ more from slice to slice."
    return f"The process measured had core {results.core} to itself; all others shared the rest."


def _print_profile(profile: Profile, console: Console) -> None:
    table = Table(title="CPU of a new document by stage: sampled each ms of CPU, scaled to the unsampled total")
    for name in ("stage", "µs", "budget"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in profile.stages:
        table.add_row(stage.name, f"{stage.cpu_us:.1f}", f"{stage.budget_us:.0f}" if stage.budget_us else "")
    total_us = sum(stage.cpu_us for stage in profile.stages)
    table.add_row("all", f"{total_us:.0f}", f"{sum(stage.budget_us for stage in profile.stages):.0f}", style="bold")
    console.print(table)
    table = Table(title="The dearest places by their own time; C code counts for its caller")
    table.add_column("µs", justify="right")
    table.add_column("place", overflow="fold")
    for place, cpu_us in profile.functions:
        table.add_row(f"{cpu_us:.1f}", place)
    console.print(table)


def _figures_json(figures: Figures) -> dict[str, Any]:
    return {
        "scenario": figures.scenario,
        "process": figures.subject,
        "documents": figures.documents,
        "cpu_us": figures.cpu_us,
        "least_cpu_us": figures.least_cpu_us,
        "documents_per_s": figures.rate,
        "rss_bytes": figures.slices[-1].rss_bytes,
        "inputs_embedded": figures.inputs,
        "requests_per_batch": figures.requests_per_batch,
        "requests": dict(figures.requests),
        "slices": [
            {"documents": each.documents, "cpu_us": each.cpu_us, "rss_bytes": each.rss_bytes} for each in figures.slices
        ],
    }


def _profile_json(profile: Profile) -> dict[str, Any]:
    return {
        "stages": [{"stage": each.name, "us": each.cpu_us, "budget_us": each.budget_us} for each in profile.stages],
        "functions": [{"place": place, "us": cpu_us} for place, cpu_us in profile.functions],
    }
