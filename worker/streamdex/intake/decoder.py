"""A record becomes an event, a record that is ignored, or a RecordFault: nothing else comes out of here."""

from collections.abc import Callable, Mapping
from types import ModuleType

from streamdex.config import EventFormat, Settings
from streamdex.errors import Reason, RecordFault
from streamdex.intake.formats import (
    canal,
    cloudevents,
    debezium,
    debezium_mongodb,
    dms,
    json_row,
    maxwell,
    mongodb,
)
from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.intake.formats.envelope import decode_envelope
from streamdex.intake.formats.ids import id_from_key
from streamdex.intake.formats.mapping import RowMapping
from streamdex.intake.formats.values import (
    VERSION_HEADER,
    EventLimits,
    check_size,
    check_version,
    fault,
    load_exactly,
    load_object,
    plain_json,
)
from streamdex.kafka.position_headers import parse_number, parse_position
from streamdex.model import Event, Ignored, JsonObject, Order, Position, Record

METADATA_LEVEL = 2  # in the stored payload, which itself is level 1

# One of these stands in every value that `fits` a wrapper; without them seven questions need not be asked.
MARKS = frozenset(
    ("payload", "op", "__deleted", "ts_ms", "status", "operationType", "type", "isDdl", "metadata", "specversion")
)

ChangeOf = Callable[[JsonObject, Record], Change]

# Formats that wrap a row; each has `fits` and `change_of`.
WRAPPERS: Mapping[EventFormat, ModuleType] = {
    EventFormat.CLOUDEVENTS: cloudevents,  # before the others, one of which may be its data
    EventFormat.DEBEZIUM: debezium,
    EventFormat.DEBEZIUM_MONGODB: debezium_mongodb,
    EventFormat.MAXWELL: maxwell,
    EventFormat.CANAL: canal,
    EventFormat.DMS: dms,
    EventFormat.MONGODB: mongodb,
}


class Decoder:
    """Chooses the format, and does what all formats share: a null value deletes, a replay keeps its position."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError for a mapping that cannot work."""
        caps, worker = settings.caps, settings.worker
        by_version = worker.order is Order.VERSION
        self._limits = EventLimits(caps.record_bytes, caps.payload_depth - METADATA_LEVEL + 1, by_version)
        self._by_timestamp = by_version and worker.tombstone_version == "timestamp"
        self._events = settings.events
        formats = {settings.events.format, *settings.events.by_topic.values()}
        rows = formats - {EventFormat.AUTO, EventFormat.ENVELOPE, EventFormat.TEXT}
        self._mapping = RowMapping(settings.mapping, self._limits) if rows or settings.mapping.in_use else None

    def decode(self, record: Record, epoch: int) -> Event | Ignored:
        """What a record means; `epoch` is the deployment's `kafka.epoch`. Raises RecordFault."""
        position = _position(record, epoch)
        if record.value is None:
            return Event(self._id_from_key(record), None, {}, self._tombstone_version(record), position)
        value = plain_json(record.value, self._limits.record_bytes)
        chosen = self._events.of_topic(record.topic)
        if chosen is EventFormat.TEXT:
            return self._document_of_text(record, value, position)
        if chosen is EventFormat.ENVELOPE or (chosen is EventFormat.AUTO and self._mapping is None):
            return self._decode_envelope(record, value, position)
        return self._decode_row(record, value, position, chosen)

    def format_of(self, record: Record) -> str:
        """The format that a record is read as, by its settings or by what it looks like."""
        chosen = self._events.of_topic(record.topic)
        if chosen is not EventFormat.AUTO or record.value is None:
            return chosen.value
        if self._mapping is None:
            return EventFormat.ENVELOPE.value
        try:
            bound = self._limits.record_bytes
            body = load_object(plain_json(record.value, bound), bound)
        except RecordFault:
            return chosen.value
        return (_recognised(body, record) or EventFormat.JSON).value

    def _decode_envelope(self, record: Record, value: bytes, position: Position) -> Event:
        try:
            return decode_envelope(record, value, position, self._limits)
        except RecordFault as error:
            if error.reason is Reason.UNKNOWN_FIELD:
                found = _recognised(load_object(value, self._limits.record_bytes), record)
                if found is not None:
                    message = f"the record looks like {found}: set mapping.text, or events.format"
                    raise fault(message, Reason.UNKNOWN_FIELD) from None
            raise

    def _decode_row(self, record: Record, value: bytes, position: Position, chosen: EventFormat) -> Event | Ignored:
        if self._mapping is None:
            raise AssertionError("a format of rows has a mapping")
        body = load_object(value, self._limits.record_bytes)
        if chosen is EventFormat.AUTO:
            chosen = _recognised(body, record) or EventFormat.JSON
        change_of: ChangeOf = json_row.change_of if chosen is EventFormat.JSON else WRAPPERS[chosen].change_of
        change = change_of(body, record)
        if change.kind is ChangeKind.IGNORED:
            return Ignored(change.why, position)
        return self._mapping.event(change, record, position, lambda: change_of(load_exactly(value), record).row)

    def _document_of_text(self, record: Record, value: bytes, position: Position) -> Event:
        """A record whose value is the text, and whose key is the id."""
        check_size(value, self._limits.record_bytes)
        try:
            return Event(id_from_key(record.key), value.decode(), {}, None, position)
        except UnicodeDecodeError:
            raise fault("the value is not text in UTF-8", Reason.NOT_UTF8) from None

    def _id_from_key(self, record: Record) -> str:
        chosen = self._events.of_topic(record.topic)
        if self._mapping is None or chosen is EventFormat.ENVELOPE:
            return id_from_key(record.key)
        if chosen is EventFormat.DEBEZIUM_MONGODB:  # the key is extended JSON in a text
            return self._mapping.id_of(debezium_mongodb.row_of_key(record), record)
        return self._mapping.id_from_key(record.key)

    def _tombstone_version(self, record: Record) -> int | None:
        """The version of a null value, which has no body to carry one."""
        for name, value in record.headers:
            if name == VERSION_HEADER:
                try:
                    return check_version(parse_number(value))
                except ValueError:
                    raise _damaged("version") from None
        return record.timestamp_ms if self._by_timestamp else None


def _recognised(body: JsonObject, record: Record) -> EventFormat | None:
    """The wrapping format that a record can only be of."""
    if not record.headers and MARKS.isdisjoint(body):
        return None
    for name, wrapper in WRAPPERS.items():
        if wrapper.fits(body, record):
            return name
    return None


def _position(record: Record, epoch: int) -> Position:
    """Where the event stood in the log: its original position, when it is a replayed dead letter."""
    if record.headers:
        try:
            original = parse_position(record.headers)
        except ValueError:
            raise _damaged("position") from None
        if original is not None:
            return original
    return Position(record.topic, record.partition, epoch, record.offset, record.timestamp_ms)


def _damaged(what: str) -> RecordFault:
    return fault(f"the {what} headers are damaged or incomplete")
