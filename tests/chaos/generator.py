"""What is produced: an endless, seeded stream of document events. Pure: the same seed gives the same stream.

Every text, metadata and key carries a canary word, so that a leak of any of them is found. Paragraphs are just long
enough that each becomes a chunk of its own.

In the order `version` every event has one of its own, and some come too late, twice with one version, or without any.
The events of some documents come through any partition; these have no text in common, since two workers that write one
document at a time may both pay for what one of them would have kept.
"""

import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

TEXT_CANARY = "TEXTCANARY"
METADATA_CANARY = "METACANARY"
KEY_CANARY = "KEYCANARY"
CANARIES = (TEXT_CANARY, METADATA_CANARY, KEY_CANARY)
REFUSED_MARKER = "unspeakable"  # the stand-in for Jina answers 400 to a text with this word

WORDS = ("kafka", "vector", "index", "stream", "offset", "commit", "search", "replica", "document", "chunk", "kakapo")
PARAGRAPH_LETTERS = 90  # one fits into a chunk of 44 tokens, two do not
DOCUMENTS = 400
HOT = 8  # documents that get a fifth of all events
STRAYS = 20  # documents whose events come through any partition

# How often what happens, in parts of their sum.
WEIGHTS = {
    "new": 18,
    "change": 24,
    "move": 10,
    "repeat": 6,
    "metadata": 8,
    "delete": 6,
    "again": 4,
    "duplicate": 6,
    "revert": 3,
    "long": 2,
    "undecodable": 1,
    "no id": 1,
    "too deep": 1,
    "refused": 2,
    "aborted": 1,
}
VERSIONED_WEIGHTS = {**WEIGHTS, "late": 5, "equal": 4, "stray": 8, "no version": 1}
VERSION_STEP = 10  # leaves room for events that come late
VERSION_HEADER = "streamdex.version"


@dataclass(frozen=True, slots=True)
class Draft:
    """A record to produce. `partition` None leaves it to the key. `aborted`: in a transaction that is aborted."""

    kind: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
    poison: bool = False
    aborted: bool = False


@dataclass(slots=True)
class _Document:
    name: str
    paragraphs: list[str]
    metadata: dict[str, Any]
    earlier: list[str] = field(default_factory=list)
    there: bool = True
    version: int = 0
    last: Draft | None = None


