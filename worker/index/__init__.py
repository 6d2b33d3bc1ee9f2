"""Qdrant: the collection equals what was written, whoever writes, however often, in whatever order.

`Index.open` makes or checks the collection. `Index.write` writes documents with guards, manifests, read-backs and
purges; what it answers is what Qdrant holds. The collection remembers its order, its vectors' fingerprint, generations,
bases and progress. gRPC only; the only room that imports qdrant_client and grpc.
"""

from worker.index.collection import CollectionMissing
from worker.index.jobs import WriteJob, Written
from worker.index.payload import check_payload
from worker.index.reader import Hit, Source, StoredPoint
from worker.index.reserved import Progress
from worker.index.room import Index
from worker.index.succession import Alias, Succession

__all__ = [
    "Alias",
    "CollectionMissing",
    "Hit",
    "Index",
    "Progress",
    "Source",
    "StoredPoint",
    "Succession",
    "WriteJob",
    "Written",
    "check_payload",
]
