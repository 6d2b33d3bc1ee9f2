"""Qdrant in one process: the real storage engine (qdrant-edge) behind Qdrant's own gRPC services.

`EmbeddedQdrant` serves any Qdrant client on a loopback port and can be made to fail in every way the real server
does. For tests that run thousands of schedules, `QdrantService` with a `DirectClient` is the same without a network,
and `Engine` is the same without an event loop.

Where it differs from the real server 1.18, as far as known:
- No optimizer runs by itself, so every search scans all vectors, until `Engine.optimize` is called.
- An upsert into an indexed segment replaces the whole point; 1.18 keeps the vectors and the payload that are not sent.
- A payload nested deeper than 33 levels is refused with UNKNOWN; 1.18 stores it and breaks over it later.
- `wait` is honoured in the status only: everything is applied before it is answered. Ordering, consistency and
  timeouts in requests, strict mode, snapshots, clusters, and all settings but size, distance and the indexing threshold
  are without effect; methods and conditions that are not offered are refused with UNIMPLEMENTED.
"""

from streamdex.standins.qdrant.direct import DirectClient, DirectStub
from streamdex.standins.qdrant.engine import Engine, EngineStats
from streamdex.standins.qdrant.faults import FaultKind, QdrantFault, QdrantFaults
from streamdex.standins.qdrant.refusals import QdrantRefusal
from streamdex.standins.qdrant.server import EmbeddedQdrant
from streamdex.standins.qdrant.service import QdrantService

__all__ = [
    "DirectClient",
    "DirectStub",
    "EmbeddedQdrant",
    "Engine",
    "EngineStats",
    "FaultKind",
    "QdrantFault",
    "QdrantFaults",
    "QdrantRefusal",
    "QdrantService",
]
