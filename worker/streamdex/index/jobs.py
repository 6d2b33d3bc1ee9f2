"""What a write is given, and how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamdex.errors import SuspectFault
from streamdex.model import Chunk, DocumentWrite, Rank


@dataclass(slots=True, eq=False)
class WriteJob:
    """One document to write, with the vectors (packed float32) by chunk id of the chunks that are to be upserted.

    `metadata` is what `check` returned: nothing is written that was not checked. `new` are the chunks that come with a
    vector, `kept` those that have theirs in the collection already. `may_skip_delete` is the caller's part of the rule
    for step 5: no older event or generation can have left other chunks.
    """

    write: DocumentWrite
    vectors: Mapping[str, bytes]
    metadata: bytes
    may_skip_delete: bool = False
    document_id: str = field(init=False)
    new: list[Chunk] = field(init=False)
    kept: list[Chunk] = field(init=False)

    def __post_init__(self) -> None:
        chunks, vectors = self.write.chunks, self.vectors
        self.document_id = self.write.event.document_id
        if len(vectors) == len(chunks):  # as almost always: all are new
            self.new, self.kept = [*chunks], []
            return
        self.new = [chunk for chunk in chunks if chunk.id in vectors]
        self.kept = [chunk for chunk in chunks if chunk.id not in vectors]

    def __repr__(self) -> str:
        """Without the vectors: they tell of the user's text."""
        return f"WriteJob({self.write!r}, {len(self.vectors)} vectors)"


class Written(NamedTuple):
    """How a document's write ended: exactly one of `found`, `missing` and `fault` is set.

    `found` is the rank its manifest has now: above the write's own where a newer event was faster. `missing` are kept
    chunks that another writer deleted meanwhile: embed them and write again with their vectors too. `fault`: Qdrant
    refuses this document alone. `in_doubt_s`: a request got no answer and may land later; wait so many
    seconds, call `delete_overtaken` at `found`, then settle.
    """

    found: Rank | None = None
    missing: tuple[str, ...] = ()
    fault: SuspectFault | None = None
    in_doubt_s: float | None = None


def newest_by_document(jobs: Sequence[WriteJob]) -> dict[str, WriteJob]:
    """One job per document, the one with the highest rank: of two copies in a request Qdrant would keep the last."""
    newest = {job.document_id: job for job in jobs}
    if len(newest) == len(jobs):  # as almost always
        return newest
    for job in jobs:
        if job.write.rank > newest[job.document_id].write.rank:
            newest[job.document_id] = job
    return newest


def moved(chunks: Sequence[Chunk], before: Sequence[str]) -> list[Chunk]:
    """The chunks that stood elsewhere in the document before."""
    return [chunk for chunk in chunks if chunk.place >= len(before) or before[chunk.place] != chunk.id]
