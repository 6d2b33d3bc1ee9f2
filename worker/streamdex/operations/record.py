"""What the worker makes of one record that stands on a topic, step by step. Nothing of its text is shown."""

from dataclasses import dataclass, replace

from streamdex.config import Settings
from streamdex.errors import ConfigurationError, RecordFault
from streamdex.intake import Decoder
from streamdex.kafka.topic_reader import record_at
from streamdex.model import Event, Ignored, Partition, Record
from streamdex.plan import Chunker
from streamdex.plan.keys import text_hash


@dataclass(frozen=True, slots=True)
class ExplainedRecord:
    """Sizes are bytes, None for null. `meaning` is upsert, delete, ignored or dead letter; `why` is of these."""

    place: str
    timestamp_ms: int
    key_bytes: int | None
    value_bytes: int | None
    headers: tuple[str, ...]
    format: str
    meaning: str
    reason: str | None = None
    why: str = ""
    document_id: str | None = None
    key_names: str | None = None
    """The document that a null value under this key would delete."""
    version: int | None = None
    metadata_fields: int = 0
    chunks: int = 0
    tokens: int = 0

    def __repr__(self) -> str:
        """The place alone: ids and headers belong to the user."""
        return f"ExplainedRecord({self.place}, {self.meaning})"


async def explain_record(settings: Settings, at: Partition, offset: int) -> ExplainedRecord:
    """Read a record and say what it means. Raises ConfigurationError when there is none, or ServiceFault."""
    record = await record_at(settings.kafka, at, offset)
    if record is None:
        place = f"{at.topic}[{at.number}]@{offset}"
        raise ConfigurationError(f"no record stands at {place}", "--record", "Name one as topic[partition]@offset.")
    return meaning_of(settings, record)


def meaning_of(settings: Settings, record: Record) -> ExplainedRecord:
    """What a record means, without its text. Raises ConfigurationError for settings that cannot work."""
    decoder = Decoder(settings)
    facts = ExplainedRecord(
        place=f"{record.topic}[{record.partition}]@{record.offset}",
        timestamp_ms=record.timestamp_ms,
        key_bytes=None if record.key is None else len(record.key),
        value_bytes=None if record.value is None else len(record.value),
        headers=tuple(name for name, _ in record.headers),
        format=decoder.format_of(record),
        meaning="dead letter",
        key_names=_named_by(decoder, record),
    )
    return _with_meaning(settings, decoder, record, facts)


def _with_meaning(settings: Settings, decoder: Decoder, record: Record, facts: ExplainedRecord) -> ExplainedRecord:
    try:
        event = decoder.decode(record, settings.kafka.epoch)
        if isinstance(event, Ignored):
            return replace(facts, meaning="ignored", why=event.why)
        facts = replace(facts, document_id=event.document_id, version=event.version)
        if event.text is None:
            return replace(facts, meaning="delete")
        chunks = Chunker(settings).chunks(event.document_id, event.text, text_hash(event.text))
    except RecordFault as fault:
        return replace(facts, reason=fault.reason.value, why=fault.message)
    tokens = sum(chunk.tokens for chunk in chunks)
    return replace(facts, meaning="upsert", metadata_fields=len(event.metadata), chunks=len(chunks), tokens=tokens)


def _named_by(decoder: Decoder, record: Record) -> str | None:
    try:
        deleted = decoder.decode(record._replace(value=None, headers=()), 0)
    except RecordFault:
        return None
    return deleted.document_id if isinstance(deleted, Event) else None
