"""I1: what is committed has its outcome. I4: it had it before the commit. Pure.

I1 derives outcomes from state alone, never from what workers say: the manifest of the record's document ranks as high
as the record, or its dead letter is there, or it deletes what is not there anyway.

I4 asks when. Four questions, of which the last is the strong one:
- A commit never goes back: what an owner has committed, no other takes back.
- A commit never passes the log's end.
- The first dead letter of a record was made before the first commit that passes it (the producer's timestamp is taken
  before the send, the broker's of the commit after it).
- `watch.py` reads, at every advance of the commits and while the campaign runs, the manifests of what the commit has
  just passed. What is not there then is lost if the worker dies then.
Rejected: comparing `indexed_at` of the final points with the commits. A writer that lost its partition may write the
same event again, at the same rank, after the new owner has committed; that is allowed.
"""

import bisect
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from chaos.checker.dead_letters import Letter
from chaos.checker.events import LogRecord, NoEvent, Place, Ranking, decode
from chaos.checker.evidence import Commit, Line
from chaos.checker.report import Report
from chaos.checker.store import Held

CLOCKS_S = 0.002  # two clocks of one machine, both cut to milliseconds


def check_outcomes(
    records: Iterable[LogRecord],
    committed: Mapping[int, int],
    dead_lettered: Collection[Place],
    held: Held,
    ranking: Ranking,
) -> Report:
    """I1. `dead_lettered`: the places of all dead letters."""
    report = Report()
    outcomes: Counter[str] = Counter()
    for record in records:
        if record.offset >= committed.get(record.partition, 0):
            outcomes["not committed"] += 1
            continue
        outcome = "dead letter" if record.place in dead_lettered else _outcome(record, held, ranking)
        outcomes[outcome or "none"] += 1
        if outcome is None:
            report.violate("I1", "a committed record has no outcome", place=record.place)
    report.figures = {"records": outcomes.total(), **outcomes}
    return report


def _outcome(record: LogRecord, held: Held, ranking: Ranking) -> str | None:
    try:
        event = decode(record)
        rank = ranking.of(record, event)
    except NoEvent:
        return None
    manifests = held.manifests.get(event.document_id, [])
    if any(ranking.stored(manifest.payload)[0] >= rank for manifest in manifests):
        return "in the manifest"
    if event.text is None and not manifests and event.document_id not in held.points:
        return "nothing to delete"
    return None


class Passed:
    """When commits first passed which offset."""

    def __init__(self, commits: Iterable[Commit]) -> None:
        self._offsets: dict[int, list[int]] = {}
        self._times: dict[int, list[float]] = {}
        for commit in commits:
            offsets = self._offsets.setdefault(commit.partition, [])
            if not offsets or commit.offset > offsets[-1]:
                offsets.append(commit.offset)
                self._times.setdefault(commit.partition, []).append(commit.at)

    def at(self, place: Place) -> float | None:
        """When the first commit beyond a place was made; None when there was none."""
        partition, offset = place
        number = bisect.bisect_right(self._offsets.get(partition, []), offset)
        times = self._times.get(partition, [])
        return times[number] if number < len(times) else None


def seen_by_watch(watched: Iterable[Line]) -> int:
    """How many records the watch has dealt with."""
    return sum(line["checked"] + line["passed_over"] for line in watched if "trouble" not in line)


def check_commits(
    commits: Sequence[Commit],
    ends: Mapping[int, int],
    dead_letters: Iterable[Letter],
    watched: Iterable[Line],
    settled: int,
) -> Report:
    """I4. `watched`: what `watch.py` has written. `settled`: how many records the commits have passed by now."""
    report = Report()
    highest: dict[int, int] = {}
    for commit in commits:
        if commit.offset < highest.get(commit.partition, 0):
            back = highest[commit.partition] - commit.offset
            report.violate("I4", "a commit went back", partition=commit.partition, offset=commit.offset, by=back)
        highest[commit.partition] = max(commit.offset, highest.get(commit.partition, 0))
        if commit.offset > ends.get(commit.partition, 0):
            report.violate("I4", "a commit passes the log's end", partition=commit.partition, offset=commit.offset)
    _check_letters_first(Passed(commits), dead_letters, report)
    report.figures = {"commits": len(commits), **_take_watched(watched, settled, report)}
    return report


def _check_letters_first(passed: Passed, dead_letters: Iterable[Letter], report: Report) -> None:
    first: dict[Place, float] = {}
    for dead_letter in dead_letters:
        if dead_letter.place is not None:
            sent = dead_letter.record.timestamp_ms / 1000
            first[dead_letter.place] = min(sent, first.get(dead_letter.place, sent))
    for place, sent in first.items():
        at = passed.at(place)
        if at is not None and sent > at + CLOCKS_S:
            report.violate(
                "I4", "a commit passed a record before its dead letter", place=place, by_s=round(sent - at, 3)
            )


def _take_watched(watched: Iterable[Line], settled: int, report: Report) -> dict[str, object]:
    counts: Counter[str] = Counter()
    delays: list[float] = []
    for line in watched:
        if "trouble" in line:
            counts["looks that came to nothing"] += 1
            continue
        counts["advances"] += 1
        counts["records looked at"] += line["checked"]
        counts["records passed over"] += line["passed_over"]
        delays.append(line["read_at"] - line["at"])
        for place in line["unsettled"]:
            report.violate(
                "I4", "a commit passed a record that the store did not know", place=tuple(place), at=line["at"]
            )
    missed = settled - counts["records looked at"] - counts["records passed over"]
    if missed > 0:
        report.violate("I4", "commits passed records while nobody watched", records=missed)
    delays.sort()
    figures: dict[str, object] = dict(counts)
    if delays:
        middle, late = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
        figures |= {"read after s, median": round(middle, 4), "read after s, p99": round(late, 4)}
    return figures
