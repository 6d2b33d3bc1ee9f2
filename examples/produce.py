"""Produces two document events in streamdex's own envelope: an upsert, then a delete of another document.

    pip install confluent-kafka
    python examples/produce.py localhost:9092 documents

The record's key is the document's id, so all events of a document share a partition and keep their order.
"""

import json
import sys

from confluent_kafka import Producer


def main(bootstrap_servers: str, topic: str) -> None:
    """Send both events, and wait until the brokers have them."""
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True})
    upsert = {
        "id": "handbook-7",
        "text": "Rotate the API key every ninety days.",
        "metadata": {"title": "Security handbook", "language": "en"},
    }
    producer.produce(topic, key="handbook-7", value=json.dumps(upsert))
    producer.produce(topic, key="handbook-6", value=json.dumps({"id": "handbook-6", "op": "delete"}))
    left = producer.flush(30)
    if left:
        sys.exit(f"{left} events were not acknowledged by {bootstrap_servers}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
