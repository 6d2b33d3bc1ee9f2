"""Cuts a text at its own breaks into chunks of at most so many tokens."""

from itertools import islice

from streamdex.config import Settings
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.model import Chunk, JsonObject
from streamdex.plan.keys import chunk_ids, digest, text_hash
from streamdex.plan.splitting import VERSION, Splitter, TextSpan
from streamdex.plan.tokens import TokenCounter, family, token_counter


class Chunker:
    """Texts to chunks, by one deployment's settings.

    Raises ConfigurationError at once when `chunk.tokenizer` cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        self._size_tokens = settings.chunk.max_tokens
        self._late = settings.jina.late_chunking
        self._caps = settings.caps
        self._count: TokenCounter = token_counter(settings.chunk.tokenizer, settings.jina.model)
        self._splitter = Splitter(self._count, self._size_tokens, settings.chunk.overlap_tokens, settings.chunk.mode)

    def chunks(self, document_id: str, text: str, hashed_text: bytes) -> tuple[Chunk, ...]:
        """The chunks of a document in order; none for a text without a visible character.

        Raises RecordFault when the document is over `caps.document_tokens` or `caps.document_chunks`.
        """
        if not text or text.isspace():
            return ()
        tokens = self._count(text)
        if tokens > self._caps.document_tokens:
            raise _over("document_tokens", Reason.TOO_MANY_TOKENS, f"{tokens} tokens", self._caps.document_tokens)
        context = hashed_text if self._late else b""
        if tokens <= self._size_tokens:
            (chunk_id,) = chunk_ids(document_id, (hashed_text,), context)
            return (Chunk(chunk_id, 0, text, tokens),)
        spans = self._cut(text)
        parts = [text[span.start : span.end] for span in spans]
        ids = chunk_ids(document_id, map(text_hash, parts), context)
        return tuple(
            Chunk(chunk_id, place, part, span.tokens)
            for place, (chunk_id, part, span) in enumerate(zip(ids, parts, spans, strict=True))
        )

    def _cut(self, text: str) -> list[TextSpan]:
        most = self._caps.document_chunks
        # One more than is allowed is enough to know; how many there would be is not worth the CPU.
        spans = list(islice(self._splitter.spans(text), most + 1))
        if len(spans) > most:
            raise _over("document_chunks", Reason.TOO_MANY_CHUNKS, f"more than {most} chunks", most)
        return spans


def _over(cap: str, reason: Reason, found: str, bound: int) -> RecordFault:
    return RecordFault(Stage.PLAN, reason, f"the document has {found}, caps.{cap} allows {bound}")


def cutting(settings: Settings) -> JsonObject:
    """What decides how an event is cut into points; each distinct one gets a generation number of its own."""
    return {
        "chunker": f"streamdex {VERSION}",
        "estimate": family(settings.jina.model).name,
        "chunk": settings.chunk.model_dump(mode="json"),
        "events": settings.events.model_dump(mode="json"),
        "mapping": settings.mapping.model_dump(mode="json"),
        "payload_keys": [settings.qdrant.text_key, settings.qdrant.metadata_key],
    }


def cutting_digest(settings: Settings) -> str:
    """`cutting` as 32 hexadecimal digits."""
    return digest(cutting(settings))