class Generator:
    """Gives one `Draft` after the other."""

    def __init__(self, seed: int, partitions: int, order: str = "offset") -> None:
        self._rng = random.Random(seed)
        self._partitions = partitions
        self._versioned = order == "version"
        self._weights = VERSIONED_WEIGHTS if self._versioned else WEIGHTS
        self._documents: list[_Document] = []
        self._strays = [_Document(f"{KEY_CANARY}-stray-{number}", [], {}) for number in range(STRAYS)]
        self._serial = 0
        self._makers = {
            "new": self._new,
            "change": self._change,
            "move": self._move,
            "repeat": self._repeat,
            "metadata": self._metadata,
            "delete": self._delete,
            "again": self._again,
            "duplicate": self._duplicate,
            "revert": self._revert,
            "long": self._long,
            "undecodable": self._undecodable,
            "no id": self._no_id,
            "too deep": self._too_deep,
            "refused": self._refused,
            "aborted": self._aborted,
            "late": self._late,
            "equal": self._equal,
            "stray": self._stray,
            "no version": self._no_version,
        }

    def next(self) -> Draft:
        """The next event."""
        (kind,) = self._rng.choices(list(self._weights), list(self._weights.values()))
        if len(self._documents) < 10 or (kind == "new" and len(self._documents) >= DOCUMENTS):
            kind = "new" if len(self._documents) < 10 else "change"
        return self._makers[kind]()

    # --- documents ----------------------------------------------------------------------------------------------

    def _new(self) -> Draft:
        document = _Document(
            f"{KEY_CANARY}-{len(self._documents)}", self._paragraphs(self._rng.randint(1, 5)), self._some_metadata()
        )
        self._documents.append(document)
        return self._upsert(document, "new")

    def _change(self) -> Draft:
        document = self._pick()
        document.earlier = list(document.paragraphs)
        place = self._rng.randrange(len(document.paragraphs))
        document.paragraphs[place] = self._paragraph()
        if self._rng.random() < 0.3:
            document.paragraphs.append(self._paragraph())
        elif len(document.paragraphs) > 2 and self._rng.random() < 0.3:
            document.paragraphs.pop(self._rng.randrange(len(document.paragraphs)))
        return self._upsert(document, "change")

    def _move(self) -> Draft:
        document = self._pick()
        self._rng.shuffle(document.paragraphs)
        return self._upsert(document, "move")

    def _repeat(self) -> Draft:
        document = self._pick()
        document.paragraphs.append(self._rng.choice(document.paragraphs))
        return self._upsert(document, "repeat")

    def _metadata(self) -> Draft:
        document = self._pick()
        document.metadata = self._some_metadata()
        return self._upsert(document, "metadata")

    def _long(self) -> Draft:
        document = self._pick()
        document.paragraphs = self._paragraphs(self._rng.randint(20, 60))
        return self._upsert(document, "long")

    def _revert(self) -> Draft:
        document = self._pick()
        if document.earlier:
            document.paragraphs, document.earlier = document.earlier, document.paragraphs
        return self._upsert(document, "revert")

    def _delete(self) -> Draft:
        document = self._pick()
        document.there = False
        if self._rng.random() < 0.5:
            return self._remembered(document, self._null(document))
        return self._remembered(document, self._enveloped(document, "delete", {"op": "delete"}))

    def _again(self) -> Draft:
        gone = [document for document in self._documents if not document.there]
        document = self._rng.choice(gone) if gone else self._pick()
        if self._rng.random() < 0.7:
            document.paragraphs = self._paragraphs(self._rng.randint(1, 5))
        return self._upsert(document, "again")

    def _duplicate(self) -> Draft:
        last = self._pick().last
        return replace(last, kind="duplicate") if last is not None else self._new()

    def _aborted(self) -> Draft:
        document = self._pick()
        body = {"text": self._paragraph(), "metadata": {}}
        return replace(self._enveloped(document, "aborted", body), aborted=True)

    def _null(self, document: _Document) -> Draft:
        """A delete without a body, which has its version in a header."""
        if not self._versioned:
            return Draft("delete", document.name.encode(), None)
        document.version += VERSION_STEP
        return Draft("delete", document.name.encode(), None, ((VERSION_HEADER, str(document.version).encode()),))

    # --- events whose versions say another order than the log's -----------------------------------------------------

    def _late(self) -> Draft:
        document = self._pick()
        version = max(0, document.version - self._rng.randint(1, 3 * VERSION_STEP))
        return self._passing(document, "late", version)

    def _equal(self) -> Draft:
        """Of two events with one version the later stands, so that the document is what this one says."""
        document = self._pick()
        document.paragraphs = self._paragraphs(self._rng.randint(1, 5))
        document.version -= VERSION_STEP
        return self._upsert(document, "equal")

    def _stray(self) -> Draft:
        document = self._rng.choice(self._strays)
        document.version += VERSION_STEP
        version = max(0, document.version - self._rng.randrange(2 * VERSION_STEP))
        return replace(self._passing(document, "stray", version), partition=self._rng.randrange(self._partitions))

    def _passing(self, document: _Document, kind: str, version: int) -> Draft:
        """An event with texts of its own, on which no later one builds."""
        body = {"text": "\n\n".join(self._paragraphs(self._rng.randint(1, 3))), "metadata": self._some_metadata()}
        if self._rng.random() < 0.2:
            body = {"op": "delete"}
        return Draft(kind, document.name.encode(), json.dumps({**body, "version": version}).encode())

    # --- what nobody can index ----------------------------------------------------------------------------------

    def _undecodable(self) -> Draft:
        value = b"\xff\xfe{" + self._paragraph().encode()
        return Draft("undecodable", self._pick().name.encode(), value, poison=True)

    def _no_id(self) -> Draft:
        value = json.dumps({"text": self._paragraph()}).encode()
        return Draft("no id", None, value, partition=self._rng.randrange(self._partitions), poison=True)

    def _too_deep(self) -> Draft:
        metadata: dict[str, Any] = {METADATA_CANARY: self._rng.randint(0, 999)}
        for _ in range(40):
            metadata = {"deeper": metadata}
        body = {"text": self._paragraph(), "metadata": metadata}
        return replace(self._enveloped(self._pick(), "too deep", body), poison=True)

    def _refused(self) -> Draft:
        text = f"{self._paragraph()} {REFUSED_MARKER}"
        return replace(self._enveloped(self._pick(), "refused", {"text": text}), poison=True)

    def _no_version(self) -> Draft:
        value = json.dumps({"text": self._paragraph()}).encode()
        return Draft("no version", self._pick().name.encode(), value, poison=True)

    # --- parts ----------------------------------------------------------------------------------------------------

    def _pick(self) -> _Document:
        some = self._documents[:HOT] if self._rng.random() < 0.2 else self._documents
        there = [document for document in some if document.there]
        return self._rng.choice(there or some)

    def _upsert(self, document: _Document, kind: str) -> Draft:
        document.there = True
        del document.paragraphs[80:]
        body = {"text": "\n\n".join(document.paragraphs), "metadata": document.metadata}
        return self._remembered(document, self._enveloped(document, kind, body))

    def _enveloped(self, document: _Document, kind: str, body: dict[str, Any]) -> Draft:
        document.version += VERSION_STEP
        if self._rng.random() < 0.5:
            body = {"id": document.name, **body}  # else the record's key is its id
        if self._versioned or self._rng.random() < 0.3:
            body = {**body, "version": document.version}
        headers = (("traceparent", b"00-chaos"),) if self._rng.random() < 0.1 else ()
        return Draft(kind, document.name.encode(), json.dumps(body).encode(), headers)

    def _remembered(self, document: _Document, draft: Draft) -> Draft:
        document.last = draft
        return draft

    def _paragraphs(self, count: int) -> list[str]:
        return [self._paragraph() for _ in range(count)]

    def _paragraph(self) -> str:
        """A text that never comes again by itself."""
        self._serial += 1
        text = f"{TEXT_CANARY} {self._serial}"
        while len(text) < PARAGRAPH_LETTERS:
            text += f" {self._rng.choice(WORDS)}"
        return f"{text}."

    def _some_metadata(self) -> dict[str, Any]:
        number = self._rng.randint(0, 9999)
        return {"label": f"{METADATA_CANARY} {number}", "size": number, "nested": {"tags": [number % 7, None, True]}}
