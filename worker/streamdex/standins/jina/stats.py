"""What a server has done so far, for tests and for people. Holds digests of texts, never texts."""

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

LONGEST_LOG = 2_000  # requests remembered one by one
MOST_DIGESTS = 250_000  # texts remembered; later ones are counted together


def digest(text: str) -> str:
    """The name under which a text is counted."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class RequestNote:
    """One request: its answer's status (0: none was sent) and what was asked, without the texts.

    `sent` holds the options by name as they were sent; of fields that no model knows only the name, with None.
    """

    at_s: float
    status: int
    code: str | None
    model: str | None
    inputs: int
    tokens: int
    sent: Mapping[str, Any]
    fault: str | None = None


@dataclass(slots=True)
class JinaStats:
    """Counters since the start. `accepted` are requests answered with vectors, also with wrong ones by a fault."""

    requests: int = 0
    accepted: int = 0
    responses: Counter[int] = field(default_factory=Counter)
    inputs_embedded: int = 0
    inputs_by_digest: Counter[str] = field(default_factory=Counter)
    inputs_beyond_memory: int = 0
    tokens_billed: int = 0
    peak_concurrency: int = 0
    log: deque[RequestNote] = field(default_factory=lambda: deque(maxlen=LONGEST_LOG))

    def as_json(self) -> dict[str, Any]:
        """All of it, for JSON. (`dataclasses.asdict` breaks on counters.)"""
        values = {name.name: getattr(self, name.name) for name in fields(self)}
        return {**values, "log": [asdict(note) for note in self.log]}

    def note(self, note: RequestNote) -> None:
        """A request has its answer."""
        self.responses[note.status] += 1
        self.log.append(note)

    def embedded(self, texts: Iterable[str], tokens: int) -> None:
        """Texts were embedded and billed."""
        self.accepted += 1
        self.tokens_billed += tokens
        for text in texts:
            self.inputs_embedded += 1
            name = digest(text)
            if name in self.inputs_by_digest or len(self.inputs_by_digest) < MOST_DIGESTS:
                self.inputs_by_digest[name] += 1
            else:
                self.inputs_beyond_memory += 1

    def times_embedded(self, text: str) -> int:
        """How often a text was embedded."""
        return self.inputs_by_digest[digest(text)]
