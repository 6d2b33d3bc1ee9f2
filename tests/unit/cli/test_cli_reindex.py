"""`streamdex reindex`: what it refuses and why, and what it tells. On real Kafka: `integration/test_reindex.py`."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from harness.cli import Cli, Services
from streamdex.config import Settings, load_settings
from streamdex.embed import resolve
from streamdex.index import Index
from streamdex.operations.reindex.successor import Successor
from streamdex.run.worker import Worker
from streamdex.standins.produce import Message, produce
from streamdex.telemetry import Metrics

OTHER = ("--set", "jina.dimensions=256")
RECORDS = [
    Message(b"guide [red]1", b'{"text": "Rotate the API key every ninety days."}'),
    Message(b"guide-2", b'{"text": "The canteen serves lunch from noon."}'),
]


class Place(NamedTuple):
    """A topic with two documents, and the settings of a worker that has indexed nothing yet."""

    environment: dict[str, str]
    settings: Settings
    name: str


@pytest.fixture
def place(services: Services, monkeypatch: pytest.MonkeyPatch) -> Place:
    name = f"reindex-{uuid.uuid4().hex[:8]}"
    environment = services.environment(services.create_topic(name), name) | {"STREAMDEX_KAFKA__GROUP_ID": name}
    with monkeypatch.context() as patched:
        for variable, value in environment.items():
            patched.setenv(variable, value)
        settings = load_settings()
    asyncio.run(produce(settings.kafka, name, RECORDS, lambda _: None))
    return Place(environment, settings, name)


async def indexed(settings: Settings) -> None:
    """A worker has indexed both."""
    worker = Worker(settings, worker_name="old")
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(30):
        while sum(worker.metrics.counts.outcomes.values()) < len(RECORDS):
            await asyncio.sleep(0.05)
    worker.stop()
    await running


async def made(settings: Settings) -> None:
    """A worker has made the collection, and indexed nothing."""
    profile = resolve(settings.jina)
    index = await Index.open(settings, profile.fingerprint, profile.dimension, Metrics())
    await index.close()


def test_it_fills_compares_switches_and_tells_what_is_left_to_do(cli: Cli, place: Place) -> None:
    asyncio.run(indexed(place.settings))
    said = cli("reindex", *OTHER, env=place.environment)
    assert said.exit_code == 0, said.err
    assert f"{place.name}__2 is filled. {place.name}__1 has 2 documents; 0 of them are missing." in said.out
    assert f"{place.name} leads to {place.name}__2 now. Start the workers with these settings." in said.out
    assert f"{place.name}__1 and {place.name}__1__manifests are kept" in said.out
    assert f"the group {place.name}__2 in Kafka" in " ".join(said.out.split())
    assert f"records, as {place.name}__2" in said.err  # the progress bars
    found = cli("search", "--json", *OTHER, "canteen", env=place.environment)
    assert found.exit_code == 0, found.err
    assert {hit["document_id"] for hit in found.json} == {"guide [red]1", "guide-2"}

    again = cli("reindex", *OTHER, env=place.environment)
    assert again.exit_code == 2
    assert f"the collection that {place.name} leads to was made with these settings" in again.err
    assert "--from-scratch fills another one all the same, at the full cost" in again.err


def test_what_is_missing_is_shown_and_not_switched_away(cli: Cli, place: Place) -> None:
    asyncio.run(indexed(place.settings))
    short = (*OTHER, "--set", "caps.document_tokens=5")
    said = cli("reindex", *short, env=place.environment)
    assert said.exit_code == 1, said.out
    assert f"{place.name}__2 is filled. {place.name}__1 has 2 documents; 2 of them are missing." in said.out
    assert "its last event was not indexed with these settings" in said.out
    assert "guide [red]1" in said.out  # an id is not taken for markup
    assert f"{place.name} still leads to {place.name}__1." in said.out
    assert "--accept-missing switches all the same" in " ".join(said.out.split())
    filled = cli("reindex", *short, "--no-switch", env=place.environment)
    assert filled.exit_code == 0, "it is filled, and nobody asked for more"
    assert "--accept-missing switches all the same" in " ".join(filled.out.split())
    later = cli("reindex", *short, "--no-switch", "--accept-missing", env=place.environment)
    assert later.exit_code == 0
    assert "The same command, and without --no-switch, switches." in later.out
    switched = cli("reindex", *short, "--accept-missing", env=place.environment)
    assert switched.exit_code == 0
    assert f"{place.name} leads to {place.name}__2 now" in switched.out


def test_what_was_begun_with_other_settings_is_not_gone_on_with(cli: Cli, place: Place) -> None:
    asyncio.run(made(place.settings))
    assert cli("reindex", *OTHER, "--no-switch", env=place.environment).exit_code == 0
    said = cli("reindex", "--set", "jina.dimensions=128", env=place.environment)
    assert said.exit_code == 2
    assert f"{place.name}__2 was begun with other settings: the collection holds vectors of 256" in said.err
    assert "Give the settings that it was begun with, or --from-scratch for another one." in said.err


def test_without_a_collection_there_is_nothing_to_do(cli: Cli, place: Place) -> None:
    said = cli("reindex", *OTHER, env=place.environment)
    assert said.exit_code == 2
    assert f"there is no collection {place.name}" in said.err
    assert "Start the worker: it makes and fills it." in said.err


@pytest.mark.parametrize("share", ["0", "1.1", "half"])
def test_a_share_that_is_none_is_refused(cli: Cli, share: str) -> None:
    said = cli("reindex", "--share", share)
    assert said.exit_code == 2
    assert "--share" in said.err


def test_settings_that_cannot_work_are_refused(cli: Cli, place: Place) -> None:
    said = cli("reindex", "--set", "jina.dimensions=9999", env=place.environment)
    assert said.exit_code == 2
    assert "jina.dimensions" in said.err


def test_what_was_begun_from_scratch_goes_on_without_it(cli: Cli, place: Place) -> None:
    asyncio.run(made(place.settings))
    begun = cli("reindex", "--from-scratch", "--no-switch", env=place.environment)
    assert begun.exit_code == 0
    assert "The same command without --from-scratch, and without --no-switch, switches." in begun.out
    done = cli("reindex", "--json", env=place.environment)
    assert done.exit_code == 0
    assert "━" not in done.err, "no progress bars for programs"
    assert (done.json["successor"], done.json["switched"]) == (f"{place.name}__2", True)


def test_a_topic_that_is_not_there_is_told_before_anything_is_made(cli: Cli, place: Place) -> None:
    asyncio.run(made(place.settings))
    said = cli("reindex", *OTHER, "--set", "kafka.topics=elsewhere,", env=place.environment)
    assert said.exit_code == 2
    assert "kafka.topics" in said.err
    assert cli("reindex", "--set", "jina.dimensions=128", env=place.environment).exit_code == 0, "nothing was begun"


def test_a_worker_that_dies_while_the_collections_are_compared_stops_the_switch(
    cli: Cli, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(made(place.settings))
    compare, dying = Successor.compare, asyncio.Event()

    class Dying(Worker):
        async def run(self) -> int:
            working = asyncio.ensure_future(super().run())
            await dying.wait()
            self.stop()
            await working
            raise RuntimeError("planted")

    async def compared(self: Successor, *given: Any) -> AsyncIterator[Any]:
        async for found in compare(self, *given):
            yield found
        dying.set()

    with monkeypatch.context() as planted:
        planted.setattr("streamdex.operations.reindex.successor.Worker", Dying)
        planted.setattr(Successor, "compare", compared)
        with pytest.raises(RuntimeError, match="planted"):
            cli("reindex", *OTHER, env=place.environment)
    assert cli("reindex", *OTHER, "--json", env=place.environment).json["predecessor"] == f"{place.name}__1"
