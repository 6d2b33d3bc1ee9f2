"""Cuts a text at its own breaks into chunks of at most so many tokens."""

from importlib.metadata import version
from typing import cast

from semchunk.semchunk import chunk as cut

from streamdex.config import Settings
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.model import Chunk, JsonObject
from streamdex.plan.keys import chunk_ids, digest, text_hash
from streamdex.plan.tokens import TokenCounter, token_counter


class Chunker:
    """Texts to chunks, by one deployment's settings.

    Raises ConfigurationError at once when `chunk.tokenizer` cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        self._size_tokens = settings.chunk.max_tokens
        self._overlap_tokens = settings.chunk.overlap_tokens
        self._late = settings.jina.late_chunking
        self._caps = settings.caps
        self._count: TokenCounter = token_counter(settings.chunk.tokenizer)

    def chunks(self, document_id: str, text: str, hashed_text: bytes) -> tuple[Chunk, ...]:
        """The chunks of a document in order; none for a text without a visible character.

        Raises RecordFault when the document is over `caps.document_tokens` or `caps.document_chunks`.
        """
        if not text or text.isspace():
            return ()
        tokens = self._count(text)
        if tokens > self._caps.document_tokens:
            raise _over("document_tokens", Reason.TOO_MANY_TOKENS, tokens, self._caps.document_tokens)
        context = hashed_text if self._late else b""
        if tokens <= self._size_tokens:
            (chunk_id,) = chunk_ids(document_id, (hashed_text,), context)
            return (Chunk(chunk_id, 0, text, tokens),)
        parts = self._cut(text)
        if len(parts) > self._caps.document_chunks:
            raise _over("document_chunks", Reason.TOO_MANY_CHUNKS, len(parts), self._caps.document_chunks)
        ids = chunk_ids(document_id, map(text_hash, parts), context)
        return tuple(
            Chunk(chunk_id, place, part, self._count(part))
            for place, (chunk_id, part) in enumerate(zip(ids, parts, strict=True))
        )

    def _cut(self, text: str) -> list[str]:
        # Without memoisation: its cache would keep users' texts in memory for as long as the process lives.
        overlap = self._overlap_tokens or None
        parts = cut(text, self._size_tokens, self._count, memoize=False, overlap=overlap)
        # The function's type also names what it returns when asked for offsets, or given a list.
        return [part for part in cast("list[str]", parts) if part and not part.isspace()]


def _over(cap: str, reason: Reason, found: int, bound: int) -> RecordFault:
    return RecordFault(Stage.PLAN, reason, f"the document has {found}, caps.{cap} allows {bound}")


def cutting(settings: Settings) -> JsonObject:
    """What decides how an event is cut into points; each distinct one gets a generation number of its own."""
    return {
        "chunker": f"semchunk {version('semchunk').split('.')[0]}",
        "chunk": settings.chunk.model_dump(mode="json"),
        "mapping": settings.mapping.model_dump(mode="json"),
        "payload_keys": [settings.qdrant.text_key, settings.qdrant.metadata_key],
    }


def cutting_digest(settings: Settings) -> str:
    """`cutting` as 32 hexadecimal digits."""
    return digest(cutting(settings))
