"""Reads a collection with LangChain, which expects the text under `page_content`.

    pip install langchain-qdrant langchain-community
    JINA_API_KEY=jina_… python examples/search_langchain.py documents "how often do I change credentials?"

The worker must write with `--set qdrant.text_key=page_content`; `metadata` is where LangChain looks already.
"""

import os
import sys

from langchain_community.embeddings import JinaEmbeddings
from langchain_qdrant import QdrantVectorStore


def main(collection: str, question: str) -> None:
    """Print the five nearest chunks."""
    store = QdrantVectorStore.from_existing_collection(
        embedding=JinaEmbeddings(model_name="jina-embeddings-v3"),
        collection_name=collection,
        url=os.environ.get("QDRANT_URL", "http://localhost:6333"),
    )
    for document, score in store.similarity_search_with_score(question, k=5):
        print(f"{score:.3f}  {document.metadata}  {document.page_content[:80]!r}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
