"""`streamdex verify`: what it prints, its exit codes, and a repair that makes a collection out of a topic alone."""

import asyncio
import uuid
from typing import NamedTuple

import pytest

from harness.cli import Cli, Services
from streamdex.config import Settings, load_settings
from streamdex.embed import resolve
from streamdex.index import Index
from streamdex.plan import cutting_digest
from streamdex.standins.produce import Message, produce
from streamdex.telemetry import Metrics


class Place(NamedTuple):
    """A topic with records and a collection that no worker has filled yet."""

    environment: dict[str, str]
    settings: Settings


@pytest.fixture
def place(services: Services, monkeypatch: pytest.MonkeyPatch) -> Place:
    name = f"verify-{uuid.uuid4().hex[:8]}"
    environment = services.environment(services.create_topic(name), name)
    with monkeypatch.context() as patched:
        for variable, value in environment.items():
            patched.setenv(variable, value)
        settings = load_settings()
    asyncio.run(begin(settings, name))
    return Place(environment, settings)


async def begin(settings: Settings, topic: str) -> None:
    records = [
        Message(b"guide [red]1", b'{"text": "Rotate the API key every ninety days."}'),
        Message(b"guide-2", b'{"text": "The canteen serves lunch from noon."}'),
        Message(b"bad", b"no JSON"),
    ]
    await produce(settings.kafka, topic, records, lambda _: None)
    profile = resolve(settings.jina)
    index = await Index.open(settings, profile.fingerprint, profile.dimension, Metrics())
    await index.bookkeeping.generation(cutting_digest(settings))
    await index.close()


def test_what_is_not_settled_yet_is_no_difference(cli: Cli, place: Place) -> None:
    said = cli("verify", env=place.environment)
    assert said.exit_code == 0
    assert "3 records at the end of the log are not settled yet" in said.out
    assert "The collection equals the fold of the topic." in said.out


def test_differences_are_told_with_examples_and_exit_1(cli: Cli, place: Place) -> None:
    said = cli("verify", "--to-end", env=place.environment)
    assert said.exit_code == 1
    assert "missing document" in said.out
    assert "guide [red]1" in said.out  # an id is not taken for markup
    assert "not dead-lettered" in said.out
    assert "The collection differs from the fold of the topic." in said.out
    assert "records" in said.err  # the progress bars


def test_for_programs(cli: Cli, place: Place) -> None:
    said = cli("verify", "--to-end", "--json", env=place.environment)
    assert (said.exit_code, said.err) == (1, "")
    found = said.json
    assert (found["equal"], found["records"], found["documents"], found["unsettled"]) == (False, 3, 2, 0)
    missing = found["differences"]["missing_document"]
    assert missing["count"] == 2
    assert {one["document_id"] for one in missing["examples"]} == {"guide [red]1", "guide-2"}
    assert "repair" not in found


def test_a_repair_says_what_it_did_and_what_a_second_look_finds(cli: Cli, place: Place) -> None:
    said = cli("verify", "--to-end", "--repair", env=place.environment)
    assert said.exit_code == 0
    assert "Repaired: 2 documents written again with 2 texts embedded" in said.out
    assert "1 dead letters sent" in said.out
    again = cli("verify", "--to-end", "--repair", "--json", env=place.environment)
    assert again.exit_code == 0
    assert again.json["points"] == 2
    assert again.json["repair"]["before"]["equal"]
    assert again.json["repair"]["written"] == 0


def test_without_a_collection_exit_2_with_the_fix(cli: Cli, place: Place) -> None:
    said = cli("verify", "--set", "qdrant.collection=nowhere", env=place.environment)
    assert said.exit_code == 2
    assert "fix:" in said.err
    assert "Traceback" not in said.err
