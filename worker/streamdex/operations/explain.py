"""What the collection has of one document, and what an event would do to it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from streamdex.config import Settings
from streamdex.embed import resolve
from streamdex.errors import ConfigurationError, RecordFault
from streamdex.index import Index, StoredPoint
from streamdex.kafka.position_headers import Headers
from streamdex.model import SEQUENCE_BOUND, DocumentWrite, Ignored, Manifest, Outcome, Record
from streamdex.operations.verify.compare import compare_document
from streamdex.operations.verify.differences import DifferenceKind
from streamdex.operations.verify.evidence import Evidence, FoldScope
from streamdex.operations.verify.interpretation import Interpreter
from streamdex.operations.verify.verification import UNKNOWN_GENERATION
from streamdex.plan import cutting_digest, outcome_of
from streamdex.telemetry import Metrics

NEXT_BASE = SEQUENCE_BOUND - 1  # above every base that is given out, which are times in milliseconds


@dataclass(frozen=True, slots=True)
class ChunkState:
    """One chunk that the manifest lists: its point, or None where it is missing, and whether that has a vector."""

    place: int
    id: str
    point: StoredPoint | None
    has_vector: bool


@dataclass(frozen=True, slots=True)
class ForecastChunk:
    """One chunk that a document would have after an event. `tokens` is an estimate."""

    place: int
    id: str
    tokens: int
    embedded: bool
    text: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an event would do if it came next. `reason` and `fault` say why it would become a dead letter."""

    outcome: Outcome
    chunks: tuple[ForecastChunk, ...] = ()
    reason: str = ""
    fault: str = ""

    @property
    def tokens_to_embed(self) -> int:
        """The estimated tokens of the chunks that would be embedded."""
        return sum(chunk.tokens for chunk in self.chunks if chunk.embedded)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A document as the collection has it. The manifest does not list the `extra` points.

    `differences` are those between points and manifest. `same_cut`: its text was cut with these settings.
    """

    document_id: str
    manifest: Manifest | None
    chunks: tuple[ChunkState, ...]
    extra: tuple[StoredPoint, ...]
    differences: tuple[DifferenceKind, ...]
    same_cut: bool = False
    forecast: Forecast | None = None


class Supposed(NamedTuple):
    """A record that might come next. Without a key, the document's id is the key."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()

    def __repr__(self) -> str:
        """Nothing of it: key, value and headers belong to the user."""
        return "Supposed()"


async def explain_document(settings: Settings, document_id: str, supposed: Supposed | None) -> Explanation:
    """Look a document up; with a supposed record, also say what it would do if it came next.

    Raises ConfigurationError (also for an event of another document), AccountFault and ServiceFault.
    """
    profile = resolve(settings.jina)
    index = await Index.open(settings, profile.fingerprint, profile.dimension, Metrics(), create=False)
    try:
        manifest, points = (await index.reader.documents([document_id]))[document_id]
        without_vector = {point_id async for point_id in index.reader.without_vector([document_id])}
        generation = await index.bookkeeping.known_generation(cutting_digest(settings))
    finally:
        await index.close()
    known = UNKNOWN_GENERATION if generation is None else generation
    explanation = replace(
        describe(settings, document_id, manifest, points, without_vector),
        same_cut=manifest is not None and manifest.generation == known,
    )
    if supposed is None:
        return explanation
    there = frozenset(point.id for point in points) - without_vector
    return replace(explanation, forecast=forecast(settings, document_id, supposed, manifest, there, max(0, known)))


def describe(
    settings: Settings,
    document_id: str,
    manifest: Manifest | None,
    points: Sequence[StoredPoint],
    without_vector: Collection[str],
) -> Explanation:
    """Compare the points with the manifest. Pure."""
    interpreter = Interpreter(settings, {}, 0)
    found = tuple(interpreter.point(point, has_vector=point.id not in without_vector) for point in points)
    evidence = Evidence(document_id, manifest=manifest, points=found)
    differences = compare_document(evidence, FoldScope({}, settings.kafka.epoch, 0)).kinds
    if manifest is None:
        differences = (DifferenceKind.EXTRA_CHUNK,) * len(points)
    by_id = {point.id: point for point in points}
    listed = manifest.chunk_ids if manifest else ()
    chunks = tuple(
        ChunkState(place, chunk_id, by_id.get(chunk_id), chunk_id not in without_vector)
        for place, chunk_id in enumerate(listed)
    )
    extra = tuple(point for point in points if point.id not in listed)
    return Explanation(document_id, manifest, chunks, extra, differences)


def forecast(
    settings: Settings,
    document_id: str,
    supposed: Supposed,
    manifest: Manifest | None,
    there: Collection[str],
    generation: int,
) -> Forecast:
    """What the record would do if it were the next one. Pure. `there`: ids of points with vectors.

    Raises ConfigurationError for an event of another document.
    """
    topic = settings.kafka.topics[0]
    key = document_id.encode() if supposed.key is None else supposed.key
    record = Record(topic, 0, 0, 0, key, supposed.value, supposed.headers)
    interpreter = Interpreter(settings, {(topic, 0, settings.kafka.epoch): NEXT_BASE}, generation)
    try:
        event = interpreter.meaning(record)
        if isinstance(event, Ignored):
            return Forecast(Outcome.IGNORED, fault=event.why)
        if event.document_id != document_id:
            raise ConfigurationError("the event is of another document", "--event", "Name the event's document.")
        rank = interpreter.ranking.rank_of(event)
        decision = interpreter.decide(event, rank, manifest)
    except RecordFault as fault:
        return Forecast(Outcome.DEAD_LETTERED, reason=fault.reason.value, fault=fault.message)
    if not isinstance(decision, DocumentWrite):
        return Forecast(decision.outcome)
    new = {chunk.id for chunk in decision.chunks if chunk.id not in decision.listed or chunk.id not in there}
    if new and settings.jina.late_chunking:  # each vector depends on the whole document
        new = {chunk.id for chunk in decision.chunks}
    chunks = tuple(
        ForecastChunk(chunk.place, chunk.id, chunk.tokens, chunk.id in new, chunk.text) for chunk in decision.chunks
    )
    return Forecast(outcome_of(decision, rank), chunks)
