"""A Kafka broker in this process: librdkafka's mock cluster, for the demo and for tests of a single member.

It speaks Kafka's own protocol, so that any client connects. It is not Kafka; its limits:

- It keeps 5 MiB or 100,000 batches per partition, and **silently drops** what is older, acknowledged or not.
- A topic is made by its first mention, with 4 partitions; the admin API makes and deletes none.
- One member per group: rebalances between several race, and no commit inside a revocation is taken. The first member
  waits 3 s for others (its session must be longer), a successor for the end of the session of the one before it.
- A group's offsets are answered per partition only.
- Transactions are not visible to readers; offsets cannot be looked up by time; groups cannot be listed.
- Nothing outlives the process.
"""

from confluent_kafka.admin import AdminClient

PARTITIONS = 4
PARTITION_BYTES = 5 * 1024 * 1024
ANSWER_LIMIT_S = 10.0


class EmbeddedBroker:
    """One broker on a free port of 127.0.0.1, from `start` to `stop`."""

    def __init__(self) -> None:
        self._cluster: AdminClient | None = None

    def start(self) -> str:
        """Start it, if it does not run yet, and return its address as bootstrap servers.

        Raises confluent_kafka.KafkaException when it does not answer.
        """
        if self._cluster is None:
            # The cluster lives as long as this client, which carries it and is otherwise not used.
            self._cluster = AdminClient({"test.mock.num.brokers": 1, "log_level": 3})
        brokers = self._cluster.list_topics(timeout=ANSWER_LIMIT_S).brokers.values()
        return ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def stop(self) -> None:
        """End it and forget all records; safe twice and before start."""
        self._cluster = None
