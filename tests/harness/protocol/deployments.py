"""What the workers of the protocol's schedules are made from: two deployments, an engine, and vectors."""

import asyncio
import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from unittest.mock import patch

import structlog

from streamdex.config import Settings
from streamdex.index import Index
from streamdex.index.client import connection as connection_module
from streamdex.model import Order, Partition
from streamdex.plan import Chunker
from streamdex.standins.qdrant import DirectClient, Engine, QdrantService
from streamdex.telemetry import Metrics

DIMENSION = 4
EPOCH = 1
NOW_MS = 1_795_000_000_123
PARTITIONS = (Partition("topic", 0), Partition("topic", 1))
BASES = {PARTITIONS[0]: 1_000, PARTITIONS[1]: 5_000}
HORIZON_S = 60.0
DRAIN_S = 18.0
MAX_TOKENS = (16, 8)  # by generation
PAYLOAD_KEYS = (("text", "metadata"), ("page_content", "meta"))  # by generation, where they are renamed
DOCUMENT_TOKENS = 1_000

UNEMBEDDABLE = "this paragraph is UNEMBEDDABLE"
REFUSED = "REFUSED"  # in the metadata: the store refuses the document
TOO_LONG = "far too long a paragraph " * 160

METRICS = Metrics()


def payload_keys(generation: int, renamed: bool) -> tuple[str, str]:
    """Where a deployment stores text and metadata."""
    return PAYLOAD_KEYS[generation if renamed else 0]


@lru_cache
def settings_of(order: Order, generation: int, late_chunking: bool, renamed: bool) -> Settings:
    """Two deployments that cut differently: generation 1 parts the long paragraphs of generation 0.

    `renamed`: it also stores text and metadata under other keys.
    """
    text_key, metadata_key = payload_keys(generation, renamed)
    return Settings(
        qdrant={"collection": order.value, "text_key": text_key, "metadata_key": metadata_key},
        chunk={"max_tokens": MAX_TOKENS[generation]},
        caps={"document_tokens": DOCUMENT_TOKENS},
        worker={"order": order, "request_horizon_s": HORIZON_S},
        jina={"late_chunking": late_chunking},
    )


class MemoChunker(Chunker):
    """The shipped one, which is pure, with a memory: the schedules cut the same texts over and over."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.chunks = lru_cache(8192)(super().chunks)  # type: ignore[method-assign]  # the same signature


@lru_cache
def chunker_of(order: Order, generation: int, late_chunking: bool) -> Chunker:
    """The chunker of a deployment."""
    return MemoChunker(settings_of(order, generation, late_chunking, renamed=False))


@contextmanager
def made_engine() -> Iterator[Engine]:
    """An engine with the collections of both orders, made by the shipped set-up."""
    engine = Engine()
    client = DirectClient(QdrantService(engine))

    async def make() -> None:
        for order in Order:
            settings = settings_of(order, 0, late_chunking=False, renamed=False)
            with patch.object(connection_module, "make_client", lambda *_: client):
                index = await Index.open(settings, {"model": "played"}, DIMENSION, METRICS)
            await index.close()

    try:
        with structlog.testing.capture_logs():
            asyncio.run(make())
        yield engine
    finally:
        engine.close()


def vector_of(text: str, context: str = "") -> bytes:
    """A vector of length 1 that tells texts apart, and with late chunking also the documents around them."""
    digest = hashlib.blake2b(f"{text}|{context}".encode(), digest_size=4).digest()
    numbers = [byte + 1.0 for byte in digest]
    length = sum(number * number for number in numbers) ** 0.5
    return struct.pack("<4f", *(number / length for number in numbers))
