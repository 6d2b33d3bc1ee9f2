"""Qdrant: the collection equals what was written, whoever writes, however often, in whatever order.

`Index.open` creates or checks the collection. Its `writer` writes documents with guards, manifests, read-backs and
deletes; what it returns is what Qdrant holds. Its `bookkeeping` remembers order, fingerprint, generations, bases and
progress. `WriteQueue` gathers documents into batches. gRPC only; no other package imports qdrant_client and grpc.
"""

from streamdex.index.alias_switch import Alias, AliasSwitch
from streamdex.index.bookkeeping import Bookkeeping, Progress
from streamdex.index.collection import CollectionMissing
from streamdex.index.index import Index
from streamdex.index.jobs import WriteJob, Written
from streamdex.index.reader import Hit, Reader, Source, StoredPoint
from streamdex.index.schema.payload import check_payload
from streamdex.index.write_queue import WriteQueue
from streamdex.index.writer import Writer

__all__ = [
    "Alias",
    "AliasSwitch",
    "Bookkeeping",
    "CollectionMissing",
    "Hit",
    "Index",
    "Progress",
    "Reader",
    "Source",
    "StoredPoint",
    "WriteJob",
    "WriteQueue",
    "Writer",
    "Written",
    "check_payload",
]
