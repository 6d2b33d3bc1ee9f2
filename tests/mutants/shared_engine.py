"""One Qdrant engine for all scenarios: making its collections costs ten times what a scenario does."""

import atexit
import contextlib
from functools import cache

from harness.protocol.deployments import made_engine
from streamdex.standins.qdrant import Engine, QdrantRefusal


@cache
def shared_engine() -> Engine:
    """The engine, with the collections of the protocol's schedules; made outside of any event loop."""
    made = contextlib.ExitStack()
    atexit.register(made.close)
    return made.enter_context(made_engine())


def emptied(engine: Engine, *collections: str) -> None:
    """Leave nothing in these collections, as far as they are there."""
    for collection in collections:
        with contextlib.suppress(QdrantRefusal):
            engine.clear(collection)
