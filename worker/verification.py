"""Folds the topic anew and holds the collection against it: the thin shell around `verify/`."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from worker.config import Settings
from worker.embed import resolve
from worker.errors import RecordFault
from worker.index import Index, StoredPoint
from worker.intake import Decoder, TopicReader
from worker.model import DocumentWrite, JsonObject, Partition, Position, Record
from worker.plan import Bases, Chunker, Planner, cutting_digest, rank_of
from worker.plan.keys import chunk_ids, digest, text_hash
from worker.position_headers import parse_position
from worker.telemetry import Metrics
from worker.verify import Expectation, Fold, FoundPoint, Horizon, Report

Said = Callable[[str, int], None]  # what is read at the moment, and how many of it more


async def verify_collection(settings: Settings, folder: Path, said: Said = lambda _, __: None) -> Report:
    """Compare the collection with the topic as it stands now. `folder` is for a file of what is expected.

    Raises ConfigurationError, AccountFault and ServiceFault.
    """
    profile = resolve(settings.jina)
    index = await Index.open(settings, profile.fingerprint, profile.dimension, Metrics(), create=False)
    try:
        async with TopicReader(settings.kafka) as reader:
            ranges = await reader.ranges(settings.kafka.topics)
            verification = await _Verification.begin(settings, index, reader.cluster_id, ranges)
            with Fold(folder / "fold.sqlite", verification.horizon) as fold:
                letters = await reader.ranges(dead_letter_topics(settings), missing_ok=True)
                async for record in reader.records(letters):
                    verification.letter(fold, record)
                async for record in reader.records(ranges):
                    verification.event(fold, record)
                    said("records", 1)
                async for manifest in index.all_manifests():
                    fold.manifest(manifest)
                    said("manifests", 1)
                async for point in index.all_points():
                    fold.point(verification.point(point))
                    said("points", 1)
                return fold.finish()
    finally:
        await index.close()


def dead_letter_topics(settings: Settings) -> Collection[str]:
    """The dead-letter topics of the topics that are read."""
    return {settings.kafka.dead_letter_topic_of(topic) for topic in settings.kafka.topics}


class _Verification:
    """What turns records and points into what the fold compares."""

    def __init__(self, settings: Settings, index: Index, horizon: Horizon, bases: Bases) -> None:
        self.horizon = horizon
        self._order = settings.worker.order
        self._late = settings.jina.late_chunking
        self._epoch = settings.kafka.epoch
        self._bases = bases
        self._index = index
        self._decoder = Decoder(settings.mapping, settings.caps)
        self._planner = Planner(settings, Chunker(settings), horizon.generation)

    @classmethod
    async def begin(
        cls, settings: Settings, index: Index, cluster_id: str, ranges: Mapping[Partition, tuple[int, int]]
    ) -> "_Verification":
        epoch = settings.kafka.epoch
        bases = await index.bases(cluster_id, epoch, {partition: end for partition, (_, end) in ranges.items()})
        horizon = Horizon(ranges, epoch, await index.generation(cutting_digest(settings)))
        return cls(settings, index, horizon, bases)

    def letter(self, fold: Fold, record: Record) -> None:
        """A dead letter, by the position of the record that it was."""
        try:
            position = parse_position(record.headers)
        except ValueError:
            return  # not one of ours: somebody else writes to that topic, too
        if position is not None:
            fold.letter(position)

    def event(self, fold: Fold, record: Record) -> None:
        """A record of the log: what it asks for, or that it must be among the dead letters."""
        position = _position(record, self._epoch)
        if fold.is_letter(position):
            return
        try:
            event = self._decoder.decode(record, self._epoch)
            rank = rank_of(event, self._order, self._bases, self.horizon.generation)
            decision = self._planner.decide(event, rank, None)
            if not isinstance(decision, DocumentWrite):
                raise AssertionError("without a manifest nothing is overtaken")
            self._index.check(decision)
        except RecordFault:
            fold.not_indexable(position)
            return
        ids = tuple(chunk.id for chunk in decision.chunks)
        deleted = event.text is None
        metadata = _metadata_digest(event.metadata)
        fold.event(Expectation(event.document_key, rank, event.position, deleted, ids, decision.content_hash, metadata))

    def point(self, found: StoredPoint) -> FoundPoint:
        """A stored point, with its text and metadata judged."""
        return FoundPoint(
            found.id,
            found.document_key,
            found.rank,
            found.place,
            found.count,
            self._late or self._text_fits(found),
            _metadata_digest(found.metadata),
        )

    def _text_fits(self, found: StoredPoint) -> bool:
        """Whether the id is that of the text, at any occurrence in the document."""
        hashed = text_hash(found.text)
        occurrences = max(1, found.count)
        return found.id in chunk_ids(found.document_key, [hashed] * occurrences)


def _position(record: Record, epoch: int) -> Position:
    """Where the event stood first: a replayed dead letter says so in its headers, when they are sound."""
    try:
        original = parse_position(record.headers)
    except ValueError:
        original = None
    return original or Position(record.topic, record.partition, epoch, record.offset, record.timestamp_ms)


def _metadata_digest(metadata: JsonObject) -> str:
    return digest(_rounded(metadata))


def _rounded(value: Any) -> Any:
    """Floats to 12 digits: the engine may give back a neighbour of the number it was given."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value
