"""Names that stay for ever: where a document's manifest, and what is kept beside the manifests, is found.

Golden values stand in the tests. Changing anything here orphans every stored manifest.
"""

import hashlib
import uuid
from functools import lru_cache

MANIFEST_NAMESPACE = uuid.UUID("0b8a3c52-5e0f-5d0a-8f39-6f2f1f6f0c7e")
_NAMESPACE_BYTES = MANIFEST_NAMESPACE.bytes
_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}  # by the digit that it replaces

# Document keys begin with "s:" or "i:", so that no document's manifest can meet a reserved one.
_BOOKKEEPING = "streamdex:"


@lru_cache(maxsize=8192)  # asked for at plan, write, guard and read-back of the same document
def manifest_id(document_key: str) -> str:
    """UUIDv5 of a document key, as text; `uuid.uuid5` gives the same at three times the cost."""
    text = hashlib.sha1(_NAMESPACE_BYTES + document_key.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def bookkeeping_id(name: str) -> str:
    """Where the reserved manifest of that name is kept, as a UUID's text."""
    return manifest_id(_BOOKKEEPING + name)


CANARY_ID = bookkeeping_id("canary")  # a point, written and removed at once to learn whether any write passes
