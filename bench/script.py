"""The peer: the script that Qdrant's guide to Jina's embeddings leads to, put into a consume loop.

What people write today, and no worse: requests in batches of 64, JSON floats as they come by default, points over REST
with qdrant-client's defaults, a commit after each batch. No guards, no retries, no dead letters, no memory of what was
embedded before: it embeds and writes everything it sees.

    python -m bench.script   (reads KAFKA, TOPIC, GROUP, JINA and QDRANT from the environment, as such scripts do)
"""

import json
import os
import uuid

import requests
from confluent_kafka import Consumer, Message
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, PointStruct, VectorParams

BATCH = 64
COLLECTION = "script"
DIMENSION = 1024


def embed(texts: list[str]) -> list[list[float]]:
    """The texts' vectors, as in the guide."""
    response = requests.post(
        f"{os.environ['JINA']}/embeddings",
        headers={"Content-Type": "application/json", "Authorization": "Bearer none"},
        json={
            "model": "jina-embeddings-v3",
            "task": "retrieval.passage",
            "dimensions": DIMENSION,
            "normalized": True,
            "input": texts,
        },
        timeout=60,
    )
    response.raise_for_status()
    return [item["embedding"] for item in response.json()["data"]]


def payloads(messages: list[Message]) -> list[dict[str, object]]:
    """What is stored of each paragraph of each document."""
    found: list[dict[str, object]] = []
    for message in messages:
        document = json.loads(message.value() or b"{}")
        same = {"document_id": document["id"], "metadata": document["metadata"]}
        found += [{**same, "text": text} for text in document["text"].split("\n\n")]
    return found


def store(client: QdrantClient, found: list[dict[str, object]]) -> None:
    """Embed and upsert, in batches."""
    for start in range(0, len(found), BATCH):
        batch = found[start : start + BATCH]
        vectors = embed([str(payload["text"]) for payload in batch])
        points = [
            PointStruct(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{payload['document_id']}/{payload['text']}")),
                vector=vector,
                payload=payload,
            )
            for payload, vector in zip(batch, vectors, strict=True)
        ]
        client.upsert(COLLECTION, points)


def main() -> None:
    """Consume for ever."""
    client = QdrantClient(os.environ["QDRANT"])
    if not client.collection_exists(COLLECTION):
        client.create_collection(COLLECTION, vectors_config=VectorParams(size=DIMENSION, distance=Distance.COSINE))
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA"],
            "group.id": os.environ["GROUP"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([os.environ["TOPIC"]])
    while True:
        messages = [message for message in consumer.consume(BATCH, timeout=1.0) if message.error() is None]
        if messages:
            store(client, payloads(messages))
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
