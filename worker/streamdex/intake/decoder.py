"""A record becomes an event, or a RecordFault: nothing else comes out of here."""

from streamdex.config import CapsSettings, MappingSettings
from streamdex.errors import RecordFault
from streamdex.intake.formats.envelope import decode_envelope
from streamdex.intake.formats.mapping import Mapping
from streamdex.intake.formats.values import VERSION_HEADER, check_version, document_key, fault
from streamdex.kafka.position_headers import parse_number, parse_position
from streamdex.model import Event, Position, Record

METADATA_LEVEL = 2  # in the stored payload, which itself is level 1


class Decoder:
    """Chooses the format, and does what all formats share: a null value deletes, a replay keeps its position."""

    def __init__(self, mapping: MappingSettings, caps: CapsSettings) -> None:
        """Raises ConfigurationError for a mapping that cannot work."""
        self._decode = Mapping(mapping).decode if mapping.in_use else decode_envelope
        self._cap_bytes = caps.record_bytes
        self._metadata_levels = caps.payload_depth - METADATA_LEVEL + 1

    def decode(self, record: Record, epoch: int) -> Event:
        """The event of a record; `epoch` is the deployment's `kafka.epoch`. Raises RecordFault."""
        position = _position(record, epoch)
        if record.value is None:
            return Event(document_key(None, record.key), None, {}, _version_header(record), position)
        return self._decode(record, record.value, position, self._cap_bytes, self._metadata_levels)


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


def _version_header(record: Record) -> int | None:
    """The version of a null value, which has no body to carry one."""
    for name, value in record.headers:
        if name == VERSION_HEADER:
            try:
                return check_version(parse_number(value))
            except ValueError:
                raise _damaged("version") from None
    return None


def _damaged(what: str) -> RecordFault:
    return fault(f"the {what} headers are damaged or incomplete")
