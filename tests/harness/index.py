"""What the tests of the index room share: documents to write, an index on an embedded server, and what it must hold."""

import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from streamdex.config import CapsSettings, Settings
from streamdex.index import Index, WriteJob, check_payload
from streamdex.model import Chunk, DocumentWrite, Event, Manifest, Order, Position, Rank
from streamdex.plan.keys import chunk_ids, text_hash
from streamdex.standins.qdrant import EmbeddedQdrant
from streamdex.telemetry import Metrics

DIMENSION = 4
FINGERPRINT = {"model": "stand-in", "dimensions": DIMENSION}
NOW_MS = 1_795_000_000_123


def settings_for(
    server: EmbeddedQdrant, *, order: Order = Order.OFFSET, horizon_s: float = 60.0, **qdrant: Any
) -> Settings:
    """Settings of a worker that writes to this server."""
    return Settings(
        qdrant={"url": f"http://{server.host}", "grpc_port": server.port, **qdrant},
        worker={"order": order, "request_horizon_s": horizon_s},
    )


@asynccontextmanager
async def opened(server: EmbeddedQdrant, settings: Settings | None = None, **options: Any) -> AsyncIterator[Index]:
    """An index on the server, closed afterwards."""
    index = await Index.open(
        settings or settings_for(server),
        options.pop("fingerprint", FINGERPRINT),
        options.pop("dimension", DIMENSION),
        options.pop("metrics", None) or Metrics(),
        **{"clock_ms": lambda: NOW_MS, **options},
    )
    try:
        yield index
    finally:
        await index.close()


def vector_of(text: str) -> bytes:
    """A unit vector that tells texts apart, packed."""
    first = len(text) % 7 + 1
    second = sum(map(ord, text)) % 11 + 1
    length = (first * first + second * second) ** 0.5
    return struct.pack("<4f", first / length, second / length, 0.0, 0.0)


def write_of(
    key: str,
    rank: int | Rank,
    texts: Sequence[str] | None,
    before: Manifest | None = None,
    metadata: Mapping[str, Any] | None = None,
    generation: int = 0,
    *,
    coalesced: bool = False,
) -> DocumentWrite:
    """A planned write: `texts` are the document's chunks, None is a delete."""
    rank = rank if isinstance(rank, Rank) else Rank(rank)
    pieces = list(texts or ())
    ids = chunk_ids(key, [text_hash(piece) for piece in pieces])
    chunks = tuple(Chunk(ids[place], place, piece, 1) for place, piece in enumerate(pieces))
    text = None if texts is None else "".join(pieces)
    position = Position("topic", 3, 1, rank.version, 1_790_000_000_000)
    event = Event(key, text, dict(metadata or {}), None, position)
    listed = frozenset(ids).intersection(before.chunk_ids if before else ())
    content = "" if texts is None else "0123456789abcdef" * 2
    return DocumentWrite(event, rank, generation, chunks, listed, content, before, coalesced)


def job_of(write: DocumentWrite, also: Sequence[str] = (), *, may_skip_delete: bool = False) -> WriteJob:
    """The write with the vectors of the chunks that its manifest does not list, and of those named."""
    wanted = {chunk.id for chunk in write.to_embed} | set(also)
    vectors = {chunk.id: vector_of(chunk.text) for chunk in write.chunks if chunk.id in wanted}
    return WriteJob(write, vectors, check_payload(write, CapsSettings()), may_skip_delete=may_skip_delete)


async def put(index: Index, key: str, rank: int | Rank, texts: Sequence[str] | None, **options: Any) -> Rank | None:
    """Plan one document against its manifest and write it; answers the rank found."""
    before = (await index.reader.manifests([key])).get(key)
    (written,) = await index.writer.write([job_of(write_of(key, rank, texts, before, **options))])
    assert written.fault is None
    assert written.missing == ()
    return written.found


async def assert_holds(
    index: Index, key: str, rank: int | Rank, texts: Sequence[str] | None, metadata: Mapping[str, Any] | None = None
) -> None:
    """The collection holds exactly this document at this rank: manifest, points and every field of their payloads."""
    rank = rank if isinstance(rank, Rank) else Rank(rank)
    manifest, points = await index.reader.document(key)
    expected = write_of(key, rank, texts)
    assert manifest is not None
    assert manifest.rank == rank
    assert manifest.chunk_ids == tuple(chunk.id for chunk in expected.chunks)
    assert (manifest.tombstone_until_ms is not None) == (texts is None)
    assert [(p.id, p.rank, p.place, p.count, p.text, p.metadata) for p in points] == [
        (chunk.id, rank, chunk.place, len(expected.chunks), chunk.text, dict(metadata or {}))
        for chunk in expected.chunks
    ]
