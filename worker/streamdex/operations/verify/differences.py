"""The kinds of difference between a collection and the fold of its topic, and the report on them."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

MOST_EXAMPLES = 5


class DifferenceKind(StrEnum):
    """A kind of difference."""

    MISSING_DOCUMENT = "missing document"
    STALE_DOCUMENT = "stale document"
    UNEXPECTED_DOCUMENT = "unexpected document"
    WRONG_CONTENT = "wrong content"
    MISSING_CHUNK = "missing chunk"
    MISSING_VECTOR = "missing vector"
    EXTRA_CHUNK = "extra chunk"
    STALE_CHUNK = "stale chunk"
    WRONG_PAYLOAD = "wrong payload"
    NOT_DEAD_LETTERED = "not dead-lettered"


MEANINGS = {
    DifferenceKind.MISSING_DOCUMENT: "the topic has it, the collection has no manifest of it",
    DifferenceKind.STALE_DOCUMENT: "the collection has an older event than the topic",
    DifferenceKind.UNEXPECTED_DOCUMENT: "the collection has an event that the topic does not have",
    DifferenceKind.WRONG_CONTENT: "the manifest's chunks or content differ from the event's",
    DifferenceKind.MISSING_CHUNK: "the manifest lists a chunk that has no point",
    DifferenceKind.MISSING_VECTOR: "a point without a vector, which no search finds",
    DifferenceKind.EXTRA_CHUNK: "a point that no manifest lists, left by a writer that died",
    DifferenceKind.STALE_CHUNK: "a point with another rank than its manifest",
    DifferenceKind.WRONG_PAYLOAD: "a point whose text, metadata or place is not the event's",
    DifferenceKind.NOT_DEAD_LETTERED: "an event that cannot be indexed and is not in the dead-letter topic",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `document_id` is empty for a record that is no event; `place` is topic[partition]@offset."""

    kind: DifferenceKind
    document_id: str
    place: str


@dataclass(slots=True)
class Report:
    """What a verification found.

    `records` were folded; `documents` and `points` were compared. Documents are `unverifiable` when the log no longer
    holds their events, and `after_cut_off` when their event was not folded: of both, only the points were compared
    with the manifest. `not_repairable` counts the differences of such documents. `unsettled` records stand between the
    cut-off and the end of the log. `foreign` points are not streamdex's.
    """

    records: int = 0
    dead_letters: int = 0
    documents: int = 0
    points: int = 0
    unverifiable: int = 0
    after_cut_off: int = 0
    not_repairable: int = 0
    unsettled: int = 0
    foreign: int = 0
    counts: Counter[DifferenceKind] = field(default_factory=Counter)
    examples: dict[DifferenceKind, list[Difference]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether the collection equals the fold."""
        return not self.counts

    def add(self, difference: Difference) -> None:
        """Count a difference, and keep the first few of each kind as examples."""
        self.counts[difference.kind] += 1
        examples = self.examples.setdefault(difference.kind, [])
        if len(examples) < MOST_EXAMPLES:
            examples.append(difference)
