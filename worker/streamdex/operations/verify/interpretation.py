"""What records and stored points mean to a verification: the same rooms that the worker uses, asked without a store."""

from typing import Any

from streamdex.config import Settings
from streamdex.deadletter import count_replays
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.index import StoredPoint, check_payload
from streamdex.intake import Decoder
from streamdex.kafka.position_headers import first_position, parse_position
from streamdex.model import DocumentWrite, Event, JsonObject, Manifest, Position, Rank, Record
from streamdex.operations.verify import Expectation, FoundPoint, NoEvent, Spot, Unindexable
from streamdex.operations.verify.evidence import GENERATIONS
from streamdex.plan import Bases, Chunker, Overtaken, Planner, rank_of
from streamdex.plan.keys import chunk_ids, digest, text_hash


class Interpreter:
    """Reads with one deployment's settings. `generation` is the number of its cutting."""

    def __init__(self, settings: Settings, bases: Bases, generation: int) -> None:
        self._order = settings.worker.order
        self._late = settings.jina.late_chunking
        self._epoch = settings.kafka.epoch
        self._caps = settings.caps
        self._bases = bases
        self._epochs: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for (topic, partition, epoch), base in bases.items():
            self._epochs.setdefault((topic, partition), []).append((epoch, base))
        self._generation = generation
        self._decoder = Decoder(settings.mapping, settings.caps)
        self._planner = Planner(settings, Chunker(settings), generation)

    # --- records ------------------------------------------------------------------------------------------------

    def dead_letter(self, record: Record) -> tuple[Position, int] | None:
        """The position of the event that a dead letter was, and after how many replays; None for others' records."""
        try:
            position = parse_position(record.headers)
        except ValueError:
            return None
        return None if position is None else (position, count_replays(record))

    def position(self, record: Record) -> tuple[Position, int]:
        """Where the event stood first, and how often it was replayed since: what its letter says as well."""
        return first_position(record, self._epoch), count_replays(record)

    def expectation(self, record: Record) -> Expectation | Unindexable | NoEvent:
        """What a record asks for."""
        spot = Spot(record.topic, record.partition, record.offset)
        try:
            event = self.event(record)
            rank = self.rank(event)
        except Exception:  # noqa: BLE001  # a RecordFault, or a bug of ours, which makes a dead letter as well
            return NoEvent(self.position(record)[0], spot)
        try:
            write = self.plan(event, rank, None)
        except Exception:  # noqa: BLE001  # as above
            return Unindexable(event.document_key, rank, event.position, spot)
        return Expectation(
            document_key=event.document_key,
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
            self.plan(event, self.rank(event), None)
        except RecordFault as fault:
            return fault
        except Exception as bug:  # noqa: BLE001  # of ours; its text may quote the record
            return RecordFault(Stage.PLAN, Reason.INTERNAL, f"{type(bug).__name__} while planning")
        raise AssertionError("the record can be indexed")

    def event(self, record: Record) -> Event:
        """The event of a record. Raises RecordFault."""
        return self._decoder.decode(record, self._epoch)

    def rank(self, event: Event) -> Rank:
        """The rank of an event. Raises RecordFault."""
        return rank_of(event, self._order, self._bases, self._generation)

    def plan(self, event: Event, rank: Rank, manifest: Manifest | None) -> DocumentWrite:
        """What the event asks of a store that has this manifest, an older one. Raises RecordFault."""
        decision = self.decide(event, rank, manifest)
        if not isinstance(decision, DocumentWrite):
            raise AssertionError("an older manifest does not overtake an event")
        return decision

    def decide(self, event: Event, rank: Rank, manifest: Manifest | None) -> DocumentWrite | Overtaken:
        """What the event asks of a store that has this manifest. Raises RecordFault."""
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
            document_key=found.document_key,
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
        """Where the event of a point stood: its epoch is the one whose base gives the point's rank."""
        source = found.source
        if source is None:
            return None
        sequence = (found.rank.sequence or found.rank.version) // GENERATIONS
        for epoch, base in self._epochs.get((source.topic, source.partition), ()):
            if base + source.offset == sequence:
                return Position(source.topic, source.partition, epoch, source.offset, 0)
        return None


def _is_id_of(found: StoredPoint, hashed: bytes) -> bool:
    """Whether the id is that of the text; a text that stands in the document several times has several ids."""
    for occurrences in (1, max(1, found.count)):  # nearly always the first
        if found.id in chunk_ids(found.document_key, [hashed] * occurrences):
            return True
    return False


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def digests_of(metadata: JsonObject) -> tuple[str, ...]:
    """Stands for metadata, stored or not: the same metadata have at least one of these in common.

    The engine gives back a float of 16 or 17 digits up to two units in the last place away (measured on 60,000), which
    rounding hides unless the two lie on both sides of where it turns. No number lies there for 11 and 12 digits alike.
    """
    return tuple(digest(_rounded(metadata, digits)) for digits in (12, 11))
