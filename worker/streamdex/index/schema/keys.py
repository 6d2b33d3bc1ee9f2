"""Names that stay for ever: where a document's manifest, and what is kept beside the manifests, is found.

Golden values stand in the tests. Changing anything here orphans every stored manifest.
"""

import uuid
from functools import lru_cache

from streamdex.model import uuid5

# Two namespaces, so that no document's manifest meets one of the bookkeeping, whatever its id is.
MANIFEST_NAMESPACE = uuid.UUID("2927de21-4da2-4362-b43c-8e94d441226f")
BOOKKEEPING_NAMESPACE = uuid.UUID("0b8a3c52-5e0f-5d0a-8f39-6f2f1f6f0c7e")
_NAMESPACE_BYTES = MANIFEST_NAMESPACE.bytes


@lru_cache(maxsize=8192)  # asked for at plan, write, guard and read-back of the same document
def manifest_id(document_id: str) -> str:
    """UUIDv5 of a document's id, as text."""
    return uuid5(_NAMESPACE_BYTES, document_id.encode())


def bookkeeping_id(name: str) -> str:
    """The id of a manifest of the bookkeeping, as a UUID's text."""
    return uuid5(BOOKKEEPING_NAMESPACE.bytes, b"streamdex:" + name.encode())


CANARY_ID = bookkeeping_id("canary")  # a point, written and deleted at once to learn whether any write passes
