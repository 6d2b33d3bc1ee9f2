"""`streamdex explain`: a document, an unknown one, one that is damaged, and what an event would do."""

import asyncio
import json
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer

from harness.cli import Cli, Services
from harness.index import vector_of, write_of
from streamdex.config import Settings, load_settings
from streamdex.embed import resolve
from streamdex.index import Index, WriteJob
from streamdex.telemetry import Metrics

TEXTS = ["Rotate the API key every ninety days.", "Tell nobody."]


@pytest.fixture
def environment(services: Services, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A collection with `guide`, of two chunks, `7`, which is deleted, and `torn`, which lacks a chunk."""
    name = f"explain-{uuid.uuid4().hex[:8]}"
    environment = services.environment("documents", name)
    with monkeypatch.context() as patched:
        for variable, value in environment.items():
            patched.setenv(variable, value)
        settings = load_settings()
    asyncio.run(fill(settings))
    return environment


async def fill(settings: Settings) -> None:
    profile = resolve(settings.jina)
    index = await Index.open(settings, profile.fingerprint, profile.dimension, Metrics())
    vector = vector_of("word") * (profile.dimension // 4)
    for rank, (key, texts) in enumerate({"guide": TEXTS, "torn": TEXTS, "7": None}.items(), start=64):
        write = write_of(key, rank, texts)
        await index.writer.write(
            [WriteJob(write, {chunk.id: vector for chunk in write.chunks}, index.writer.check(write))]
        )
        if key == "torn":
            await index.writer.delete_points({write.chunks[1].id: write.rank})
    await index.close()


def test_a_document_for_people(cli: Cli, environment: dict[str, str]) -> None:
    said = cli("explain", "guide", env=environment)
    assert said.exit_code == 0
    assert "topic[3]@64, epoch 1, 2026-09-21T14:13:20.000+00:00" in said.out
    assert "Manifest and points agree." in said.out
    assert "Tell nobody" not in said.out
    assert "Tell nobody" in cli("explain", "guide", "--text", env=environment).out


def test_a_document_for_programs(cli: Cli, environment: dict[str, str]) -> None:
    found = cli("explain", "guide", "--json", env=environment).json
    assert found["document_id"] == "guide"
    assert (found["consistent"], found["differences"], found["event"]) == (True, {}, None)
    assert found["manifest"] | {"content_hash": ""} == {
        "rank": {"version": 64},
        "topic": "topic",
        "partition": 3,
        "epoch": 1,
        "offset": 64,
        "time": "2026-09-21T14:13:20.000+00:00",
        "generation": 0,
        "cut_by_these_settings": False,
        "content_hash": "",
        "tombstone_until": None,
    }
    assert [(chunk["place"], chunk["there"], chunk["vector"]) for chunk in found["chunks"]] == [
        (0, True, True),
        (1, True, True),
    ]
    assert "text" not in found["chunks"][0]


def test_a_deleted_document(cli: Cli, environment: dict[str, str]) -> None:
    found = cli("explain", "7", "--json", env=environment).json
    assert found["manifest"]["tombstone_until"] is not None
    assert "remembered until" in cli("explain", "7", env=environment).out


def test_an_unknown_document(cli: Cli, environment: dict[str, str]) -> None:
    said = cli("explain", "nobody", env=environment)
    assert said.exit_code == 0
    assert "no manifest of it" in said.out


def test_a_damaged_document(cli: Cli, environment: dict[str, str]) -> None:
    said = cli("explain", "torn", env=environment)
    assert "Inconsistent: missing chunk (1)" in said.out
    found = cli("explain", "torn", "--json", env=environment).json
    assert (found["consistent"], found["differences"]) == (False, {"missing_chunk": 1})
    assert [chunk["there"] for chunk in found["chunks"]] == [True, False]


def test_what_an_event_would_do(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"id": "guide", "text": TEXTS[0], "metadata": {"team": "ops"}}))
    said = cli("explain", "guide", "--event", str(file), env=environment)
    assert "as if it were the topic's next record, would be indexed" in said.out
    assert "0 of its 1 chunks would be embedded, about 0 tokens." in said.out
    event = cli("explain", "torn", "--event", str(file), env=environment)
    assert event.exit_code == 2
    assert "the event is of another document" in event.err
    wrong = cli("explain", "guide", "--key", "guide", env=environment)
    assert wrong.exit_code == 2
    assert "--key and --header go with an event" in wrong.err
    assert cli("explain", "guide", "--event", str(file), "--header", "x", env=environment).exit_code == 2
    file.write_text(json.dumps({"text": "New words."}))
    other = cli("explain", "guide", "--event", str(file), "--key", "torn", "--header", "a=b", env=environment)
    assert "the event is of another document" in other.err
    named = cli("explain", "guide", "--event", str(file), "--key", '{"id":"guide"}', env=environment)
    assert "would be indexed" in named.out
    file.write_text(json.dumps({"text": "New words about keys."}))  # the record's key names the document
    found = cli("explain", "guide", "--event", str(file), "--json", env=environment).json["event"]
    assert (found["outcome"], found["estimated_tokens_to_embed"]) == ("indexed", 6)
    assert [(chunk["place"], chunk["embedded"], chunk["estimated_tokens"]) for chunk in found["chunks"]] == [
        (0, True, 6)
    ]


def test_an_event_that_cannot_be_indexed_and_an_empty_one(
    cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "event.json"
    file.write_text('{"id": "guide", "txt": "misspelt"}')
    found = cli("explain", "guide", "--event", str(file), "--json", env=environment).json["event"]
    assert (found["outcome"], found["reason"]) == ("dead_lettered", "unknown_field")
    file.write_bytes(b"")
    found = cli("explain", "guide", "--event", str(file), "--json", env=environment).json["event"]
    assert (found["outcome"], found["chunks"]) == ("deleted", [])
    assert cli("explain", "guide", "--event", str(tmp_path / "none"), env=environment).exit_code == 2


def test_a_record_is_explained_step_by_step(cli: Cli, services: Services) -> None:
    topic = services.create_topic(f"explained-{uuid.uuid4().hex[:8]}")
    producer = Producer({"bootstrap.servers": services.kafka})
    row = {"before": None, "after": {"id": 7, "t": TEXTS[1]}, "op": "c", "ts_ms": 1, "source": {"connector": "mysql"}}
    for key, value in (('{"id":7}', json.dumps(row)), ('{"id":7}', None), ("k", '{"id": 8}'), ("h", '{"ts": 1}')):
        producer.produce(topic, value, key, partition=0, headers=[("trace\x1b[31m", b"1")])
    assert producer.flush(30) == 0
    mapping = {"mapping__id": "id", "mapping__text": "t", "mapping__ignore_when": "ts == `1`"}
    environment = services.environment(topic, topic, **mapping)
    found = [cli("explain", "--record", f"{topic}[0]@{at}", "--json", env=environment).json for at in range(4)]
    assert [(one["format"], one["meaning"], one["document_id"]) for one in found] == [
        ("debezium", "upsert", "7"),
        ("auto", "delete", "7"),
        ("json", "dead letter", None),
        ("json", "ignored", None),
    ]
    assert (found[0]["key_names"], found[0]["chunks"]) == ("7", 1)
    assert found[2]["reason"] == "missing_field"
    said = cli("explain", "--record", f"{topic}[0]@0", env=environment)
    assert "upsert: 1 chunks of about" in said.out
    assert TEXTS[1] not in said.out
    assert "\x1b[31m" not in said.out
    for arguments, what in [
        (("--record", f"{topic}[0]@9"), "no record stands at"),
        (("--record", "nowhere"), "the place cannot be read"),
        (("7", "--record", f"{topic}[0]@0"), "both a document and a record are named"),
        ((), "no document is named"),
    ]:
        wrong = cli("explain", *arguments, env=environment)
        assert wrong.exit_code == 2
        assert what in wrong.err
