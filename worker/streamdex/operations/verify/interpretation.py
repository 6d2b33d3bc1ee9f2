"""What records and stored points mean to a verification. Decodes and plans as the worker does, without a collection."""

from typing import Any

from streamdex.config import Settings
from streamdex.deadletter import count_replays
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.index import StoredPoint, check_payload
from streamdex.intake import Decoder
from streamdex.kafka.position_headers import first_position, parse_position
from streamdex.model import DocumentWrite, Event, Ignored, JsonObject, Manifest, Position, Rank, Record
from streamdex.operations.verify.evidence import Expectation, FoundPoint, NoEvent, Spot, Unindexable
from streamdex.plan import Bases, Chunker, Overtaken, Planner, Ranking
from streamdex.plan.keys import chunk_ids, digest, text_hash


class Interpreter:
    """Reads with one deployment's settings and with its bases. `generation` is the number of its cutting."""

    def __init__(self, settings: Settings, bases: Bases, generation: int) -> None:
        self._late = settings.jina.late_chunking
        self._epoch = settings.kafka.epoch
        self._caps = settings.caps
        self.ranking = Ranking(settings.worker.order, settings.kafka.epoch, generation)
        self.ranking.add_bases(bases)
        self._epochs: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for (topic, partition, epoch), base in bases.items():
            self._epochs.setdefault((topic, partition), []).append((epoch, base))
        self._decoder = Decoder(settings)
        self._planner = Planner(settings, Chunker(settings), generation)

    # --- records ------------------------------------------------------------------------------------------------

    def dead_letter(self, record: Record) -> tuple[Position, int] | None:
        """The position of a dead letter's event, and how often it had been replayed. None: the record is not ours."""
        try:
            position = parse_position(record.headers)
        except ValueError:
            return None
        return None if position is None else (position, count_replays(record))

    def position(self, record: Record) -> tuple[Position, int]:
        """Where the event stood first, and how often it was replayed since. Its dead letter has the same two."""
        return first_position(record, self._epoch), count_replays(record)

    def expectation(self, record: Record) -> Expectation | Unindexable | NoEvent | Ignored:
        """What a record demands of the collection; of one that is ignored, nothing."""
        spot = Spot(record.topic, record.partition, record.offset)
        try:
            event = self.meaning(record)
            if isinstance(event, Ignored):
                return event
            rank = self.ranking.rank_of(event)
        except Exception:  # noqa: BLE001  # a RecordFault, or a bug of ours, which the worker makes a dead letter as well
            return NoEvent(self.position(record)[0], spot)
        try:
            write = self.decide(event, rank, None)
            if not isinstance(write, DocumentWrite):
                raise AssertionError("no manifest is no newer event")
        except Exception:  # noqa: BLE001  # as above
            return Unindexable(event.document_id, rank, event.position, spot)
        return Expectation(
            document_id=event.document_id,
            rank=rank,
            position=event.position,
            spot=spot,
            deleted=event.text is None,
            chunk_ids=tuple(chunk.id for chunk in write.chunks),
            texts=tuple(text_hash(chunk.text).hex() for chunk in write.chunks),
            content_hash=write.content_hash,
            metadata=digests_of(event.metadata),
        )

    def fault(self, record: Record) -> RecordFault:
        """Why a record cannot be indexed. Raises AssertionError for one that can."""
        try:
            event = self.event(record)
            self.decide(event, self.ranking.rank_of(event), None)
        except RecordFault as fault:
            return fault
        except Exception as bug:  # noqa: BLE001  # of ours; its text may quote the record
            return RecordFault(Stage.PLAN, Reason.INTERNAL, f"{type(bug).__name__} while planning")
        raise AssertionError("the record can be indexed")

    def meaning(self, record: Record) -> Event | Ignored:
        """What a record means. Raises RecordFault."""
        return self._decoder.decode(record, self._epoch)

    def event(self, record: Record) -> Event:
        """The event of a record that is not ignored. Raises RecordFault."""
        meaning = self.meaning(record)
        if isinstance(meaning, Ignored):
            raise AssertionError("a record that is ignored demands nothing")
        return meaning

    def decide(self, event: Event, rank: Rank, manifest: Manifest | None) -> DocumentWrite | Overtaken:
        """What the event demands of a collection that has this manifest. Raises RecordFault."""
        decision = self._planner.decide(event, rank, manifest)
        if isinstance(decision, DocumentWrite):
            check_payload(decision, self._caps)
        return decision

    # --- points -------------------------------------------------------------------------------------------------

    def point(self, found: StoredPoint, *, has_vector: bool) -> FoundPoint:
        """A stored point, with its text and metadata as digests."""
        hashed = text_hash(found.text)
        return FoundPoint(
            id=found.id,
            document_id=found.document_id,
            rank=found.rank,
            place=found.place,
            chunks=found.count,
            text=hashed.hex(),
            text_fits=self._late or _is_id_of(found, hashed),
            metadata=digests_of(found.metadata),
            position=self._origin(found),
            has_vector=has_vector,
        )

    def _origin(self, found: StoredPoint) -> Position | None:
        """Where a point's event stood. Its epoch is the one whose base leads to the point's rank."""
        source = found.source
        if source is None:
            return None
        for epoch, base in self._epochs.get((source.topic, source.partition), ()):
            if base + source.offset == found.rank.log_sequence:
                return Position(source.topic, source.partition, epoch, source.offset, 0)
        return None


def _is_id_of(found: StoredPoint, hashed: bytes) -> bool:
    """Whether the id is that of the text. A text that occurs several times in a document has several ids."""
    tries = (1, max(1, found.count))  # nearly always the first decides
    return any(found.id in chunk_ids(found.document_id, [hashed] * occurrences) for occurrences in tries)


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def digests_of(metadata: JsonObject) -> tuple[str, ...]:
    """Two digests of metadata, of an event or of a point. Equal metadata have at least one of them in common.

    The engine returns a float of 16 or 17 digits up to two units in the last place away (measured on 60,000 floats).
    Rounding hides that, unless the two lie on both sides of a number at which rounding turns from down to up. No number
    is such a place for 11 and for 12 digits alike, hence two digests.
    """
    return tuple(digest(_rounded(metadata, digits)) for digits in (12, 11))
