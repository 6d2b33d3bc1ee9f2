"""I5: lag 0 within a minute of healing. I6: what a process holds is bounded. And whether the campaign itself went well.
Pure.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from chaos.checker.events import LogRecord, Place
from chaos.checker.evidence import Line, Produced
from chaos.checker.report import Report

LAG_ZERO_WITHIN_S = 60.0

MIB = 1024 * 1024
BOUNDS = {"rss_bytes": 400 * MIB, "fds": 200, "threads": 64, "tasks": 2_000}
# What a process may grow by once it is warm, as a share and at least by so much: a small number is not a trend.
GROWTH = {"rss_bytes": (0.15, 24 * MIB), "fds": (0.25, 20), "threads": (0.25, 8), "tasks": (0.5, 200)}
WARM_S = 60.0
TREND_S = 120.0  # a process that lived less beyond its warming up shows no trend


def check_lag(events: Sequence[Line], committed: Mapping[int, int], ends: Mapping[int, int]) -> Report:
    """I5, and that the lag is 0 now."""
    report = Report()
    took: list[float] = []
    healed: float | None = None
    for event in events:
        if event["kind"] == "healed":
            if healed is not None:
                report.violate("I5", "the lag never came to 0 after healing", healed=healed)
            healed = event["at"]
        elif event["kind"] == "lag_zero" and healed is not None:
            took.append(event["at"] - healed)
            if took[-1] > LAG_ZERO_WITHIN_S:
                report.violate("I5", "the lag came to 0 too late", after_s=round(took[-1], 1))
            healed = None
    if healed is not None:
        report.violate("I5", "the lag never came to 0 after healing", healed=healed)
    if not took:
        report.violate("I5", "nothing was healed and drained")
    for partition, end in ends.items():
        if end > committed.get(partition, 0):
            lag = end - committed.get(partition, 0)
            report.violate("I5", "a partition is not committed to its end", partition=partition, lag=lag)
    report.figures = {"healed": len(took), "longest s": round(max(took, default=0.0), 1)}
    return report


def check_bounds(samples: Iterable[Line]) -> Report:
    """I6, process by process."""
    report = Report()
    of: dict[str, list[Line]] = defaultdict(list)
    for sample in samples:
        of[sample["worker"]].append(sample)
    highest: dict[str, float] = {}
    trends = 0
    for worker, taken in of.items():
        trends += _check_process(worker, sorted(taken, key=lambda sample: float(sample["at"])), highest, report)
    if not of:
        report.violate("I6", "nobody looked at the workers' processes")
    report.figures = {"processes": len(of), "long enough for a trend": trends, **highest}
    return report


def _check_process(worker: str, taken: Sequence[Line], highest: dict[str, float], report: Report) -> bool:
    warm = [sample for sample in taken if sample["at"] >= taken[0]["at"] + WARM_S]
    has_trend = bool(warm) and warm[-1]["at"] - warm[0]["at"] >= TREND_S
    for what, bound in BOUNDS.items():
        values = [sample[what] for sample in taken if what in sample]
        if not values:
            continue
        highest[f"most {what}"] = max(*values, highest.get(f"most {what}", 0))
        if max(values) > bound:
            report.violate("I6", f"{what} beyond its bound", worker=worker, most=max(values), bound=bound)
        if has_trend:
            third = max(1, len(warm) // 3)
            first = statistics.median(sample[what] for sample in warm[:third])
            last = statistics.median(sample[what] for sample in warm[-third:])
            share, least = GROWTH[what]
            if last - first > max(first * share, least):
                report.violate("I6", f"{what} keeps growing", worker=worker, first=first, last=last)
    return has_trend


def check_campaign(
    events: Sequence[Line],
    produced: Mapping[Place, Produced],
    records: Sequence[LogRecord],
    no_events: Iterable[Place],
) -> Report:
    """I0: no process ended by itself, and the topic holds what was produced and nothing aborted.

    Faults are counted here; whether enough of them fired is the ledger's to say.
    `no_events`: the places of records that the checker cannot read as an event; the generator must have meant them so.
    """
    report = Report()
    _count_faults(events, report)
    for event in events:
        if event["kind"] == "worker_exited" and not event.get("expected", True):
            report.violate("I0", "a worker ended by itself", worker=event["worker"], code=event["code"])
    standing = {record.place: record for record in records}
    for place, each in produced.items():
        record = standing.get(place)
        if each.aborted:
            if record is not None:
                report.violate("I0", "an aborted record is visible", place=place)
        elif record is None:
            report.violate("I0", "the topic has lost an acknowledged record", place=place)
        elif (record.key, record.value, record.headers) != (each.record.key, each.record.value, each.record.headers):
            report.violate("I0", "the topic has another record than was acknowledged", place=place)
    for place in no_events:
        if place in produced and not produced[place].poison:
            report.violate("I0", "the checker cannot read what the generator meant as an event", place=place)
    report.figures["records"] = len(records)
    report.figures["without acknowledgement"] = len(standing.keys() - produced.keys())
    report.figures["aborted"] = sum(each.aborted for each in produced.values())
    report.figures["kinds"] = dict(Counter(each.kind for each in produced.values()).most_common())
    return report


def _count_faults(events: Iterable[Line], report: Report) -> None:
    fired: Counter[str] = Counter()
    going_on: set[int] = set()
    silent = 0
    for event in events:
        if event["kind"] == "fault_started":
            going_on.add(event["number"])
        elif event["kind"] == "fault_ended":
            going_on.discard(event["number"])
            fired[event["fault"]] += bool(event["fired"])
            silent += not event["fired"]
    if going_on:
        report.violate("I0", "faults did not end before the judgement", numbers=sorted(going_on))
    report.figures = {"faults fired": fired.total(), "faults not set or silent": silent}
