"""Qdrant in one process: the real storage engine (qdrant-edge) behind Qdrant's own gRPC services.

`EmbeddedQdrant` serves any Qdrant client on a loopback port and can be made to fail in every way the real server
does. `Service` with a `DirectStub` is the same without a network, `Engine` the same without a loop: for tests that run
thousands of schedules.
"""

from worker.embedded.qdrant.direct import DirectStub
from worker.embedded.qdrant.engine import Engine, Stats
from worker.embedded.qdrant.faults import Fault, Faults, Kind
from worker.embedded.qdrant.refusals import Refusal
from worker.embedded.qdrant.server import EmbeddedQdrant
from worker.embedded.qdrant.service import Service

__all__ = ["DirectStub", "EmbeddedQdrant", "Engine", "Fault", "Faults", "Kind", "Refusal", "Service", "Stats"]
