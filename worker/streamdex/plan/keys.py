"""Names and hashes that stay for ever: the same document and text must give the same id in every version of the worker.

Golden values stand in the tests. Changing anything here orphans every stored chunk.
"""

import hashlib
import uuid
from collections.abc import Iterable

import orjson

from streamdex.model import JsonObject, uuid5

CHUNK_NAMESPACE = uuid.UUID("8f5b6f4e-6f3c-5c8e-9d5e-0d4f1c1f7a11")
_NAMESPACE_BYTES = CHUNK_NAMESPACE.bytes
_SEPARATOR = b"\x00"  # cannot stand in the hexadecimal parts, so no two names run into each other


def text_hash(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def chunk_ids(document_id: str, hashes: Iterable[bytes], context: bytes = b"") -> list[str]:
    """Ids of a document's chunks from their text hashes, in order; a repeated text is told apart by its occurrence.

    `context` is the whole document's text hash where a vector depends on it (late chunking), else empty.
    """
    seen: dict[bytes, int] = {}
    ids = []
    key, of_context = document_id.encode(), context.hex().encode()
    for hashed in hashes:
        occurrence = seen.get(hashed, 0)
        seen[hashed] = occurrence + 1
        name = (key, hashed.hex().encode(), b"%d" % occurrence, of_context)
        ids.append(uuid5(_NAMESPACE_BYTES, _SEPARATOR.join(name)))
    return ids


def content_hash(hashed_text: bytes, metadata: JsonObject, payload_keys: tuple[bytes, bytes]) -> str:
    """32 hexadecimal digits over text, metadata and the payload keys they are stored under: what a reader would see."""
    parts = (hashed_text, orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS), *payload_keys)
    return hashlib.blake2b(_SEPARATOR.join(parts), digest_size=16).hexdigest()


def digest(value: object) -> str:
    """32 hexadecimal digits over a JSON value, whatever the order of its keys."""
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
