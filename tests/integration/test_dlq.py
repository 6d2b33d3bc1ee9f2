"""`streamdex dlq` on real Kafka: what is listed, shown, and sent back; what comes of it in the collection."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.cli import Cli, CommandResult, kafka_alone
from harness.fixtures_qdrant import QdrantSpace
from harness.kafka import Kafka, Message
from harness.verify import World, long_text, upsert
from streamdex.config import with_section
from streamdex.deadletter import MOST_REPLAYS
from streamdex.kafka.client import survey
from streamdex.model import Outcome, Partition
from streamdex.standins.jina import JinaServer

BROKEN = b'{"id": "broken"'


class Command:
    """`streamdex dlq` with the settings of a world, in a thread: it has an event loop of its own."""

    def __init__(self, cli: Cli, world: World) -> None:
        self._cli = cli
        kafka = world.settings.kafka
        ours = {"bootstrap_servers": kafka.bootstrap_servers, "group_id": kafka.group_id}
        self.environment = kafka_alone({**ours, "topics": world.topic})

    async def __call__(self, *arguments: str) -> CommandResult:
        return await asyncio.to_thread(self._cli, "dlq", *arguments, env=self.environment)

    async def json(self, *arguments: str) -> Any:
        said = await self(*arguments, "--json")
        assert said.exit_code == 0, said.err
        assert said.err == ""
        return said.json


@pytest.fixture
async def world(kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path) -> AsyncIterator[World]:
    """Its texts may have 40 tokens."""
    caps = {"caps": {"document_tokens": 40}}
    made = World(kafka, jina, qdrant, await kafka.create_topic(), tmp_path, caps)
    yield made
    await made.client.close()


@pytest.fixture
def dlq(cli: Cli, world: World) -> Command:
    return Command(cli, world)


def replayed(sent: int, stay: dict[str, int] | None = None) -> dict[str, Any]:
    return {"replayed": sent, "stay": stay or {}, "too_large": []}


async def dead_lettered(world: World) -> None:
    """A document that is indexed; two that are too long, one of which is short later; and one that is no JSON."""
    await world.produce(upsert("good", "A short text."), upsert("long", long_text("long", 12)))
    await world.produce(upsert("newer", long_text("newer", 12)), Message(b"broken", BROKEN))
    assert await world.work() == {Outcome.INDEXED: 1, Outcome.DEAD_LETTERED: 3}
    await world.produce(upsert("newer", "Short now."))
    assert await world.work() == {Outcome.INDEXED: 1}


async def test_dead_letters_are_listed_by_reason_and_one_by_one(world: World, dlq: Command) -> None:
    missing = await dlq("list")
    assert missing.exit_code == 2
    assert f"the topic {world.topic}.dlq is not there\n  where: kafka.dead_letter_topic" in missing.err
    await world.produce(upsert("first", "A short text."))
    await world.work()
    assert (await dlq("list")).out == "There are no dead letters.\n"
    await dead_lettered(world)
    found = await dlq.json("list")
    assert (found["dead_letters"], found["not_ours"], found["records"]) == (3, 0, 3)
    assert found["by_reason"] == {"too_many_tokens": 2, "not_json": 1}
    assert {one["document_id"]: one["offset"] for one in found["shown"]} == {"long": 2, "newer": 3, "broken": 4}
    (one,) = (await dlq.json("list", "--document", "long"))["shown"]
    assert (one["reason"], one["stage"], one["replays"]) == ("too_many_tokens", "plan", 0)
    assert (await dlq.json("list", "--reason", "not_json"))["records"] == 1
    assert (await dlq.json("list", "--until", "2020-01-01"))["records"] == 0
    assert (await dlq.json("list", "--since", "2020-01-01"))["records"] == 3
    told = (await dlq("list", "--limit", "1")).out
    assert "2  too_many_tokens" in told
    assert "Shown are the newest 1; --limit shows more." in told
    assert "There are no such dead letters." in (await dlq("list", "--reason", "internal")).out


async def test_one_letter_is_shown_and_its_value_is_byte_for_byte(world: World, dlq: Command) -> None:
    await dead_lettered(world)
    (listed,) = (await dlq.json("list", "--reason", "not_json"))["shown"]
    shown = await dlq.json("show", listed["place"])
    assert shown == {
        **{name: value for name, value in listed.items() if name not in ("document_id", "stays")},
        "key": "broken",
    }
    told = (await dlq("show", listed["place"])).out
    assert "not_json" in told
    assert BROKEN.decode() not in told
    assert (await dlq("show", listed["place"], "--value")).out.encode() == BROKEN


async def test_a_place_without_a_letter_is_told(world: World, dlq: Command) -> None:
    await dead_lettered(world)
    for place, says in (
        ("nonsense", "the place cannot be read"),
        (f"{world.topic}.dlq[0]@99", "no dead letter stands at"),
        (f"{world.topic}.dlq[7]@0", "no dead letter stands at"),
        ("missing[0]@0", f"Name one in {world.topic}.dlq"),
        (f"{world.topic}[0]@0", "no dead letter stands at"),
    ):
        said = await dlq("show", place)
        assert said.exit_code == 2
        assert says in said.err


async def test_what_is_mended_is_indexed_and_nothing_newer_is_overwritten(world: World, dlq: Command) -> None:
    await dead_lettered(world)
    before = await world.kafka.end_offsets(world.topic)
    assert (await dlq.json("replay", "--reason", "too_many_tokens", "--dry-run"))["records"] == 2
    assert await world.kafka.end_offsets(world.topic) == before, "a dry run writes nothing"
    assert await dlq.json("replay", "--reason", "too_many_tokens") == replayed(2)
    wide = with_section(world.settings, "caps", document_tokens=10_000)
    assert await world.work(wide) == {Outcome.INDEXED: 1, Outcome.SUPERSEDED: 1}
    assert len(await world.points_of("long")) == 12
    assert [point.payload["text"] for point in await world.points_of("newer") if point.payload] == ["Short now."]
    assert (await world.verify(wide)).equal

    embedded = world.jina.stats.inputs_embedded
    said = await dlq("replay", "--reason", "too_many_tokens", "--rate", "1000")
    assert (said.exit_code, said.out) == (0, "Dead letters replayed: 2.\n")
    assert await world.work(wide) == {Outcome.UNCHANGED: 1, Outcome.SUPERSEDED: 1}
    assert world.jina.stats.inputs_embedded == embedded, "nothing is paid for twice"
    assert (await world.verify(wide)).equal


async def test_it_goes_back_to_its_partition_byte_for_byte(world: World, dlq: Command) -> None:
    await world.kafka.create_topic(f"{world.topic}-wide", partitions=4)
    dlq.environment["STREAMDEX_KAFKA__TOPICS"] = f"{world.topic}-wide"
    settings = with_section(world.settings, "kafka", topics=(f"{world.topic}-wide",))
    own = (("trace", b"\xff"), ("empty", b""))
    for partition in range(4):
        await world.kafka.produce(f"{world.topic}-wide", [Message(b"same key", BROKEN, own, partition)])
    world.topic = f"{world.topic}-wide"
    await world.work(settings)
    assert await dlq.json("replay") == replayed(4)
    records = await world.kafka.read_all(world.topic)
    for partition in range(4):
        first, again = (record for record in records if record.partition == partition)
        assert (again.key, again.value, again.headers[:2]) == (first.key, first.value, own)


async def test_what_came_back_three_times_stays(world: World, dlq: Command) -> None:
    await world.produce(Message(b"broken", BROKEN))
    for replays in range(MOST_REPLAYS):
        assert await world.work() == {Outcome.DEAD_LETTERED: 1}
        (one,) = (await dlq.json("list"))["shown"]
        assert one["replays"] == replays
        assert await dlq.json("replay") == replayed(1)
    assert await world.work() == {Outcome.DEAD_LETTERED: 1}
    assert await dlq.json("replay") == replayed(0, {"came back 3 times": 1})
    told = "Nothing was replayed.\nLeft out by a replay: 1 (came back 3 times).\n"
    assert (await dlq("replay")).out == told
    tried = await dlq.json("replay", "--dry-run")
    assert (tried["records"], tried["stay"]) == (0, {"came back 3 times": 1})
    assert (await world.verify()).equal


async def test_what_is_no_letter_of_these_topics_is_counted_and_left(world: World, dlq: Command) -> None:
    await dead_lettered(world)
    dead_letters = await world.kafka.read_all(f"{world.topic}.dlq")
    headers = dict(dead_letters[0].headers) | {"__streamdex.topic": b"elsewhere"}
    elsewhere = [(name, value or b"") for name, value in headers.items()]
    strangers = [Message(b"k", b"somebody's own"), Message(b"k", b"v", elsewhere)]
    await world.kafka.produce(f"{world.topic}.dlq", strangers)
    found = await dlq.json("list")
    assert (found["dead_letters"], found["not_ours"]) == (3, 2)
    assert "Records there that are no dead letters of these topics: 2." in (await dlq("list")).out
    assert await dlq.json("replay") == replayed(3)
    assert "elsewhere" not in {record.topic for record in await world.kafka.read_all(world.topic)}


async def test_a_topic_that_is_gone_is_told_before_anything_is_sent(world: World, dlq: Command) -> None:
    await dead_lettered(world)
    await world.kafka.delete_topic(world.topic)
    async with asyncio.timeout(30.0):
        while (await survey(world.settings.kafka, [world.topic])).topics:
            await asyncio.sleep(0.1)
    said = await dlq("replay")
    assert said.exit_code == 2
    assert f"the topic {world.topic} is not there" in said.err
    assert json.loads((await dlq("list", "--json")).out)["records"] == 3, "the dead letters are there all the same"


async def test_a_compacted_topic_takes_nothing_back(world: World, dlq: Command) -> None:
    """The replayed event would be the last record of its key, and compaction would drop what is newer."""
    world.topic = await world.kafka.create_topic(config={"cleanup.policy": "compact"})
    settings = with_section(world.settings, "kafka", topics=(world.topic,))
    dlq.environment["STREAMDEX_KAFKA__TOPICS"] = world.topic
    await world.produce(Message(b"broken", BROKEN))
    await world.work(settings)
    said = await dlq("replay")
    assert said.exit_code == 2
    assert f"the topic {world.topic} is compacted" in said.err
    assert await world.kafka.end_offsets(world.topic) == {Partition(world.topic, 0): 1}


async def test_what_is_older_than_deletes_are_remembered_stays_unless_asked_for(world: World, dlq: Command) -> None:
    await world.kafka.produce(world.topic, [Message(b"broken", BROKEN, timestamp_ms=1_600_000_000_000)])
    await world.work()
    why = "older than deletes are remembered (worker.tombstone_ttl_s)"
    assert (await dlq.json("list"))["stay"] == {why: 1}
    assert await dlq.json("replay") == replayed(0, {why: 1})
    assert await dlq.json("replay", "--old") == replayed(1)


async def test_what_came_back_without_its_place_stays(world: World, dlq: Command) -> None:
    """Where it stands now is behind what is newer: replayed from there it would overwrite that."""
    headers = (("__streamdex.topic", world.topic.encode()), ("__streamdex.offset", b"0"))
    await world.produce(Message(b"doc", upsert("doc", "Old.").value, headers))
    assert await world.work() == {Outcome.DEAD_LETTERED: 1}
    assert await dlq.json("replay") == replayed(0, {"their place in the order is lost": 1})
    assert (await world.verify()).equal


async def test_a_letter_that_its_topic_does_not_take_is_named_and_the_others_go(world: World, dlq: Command) -> None:
    world.topic = await world.kafka.create_topic(config={"max.message.bytes": "20000"})
    settings = with_section(world.settings, "kafka", topics=(world.topic,))
    dlq.environment["STREAMDEX_KAFKA__TOPICS"] = world.topic
    noise = Random(3).randbytes(19_850)  # cannot be compressed
    await world.produce(Message(b"1", BROKEN), Message(b"2", noise), *[Message(b"3", BROKEN)] * 8)
    await world.work(settings)
    said = await dlq("replay")
    assert (said.exit_code, said.out) == (1, "Dead letters replayed: 9.\n")
    assert "Error: 1 dead letters are larger than their topic takes" in said.err
    assert f"where: {world.topic}.dlq[0]@1" in said.err
    assert f"Raise max.message.bytes of {world.topic}" in said.err
    assert len(await world.kafka.read_all(world.topic)) == 19
