"""What an event asks of the store: its difference to the document's manifest."""

from typing import NamedTuple

from streamdex.config import Settings
from streamdex.model import DocumentWrite, Event, Manifest, Outcome, Rank
from streamdex.plan.chunks import Chunker
from streamdex.plan.keys import content_hash, text_hash


class Overtaken(NamedTuple):
    """The store knows this event or a newer one: nothing to write but what a crash may have left below `rank`."""

    outcome: Outcome
    rank: Rank


def overtaken(rank: Rank, manifest: Manifest | None) -> Overtaken | None:
    """How an event ends that the store knows already, or knows a newer one than; None for one that must be written."""
    if manifest is None or manifest.rank < rank:
        return None
    equal = manifest.rank == rank
    return Overtaken(Outcome.UNCHANGED if equal else Outcome.SUPERSEDED, manifest.rank)


class Planner:
    """Compares events with manifests. Pure but for what the chunker was built from."""

    def __init__(self, settings: Settings, chunker: Chunker, generation: int) -> None:
        self._chunker = chunker
        self._generation = generation
        self._payload_keys = (settings.qdrant.text_key.encode(), settings.qdrant.metadata_key.encode())

    def decide(self, event: Event, rank: Rank, manifest: Manifest | None) -> DocumentWrite | Overtaken:
        """What to do for `event`. Raises RecordFault when the document is over a cap.

        The manifest is asked before any cap: an event that the store knows is never a dead letter.
        """
        return overtaken(rank, manifest) or self.plan(event, rank, manifest)

    def plan(self, event: Event, rank: Rank, manifest: Manifest | None, coalesced: bool = False) -> DocumentWrite:
        """What to write for an event that no manifest has overtaken. Raises RecordFault as `decide` does."""
        if event.text is None:
            return DocumentWrite(event, rank, self._generation, (), frozenset(), "", manifest, coalesced)
        hashed = text_hash(event.text)
        chunks = self._chunker.chunks(event.document_id, event.text, hashed)
        listed = frozenset(manifest.chunk_ids).intersection(chunk.id for chunk in chunks) if manifest else frozenset()
        content = content_hash(hashed, event.metadata, self._payload_keys)
        return DocumentWrite(event, rank, self._generation, chunks, listed, content, manifest, coalesced)


def outcome_of(write: DocumentWrite, found: Rank) -> Outcome:
    """How a finished write ends, given the rank that its manifest was found to have afterwards."""
    if found > write.rank:
        return Outcome.SUPERSEDED
    if write.event.text is None:
        was_deleted = write.before is not None and write.before.tombstone_until_ms is not None
        return Outcome.UNCHANGED if was_deleted else Outcome.DELETED
    same = write.before is not None and write.before.content_hash == write.content_hash
    return Outcome.UNCHANGED if same and not write.to_embed else Outcome.INDEXED
