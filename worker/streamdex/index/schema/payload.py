"""A point as it is stored: payload (schema 2), vector as packed bytes, and what a payload may hold.

All is written as bytes, see `wire.py`; an entry is a name of the payload with its value.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from qdrant_client import grpc as q

from streamdex.config import CapsSettings
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.index.encoding.requests import as_point
from streamdex.index.encoding.values import Name, TooDeepError, entry, integer, struct_of, value
from streamdex.index.guards import DOCUMENT_ID, Guards
from streamdex.index.schema.keys import CANARY_ID
from streamdex.model import Chunk, DocumentWrite, JsonObject, Position

CHUNK = "chunk"
CHUNKS = "chunks"
SOURCE = "source"
INDEXED_AT = "indexed_at"

SOURCE_NAME, OFFSET = Name(SOURCE), Name("offset")
_DOCUMENT_ID, _CHUNK, _CHUNKS = Name(DOCUMENT_ID), Name(CHUNK), Name(CHUNKS)

EXACT = 2**53  # Qdrant compares numbers as doubles: exact below
OWN_FIELDS_BYTES = 512  # our own fields beside text, metadata and key, generously
HALF_PAIR = "a text holds half of a surrogate pair"


class PointFormat:
    """How the points of one collection are written: payload keys, rank fields, length of the vectors."""

    def __init__(self, guards: Guards, text_key: str, metadata_key: str, vector: "PackedVector") -> None:
        self._guards = guards
        self._text = Name(text_key)
        self._metadata = Name(metadata_key)
        self._vector = vector

    def point(self, chunk: Chunk, vector: bytes, shared: Sequence[bytes]) -> bytes:
        """A new point: id, whole payload, vector. `shared` as below."""
        return as_point(chunk.id, self.whole(chunk, shared), self._vector.of_point(vector))

    def canary(self) -> bytes:
        """An ordinary point, under a bookkeeping id."""
        ones = b"\x00\x00\x80\x3f" * (self._vector.bytes // 4)
        return as_point(CANARY_ID, [entry("canary", json=True)], self._vector.of_point(ones))

    def whole(self, chunk: Chunk, shared: Sequence[bytes]) -> list[bytes]:
        """The whole payload of one chunk, by entries."""
        return [place(chunk), self._text.holds_text(chunk.text), *shared]

    def shared(self, write: DocumentWrite, metadata: bytes, now: bytes) -> list[bytes]:
        """The entries that all chunks of a document share: of all but its key, an event may change them without a
        new vector. `metadata` as `check_payload` has it, `now` as `indexed_at`.
        """
        event = write.event
        return [
            _DOCUMENT_ID.holds_text(event.document_id),
            *self._guards.rank_entries(write.rank),
            _CHUNKS.holds_integer(len(write.chunks)),
            self._metadata.holds(metadata),
            source(event.position),
            now,
        ]


class PackedVector:
    """Puts packed little-endian float32 bytes into messages without making a Python float."""

    def __init__(self, dimension: int) -> None:
        self.bytes = 4 * dimension
        zeros = q.DenseVector(data=[0.0] * dimension)
        point = q.PointStruct(vectors=q.Vectors(vector=q.Vector(dense=zeros)))
        # What stands before the floats on the wire is the same for every vector of this length.
        self._dense_head = zeros.SerializeToString()[: -self.bytes]
        self._point_head = point.SerializeToString()[: -self.bytes]

    def of_point(self, vector: bytes) -> tuple[bytes, bytes]:
        """The field of a point that holds its vector, in parts. Raises ValueError for a vector of another length."""
        self._check(vector)
        return self._point_head, vector

    def merge_into_dense(self, dense: q.DenseVector, vector: bytes) -> None:
        """Fill a query's vector. Raises ValueError for a vector of another length."""
        self._check(vector)
        dense.MergeFromString(self._dense_head + vector)

    def _check(self, vector: bytes) -> None:
        if len(vector) != self.bytes:
            raise ValueError(f"a vector of {len(vector)} bytes where {self.bytes} are stored")


def place(chunk: Chunk) -> bytes:
    """The entry that tells which chunk of its document this is."""
    return _CHUNK.holds_integer(chunk.place)


def indexed_at(time_ms: int) -> bytes:
    """The entry that tells when a point was written."""
    return entry(INDEXED_AT, rfc3339(time_ms))


def source(position: Position) -> bytes:
    """The entry that tells where the event stood in the log."""
    offset = integer(position.offset)
    return _before_offset(position.topic, position.partition, len(offset)) + offset


@lru_cache(maxsize=4096)  # the partitions of one worker, by the bytes that their offsets take
def _before_offset(topic: str, partition: int, size: int) -> bytes:
    """All that stands before an offset of this size: it is the same for all records of a partition."""
    entries = (entry("topic", topic), entry("partition", partition), OFFSET.holds(bytes(size)))
    return SOURCE_NAME.holds(struct_of(entries))[:-size]


def rfc3339(time_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, such as 2026-11-22T19:28:00.000Z."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03}Z"


def check_payload(write: DocumentWrite, caps: CapsSettings) -> bytes:
    """The document's metadata as a value, if Qdrant can take its payloads: before money is spent on its vectors.

    Deep payloads are answered `completed` and keep the server from its next start; NaN and lone surrogates are refused
    for the whole batch. Raises RecordFault: TOO_DEEP, PAYLOAD_TOO_LARGE, UNDECODABLE.
    """
    if not -EXACT < write.rank.version < EXACT or not 0 <= write.rank.sequence < EXACT:
        raise _undecodable("the version does not fit into 53 bits")
    event = write.event
    metadata = _checked(event.metadata, caps.payload_depth)
    longest = max([text_bytes(chunk.text) for chunk in write.chunks], default=0)
    total = text_bytes(event.document_id) + len(metadata) + longest + OWN_FIELDS_BYTES
    if total > caps.payload_bytes:
        raise RecordFault(
            Stage.PLAN,
            Reason.PAYLOAD_TOO_LARGE,
            f"a point's payload would take {total} bytes; caps.payload_bytes is {caps.payload_bytes}",
        )
    return metadata


def _checked(metadata: JsonObject, payload_depth: int) -> bytes:
    try:
        return value(metadata, payload_depth - 1)  # the payload itself is a level
    except TooDeepError:
        raise RecordFault(Stage.PLAN, Reason.TOO_DEEP, f"the payload has more than {payload_depth} levels") from None
    except UnicodeEncodeError:
        raise _undecodable(HALF_PAIR) from None
    except ValueError as refused:
        raise _undecodable(f"the metadata holds {refused}") from None


def text_bytes(text: str) -> int:
    """Bytes that a string takes in a payload. Raises RecordFault for one that is not Unicode text."""
    if text.isascii():
        return len(text) + 4
    try:
        return len(text.encode()) + 4
    except UnicodeEncodeError:
        raise _undecodable(HALF_PAIR) from None


def _undecodable(message: str) -> RecordFault:
    return RecordFault(Stage.PLAN, Reason.UNDECODABLE, message)
