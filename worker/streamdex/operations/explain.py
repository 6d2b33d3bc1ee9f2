"""What the collection knows of one document, and what an event would do to it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from streamdex.config import Settings
from streamdex.embed import resolve
from streamdex.errors import ConfigurationError, RecordFault
from streamdex.index import Index, StoredPoint
from streamdex.model import DocumentWrite, Manifest, Outcome, Record
from streamdex.operations.verify import DifferenceKind, Evidence, Horizon, judge
from streamdex.operations.verify.interpretation import Interpreter
from streamdex.plan import cutting_digest, outcome_of
from streamdex.plan.rank import SEQUENCE_BOUND
from streamdex.telemetry import Metrics

UNKNOWN_GENERATION = -1
NEXT_BASE = SEQUENCE_BOUND - 1  # above every base that is given out: those follow the clock in milliseconds


@dataclass(frozen=True, slots=True)
class ChunkState:
    """One chunk that the manifest lists: its point, None where there is none, and whether it has a vector."""

    place: int
    id: str
    point: StoredPoint | None
    has_vector: bool


@dataclass(frozen=True, slots=True)
class ForecastChunk:
    """One chunk that an event would leave. `tokens` are estimated."""

    place: int
    id: str
    tokens: int
    embedded: bool
    text: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an event would do if it came next. `fault` says why it would be a dead letter."""

    outcome: Outcome
    chunks: tuple[ForecastChunk, ...] = ()
    reason: str = ""
    fault: str = ""

    @property
    def tokens_to_embed(self) -> int:
        """The estimated tokens of the chunks that would be embedded."""
        return sum(chunk.tokens for chunk in self.chunks if chunk.embedded)


@dataclass(slots=True)
class Explanation:
    """A document as the collection has it. `extra` points are not listed; `differences` are those of the points.

    `same_cut` tells whether these settings have cut its text.
    """

    document_key: str
    manifest: Manifest | None
    chunks: tuple[ChunkState, ...]
    extra: tuple[StoredPoint, ...]
    differences: tuple[DifferenceKind, ...]
    same_cut: bool = False
    forecast: Forecast | None = None


async def explain_document(settings: Settings, document_key: str, event: bytes | None, *, asked: bool) -> Explanation:
    """Look a document up; with `asked`, also say what an event with this value would do if it came next.

    Raises ConfigurationError (also for an event of another document), AccountFault and ServiceFault.
    """
    profile = resolve(settings.jina)
    index = await Index.open(settings, profile.fingerprint, profile.dimension, Metrics(), create=False)
    try:
        manifest, points = (await index.documents([document_key]))[document_key]
        without_vector = {point_id async for point_id in index.without_vector([document_key])}
        generation = await index.known_generation(cutting_digest(settings))
    finally:
        await index.close()
    known = UNKNOWN_GENERATION if generation is None else generation
    state = describe(settings, document_key, manifest, points, without_vector)
    state.same_cut = manifest is not None and manifest.generation == known
    if asked:
        there = frozenset(point.id for point in points) - without_vector
        state.forecast = forecast(settings, document_key, event, manifest, there, max(0, known))
    return state


def describe(
    settings: Settings,
    document_key: str,
    manifest: Manifest | None,
    points: Sequence[StoredPoint],
    without_vector: Collection[str],
) -> Explanation:
    """Hold the points against the manifest. Pure."""
    interpreter = Interpreter(settings, {}, 0)
    found = tuple(interpreter.point(point, has_vector=point.id not in without_vector) for point in points)
    evidence = Evidence(document_key, manifest=manifest, points=found)
    differences = judge(evidence, Horizon({}, settings.kafka.epoch, 0)).kinds
    if manifest is None:
        differences = (DifferenceKind.EXTRA_CHUNK,) * len(points)
    by_id = {point.id: point for point in points}
    listed = manifest.chunk_ids if manifest else ()
    chunks = tuple(
        ChunkState(place, chunk_id, by_id.get(chunk_id), chunk_id not in without_vector)
        for place, chunk_id in enumerate(listed)
    )
    extra = tuple(point for point in points if point.id not in listed)
    return Explanation(document_key, manifest, chunks, extra, differences)


def forecast(
    settings: Settings,
    document_key: str,
    value: bytes | None,
    manifest: Manifest | None,
    there: Collection[str],
    generation: int,
) -> Forecast:
    """What a record with this value would do if it were the next one. Pure. `there` are points with their vectors.

    Raises ConfigurationError for an event of another document.
    """
    topic = settings.kafka.topics[0]
    key = document_key.removeprefix("s:").encode() if document_key.startswith("s:") else None
    record = Record(topic, 0, 0, 0, key, value)
    interpreter = Interpreter(settings, {(topic, 0, settings.kafka.epoch): NEXT_BASE}, generation)
    try:
        event = interpreter.event(record)
        if event.document_key != document_key:
            raise ConfigurationError("the event is of another document", "--event", "Name the event's document.")
        rank = interpreter.rank(event)
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
