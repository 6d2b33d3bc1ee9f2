"""Searches the collection. The question is embedded with the task that matches that of the documents."""

from streamdex.config import Settings
from streamdex.embed import Embedder, resolve
from streamdex.index import Hit, Index
from streamdex.telemetry import Health, Metrics


async def search_collection(settings: Settings, question: str, limit: int) -> list[Hit]:
    """The chunks nearest to the question, best first. Nothing is retried.

    Raises ConfigurationError, AccountFault, ServiceFault, or SuspectFault when the embedder refuses the question.
    """
    metrics = Metrics()
    profile = resolve(settings.jina)
    embedder = Embedder(settings.jina, profile, Health(), metrics)
    try:
        (vector,) = await embedder.embed_once([question], profile.query_task)
        index = await Index.open(settings, profile.fingerprint, profile.dimension, metrics, create=False)
        try:
            return await index.reader.search(vector, limit)
        finally:
            await index.close()
    finally:
        await embedder.close()
