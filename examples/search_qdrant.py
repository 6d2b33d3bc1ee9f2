"""Searches a collection with qdrant-client; the question is embedded by Jina as a query.

    pip install qdrant-client httpx
    JINA_API_KEY=jina_… python examples/search_qdrant.py documents "how often do I change credentials?"

Model and dimensions must be the worker's (`streamdex config` prints them); the task is the query's counterpart of the
documents' `retrieval.passage`.
"""

import os
import sys

import httpx
from qdrant_client import QdrantClient

QDRANT_URL = os.environ.get("QDRANT_URL", "http://localhost:6333")


def embed(question: str) -> list[float]:
    """The question's vector."""
    body = {"model": "jina-embeddings-v3", "task": "retrieval.query", "normalized": True, "input": [question]}
    headers = {"Authorization": f"Bearer {os.environ['JINA_API_KEY']}"}
    answer = httpx.post("https://api.jina.ai/v1/embeddings", json=body, headers=headers, timeout=30)
    answer.raise_for_status()
    vector: list[float] = answer.json()["data"][0]["embedding"]
    return vector


def main(collection: str, question: str) -> None:
    """Print the five nearest chunks."""
    for hit in QdrantClient(QDRANT_URL).query_points(collection, query=embed(question), limit=5).points:
        payload = hit.payload or {}
        print(f"{hit.score:.3f}  {payload.get('document_id', '')}  {payload.get('text', '')[:80]!r}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
