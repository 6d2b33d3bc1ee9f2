"""`streamdex explain`: a document, an unknown one, one that is damaged, and what an event would do."""

import asyncio
import json
import uuid
from pathlib import Path

import pytest

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
