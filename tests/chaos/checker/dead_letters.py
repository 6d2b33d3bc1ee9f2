"""I3: the dead letters are byte for byte the poisoned records, and no others.

A letter may stand there twice (an acknowledgement was lost, or its sender died before the commit): counted. A poisoned
record that can be read as an event may be overtaken by a newer event of its document before anybody notices: it needs
no letter then. Pure.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from chaos.checker.events import OWN_HEADERS, Headers, LogRecord, Place
from chaos.checker.report import Report

WANTED = (
    "topic",
    "partition",
    "offset",
    "epoch",
    "timestamp",
    "stage",
    "reason",
    "message",
    "attempts",
    "first_failed_at",
    "worker",
    "replays",
)
REASONS = frozenset(
    {
        "undecodable",
        "empty_value",
        "not_utf8",
        "not_json",
        "not_an_object",
        "not_finite",
        "lone_surrogate",
        "trailing_data",
        "compressed",
        "needs_registry",
        "unknown_field",
        "missing_field",
        "wrong_type",
        "value_unavailable",
        "several_documents",
        "no_id",
        "no_version",
        "too_many_bytes",
        "too_deep",
        "too_many_tokens",
        "too_many_chunks",
        "payload_too_large",
        "refused_by_embedder",
        "wrong_answer",
        "refused_by_index",
        "internal",
    }
)
# Of the generator's kinds of poison, those whose reason there can be no two minds about.
REASON_OF_KIND = {
    "undecodable": "not_utf8",
    "no id": "no_id",
    "no version": "no_version",
    "too deep": "too_deep",
    "refused": "refused_by_embedder",
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `place` is None where its headers name none in the source topic."""

    record: LogRecord
    place: Place | None
    own: Mapping[str, str]  # our headers, without their prefix

    def __repr__(self) -> str:
        return f"Letter({self.record.offset} of {self.place})"


def read_letters(records: Iterable[LogRecord], topic: str) -> list[Letter]:
    """The records of a dead-letter topic as letters of a source topic."""
    return [_letter(record, topic) for record in records]


def _letter(record: LogRecord, topic: str) -> Letter:
    own = {
        name.removeprefix(OWN_HEADERS): (value or b"").decode(errors="replace")
        for name, value in record.headers
        if name.startswith(OWN_HEADERS)
    }
    place = None
    if own.get("topic") == topic and own.get("partition", "").isdecimal() and own.get("offset", "").isdecimal():
        place = int(own["partition"]), int(own["offset"])
    return Letter(record, place, own)


def places_of(dead_letters: Iterable[Letter]) -> set[Place]:
    """The places of the records that were dead-lettered."""
    return {dead_letter.place for dead_letter in dead_letters if dead_letter.place is not None}


def check_letters(
    dead_letters: Collection[Letter],
    records: Iterable[LogRecord],
    poisoned: Mapping[Place, str],
    committed: Mapping[int, int],
    overtaken: Collection[Place] = (),
) -> Report:
    """Hold the letters against the topic. `poisoned`: the kind of each poisoned record, by its place.

    `overtaken`: the places of poisoned records that are events and below their documents' manifests.
    """
    report = Report()
    standing = {record.place: record for record in records}
    for dead_letter in dead_letters:
        _check_letter(dead_letter, standing, poisoned, report)
    found = places_of(dead_letters)
    for partition, offset in sorted(poisoned.keys() - found - set(overtaken)):
        if offset < committed.get(partition, 0):
            kind = poisoned[partition, offset]
            report.violate("I3", "a poisoned record has no dead letter", place=(partition, offset), poison=kind)
    report.figures = {
        "poisoned": len(poisoned),
        "letters": len(dead_letters),
        "duplicates": len(dead_letters) - len(found),
        "overtaken": len(set(overtaken) - found),
        "reasons": dict(Counter(dead_letter.own.get("reason", "") for dead_letter in dead_letters)),
    }
    return report


def _check_letter(
    dead_letter: Letter, standing: Mapping[Place, LogRecord], poisoned: Mapping[Place, str], report: Report
) -> None:
    at = {"letter": dead_letter.record.offset, "place": dead_letter.place, "reason": dead_letter.own.get("reason")}
    record = standing.get(dead_letter.place) if dead_letter.place is not None else None
    if record is None:
        report.violate("I3", "a dead letter of no record of the topic", **at)
        return
    if record.place not in poisoned:
        report.violate("I3", "a record that can be indexed was dead-lettered", **at)
    for what, theirs, mine in (
        ("key", dead_letter.record.key, record.key),
        ("value", dead_letter.record.value, record.value),
        ("headers", _without_own(dead_letter.record.headers), _without_own(record.headers)),
        ("timestamp header", dead_letter.own.get("timestamp"), str(record.timestamp_ms)),
    ):
        if theirs != mine:
            report.violate("I3", f"a dead letter's {what} differs from its record's", **at)
    missing = [name for name in WANTED if name not in dead_letter.own]
    if missing:
        report.violate("I3", "a dead letter lacks headers", missing=missing, **at)
    reason = dead_letter.own.get("reason")
    wanted = REASON_OF_KIND.get(poisoned.get(record.place, ""), reason)
    if reason not in REASONS or reason != wanted:
        report.violate("I3", "a dead letter has another reason than its record gives", wanted=wanted, **at)


def _without_own(headers: Headers) -> Headers:
    return tuple(header for header in headers if not header[0].startswith(OWN_HEADERS))
