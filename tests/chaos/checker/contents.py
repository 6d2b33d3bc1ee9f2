"""I2: the collection and its manifests are the fold of the topic. Pure.

Every document is held against its last event (by rank, dead-lettered ones left out): rank and position, chunk ids,
texts, places, counts, metadata, versions. Nothing else may be there.

One thing is known to stay behind: points that rank below their document's manifest and are not in it, left by a writer
that died between the steps of a write, or whose last request landed after its death. They are handed out apart, as
`Stale`; `tenure.py` says whether a death explains them. Everything else is a violation at once. So is a point that the
manifest lists and that ranks below it: no death explains that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from chaos.checker.events import Rank, Ranked, Ranking
from chaos.checker.report import Report
from chaos.checker.store import Held, Payload, Point


class Stale(NamedTuple):
    """A point below its document's manifest and not in it. `at`: when its writer began to write, in Unix seconds."""

    document_id: str
    point: str
    at: float
    partition: int
    offset: int


@dataclass(slots=True)
class Contents:
    """What is wrong, and what is left behind."""

    report: Report = field(default_factory=Report)
    stale: list[Stale] = field(default_factory=list)


def check_contents(topic: str, histories: Mapping[str, Sequence[Ranked]], held: Held, ranking: Ranking) -> Contents:
    """Hold everything that is held against the documents' histories."""
    contents = Contents()
    generations = held.generations
    for key in histories.keys() | held.manifests.keys() | held.points.keys():
        judged = _Document(key, topic, ranking, generations, contents)
        judged.check(histories.get(key, ()), held.manifests.get(key, []), held.points.get(key, []))
    deleted = sum(history[-1].event.text is None for history in histories.values())
    contents.report.figures = {
        "documents": len(histories) - deleted,
        "deleted": deleted,
        "points": held.point_count,
        "manifests": sum(map(len, held.manifests.values())),
        "cuttings": sorted(generations),
    }
    return contents


@dataclass(frozen=True, slots=True)
class _Document:
    """One document while it is judged."""

    key: str
    topic: str
    ranking: Ranking
    generations: set[int]
    contents: Contents

    def wrong(self, what: str, **details: Any) -> None:
        self.contents.report.violate("I2", what, document=self.key, **details)

    def check(self, history: Sequence[Ranked], manifests: Sequence[Point], points: Sequence[Point]) -> None:
        if not history:
            self.wrong("points or a manifest of a document that no event names", points=len(points))
            return
        last = history[-1]
        if len(manifests) != 1:
            if manifests or points or last.event.text is not None:
                self.wrong("a document has not one manifest", manifests=len(manifests), points=len(points))
            return
        manifest = manifests[0].payload
        rank = self._check_manifest(last, manifest)
        self._check_points(last, manifest, rank, points)

    def _check_manifest(self, last: Ranked, manifest: Payload) -> Rank:
        rank, generation = self.ranking.stored(manifest)
        if rank != last.rank:
            which = "older" if rank < last.rank else "newer"
            self.wrong(f"a manifest is of an {which} event than the last", last=last.record.place)
        if generation not in self.generations or manifest.get("generation") != generation:
            self.wrong("a manifest is of a cutting that is not known", generation=generation)
        source = manifest.get("source", {})
        if not _is_of(source, self.topic, last) or source.get("timestamp") != last.record.timestamp_ms:
            self.wrong("a manifest names another source than its event's", last=last.record.place)
        if ("tombstone_until" in manifest) != (last.event.text is None):
            self.wrong("a manifest is a tombstone for no delete, or none for one", last=last.record.place)
        return rank

    def _check_points(self, last: Ranked, manifest: Payload, rank: Rank, points: Sequence[Point]) -> None:
        listed = list(manifest.get("chunks", []))
        places = {point_id: place for place, point_id in enumerate(listed)}
        if len(places) != len(listed):
            self.wrong("a manifest lists a chunk twice")
        texts: dict[int, str] = {}
        for point in points:
            if point.id not in places:
                self._check_extra(point, rank)
                continue
            place = places.pop(point.id)
            texts[place] = str(point.payload.get("text"))
            self._check_point(last, point, place, len(listed), manifest)
        if places:
            self.wrong("chunks that the manifest lists are not there", count=len(places), of=len(listed))
        if not places:
            self._check_texts(last, [texts[place] for place in sorted(texts)])

    def _check_extra(self, point: Point, rank: Rank) -> None:
        theirs, _ = self.ranking.stored(point.payload)
        source = point.payload.get("source") or {}
        if theirs >= rank or not {"partition", "offset"} <= source.keys():
            self.wrong("a point that its manifest does not list, and not older than it", point=point.id)
            return
        at = datetime.fromisoformat(point.payload["indexed_at"]).timestamp()
        self.contents.stale.append(Stale(self.key, point.id, at, source["partition"], source["offset"]))

    def _check_point(self, last: Ranked, point: Point, place: int, count: int, manifest: Payload) -> None:
        payload = point.payload
        wanted = {name: manifest.get(name) for name in ("version", "sequence") if name in manifest}
        wanted |= {"chunk": place, "chunks": count, "metadata": last.event.metadata}
        differing = [name for name, value in wanted.items() if not same(payload.get(name), value)]
        if not _is_of(payload.get("source") or {}, self.topic, last):
            differing.append("source")
        if differing:
            self.wrong("a chunk is not as its document's last event has it", point=point.id, differing=differing)

    def _check_texts(self, last: Ranked, texts: Sequence[str]) -> None:
        if list(texts) == last.event.paragraphs:
            return
        if _squeezed(texts) == _squeezed([last.event.text or ""]):
            self.wrong("a text is cut otherwise than by its paragraphs: the bill cannot be judged", chunks=len(texts))
        else:
            self.wrong("the text of the chunks is not that of the last event", last=last.record.place)


def same(one: object, other: object) -> bool:
    """Whether two JSON values are equal, in kind as well: 1, 1.0 and true are three."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def _is_of(source: Mapping[str, Any], topic: str, last: Ranked) -> bool:
    return (source.get("topic"), source.get("partition"), source.get("offset")) == (topic, *last.record.place)


def _squeezed(texts: Sequence[str]) -> str:
    return "".join("".join(texts).split())
