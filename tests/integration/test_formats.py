"""A table's life on real Kafka, in every dialect: the collection equals the table, also after everything came again."""

from pathlib import Path

import orjson
import pytest

from harness.dialects import DIALECTS, Dialect, Sent, Step, sent_by
from harness.fixtures_qdrant import QdrantSpace
from harness.kafka import Kafka, Message
from harness.verify import World
from streamdex.model import JsonObject, Outcome
from streamdex.standins.jina import JinaServer

LIFE = [
    Step("write", 1, "first", 0),
    Step("write", 2, "second", 0),
    Step("write", 1, "first, changed", 0),
    Step("write", 3, "third", 0),
    Step("delete", 2, "", 0),
    Step("move", 3, "", 4),
    Step("write", 2, "second, again", 0),
    Step("write", 5, "fifth", 0),
    Step("delete", 5, "", 0),
]


def message(sent: Sent) -> Message:
    key, value = sent
    return Message(
        None if key is None else orjson.dumps(key), None if value is None else orjson.dumps(value), partition=0
    )


async def texts_in(world: World) -> dict[str, str]:
    """The text of each document in the collection."""
    points, _ = await world.client.scroll(world.points, limit=1_000)
    payloads = [point.payload or {} for point in points]
    return {payload["document_id"]: payload["text"] for payload in payloads}


# The null values of MongoDB's Debezium have keys that only the format explains, so `auto` is not for them.
CHOICES = [(name, "by name") for name in DIALECTS] + [(name, "auto") for name in DIALECTS if name != "debezium_mongodb"]


@pytest.mark.parametrize(("name", "chosen"), CHOICES)
async def test_the_collection_equals_the_table(
    name: str, chosen: str, kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path
) -> None:
    dialect: Dialect = DIALECTS[name]
    table: dict[int, JsonObject] = {}
    sent = [dialect.control, *(each for step in LIFE for each in sent_by(dialect, table, step))]
    sections = {
        "events": {"format": "auto" if chosen == "auto" else dialect.format.replace("_", "-")},
        "mapping": {"id": dialect.id_name, "text": "title"},
    }
    world = World(kafka, jina, qdrant, await kafka.create_topic(partitions=1), tmp_path, sections)
    wanted = {str(row_id): row["title"] for row_id, row in table.items()}
    try:
        await world.produce(*map(message, sent))
        outcomes = await world.work()
        assert Outcome.DEAD_LETTERED not in outcomes
        assert outcomes[Outcome.IGNORED] == 1
        assert await texts_in(world) == wanted
        assert (await world.verify()).equal
        await world.produce(*map(message, sent))
        assert Outcome.DEAD_LETTERED not in await world.work()
        assert await texts_in(world) == wanted
        assert (await world.verify()).equal
    finally:
        await world.client.close()


async def test_an_unavailable_value_never_replaces_a_text(
    kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path
) -> None:
    dialect = DIALECTS["debezium"]
    table: dict[int, JsonObject] = {}
    steps = [Step("write", 1, "old title", 0), Step("write", 1, "new title", 0)]
    sent = [each for step in steps for each in sent_by(dialect, table, step)]
    sections = {"mapping": {"id": "id", "text": "{title}: {body}"}}
    world = World(kafka, jina, qdrant, await kafka.create_topic(partitions=1), tmp_path, sections)
    try:
        await world.produce(*map(message, sent))
        assert await world.work() == {Outcome.INDEXED: 1, Outcome.DEAD_LETTERED: 1}
        assert await texts_in(world) == {"1": "old title: long old title"}
        (dead_letter,) = await kafka.read_all(f"{world.topic}.dlq")
        assert dict(dead_letter.headers)["__streamdex.reason"] == b"value_unavailable"
    finally:
        await world.client.close()
