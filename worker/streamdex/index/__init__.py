"""Qdrant: the collection equals what was written, whoever writes, however often, in whatever order.

`Index.open` makes or checks the collection. `Index.write` writes documents with guards, manifests, read-backs and
purges; what it answers is what Qdrant holds. The collection remembers its order, its vectors' fingerprint, generations,
bases and progress. gRPC only; the only room that imports qdrant_client and grpc.
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
