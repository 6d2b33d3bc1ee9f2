"""I2: each way in which the collection can differ from the fold is found, and what is known to stay is told apart."""

from collections.abc import Callable

import pytest

from chaos.checker.contents import Contents, check_contents, same
from chaos.checker.store import Held, Point
from harness.checker_samples import INDEXED_AT_S, RANKING, TOPIC, World


@pytest.fixture
def world() -> World:
    world = World()
    world.upsert("a", "one", "two", n=1)
    world.upsert("a", "two", "three", "two", n=2)
    world.upsert("b", "four", partition=1)
    world.delete("b", partition=1)
    world.poison()
    world.upsert("empty", " ")
    return world


def judged(world: World, held: Held) -> Contents:
    return check_contents(TOPIC, world.histories, held, RANKING)


def test_the_fold_is_accepted(world: World) -> None:
    contents = judged(world, world.held())
    assert contents.report.violations == []
    assert contents.stale == []
    assert contents.report.figures["documents"] == 2
    assert contents.report.figures["deleted"] == 1


def change_point(held: Held, **payload: object) -> None:
    first, *rest = held.points["a"]
    held.points["a"] = [Point(first.id, {**first.payload, **payload}), *rest]


def change_manifest(held: Held, key: str = "a", **payload: object) -> None:
    (manifest,) = held.manifests[key]
    held.manifests[key] = [Point(manifest.id, {**manifest.payload, **payload})]


def older(version: int) -> int:
    return version - 64


def without_manifest(held: Held) -> None:
    held.manifests["a"] = []


def without_point(held: Held) -> None:
    held.points["a"].pop()


def deleted_document_stays(held: Held) -> None:
    held.points["b"] = [Point("b", {**held.points["a"][0].payload, "version": 2**50})]


def unknown_document(held: Held) -> None:
    held.points["who"] = [Point("who", held.points["a"][0].payload)]


def manifest_of_poison(held: Held) -> None:
    held.manifests["bad"] = held.manifests["a"]


def two_manifests(held: Held) -> None:
    held.manifests["a"] *= 2


def extra_point(held: Held) -> None:
    held.points["a"].append(Point("extra", held.points["a"][0].payload))


def texts_changed_places(held: Held) -> None:
    one, other, *rest = held.points["a"]
    texts = {"text": other.payload["text"]}, {"text": one.payload["text"]}
    held.points["a"] = [
        Point(one.id, {**one.payload, **texts[0]}),
        Point(other.id, {**other.payload, **texts[1]}),
        *rest,
    ]


def older_event(held: Held) -> None:
    change_manifest(held, version=older(held.manifests["a"][0].payload["version"]))


def older_listed_point(held: Held) -> None:
    change_point(held, version=older(held.points["a"][0].payload["version"]))


PLANTED: list[tuple[Callable[[Held], None], str]] = [
    (without_manifest, "a document has not one manifest"),
    (two_manifests, "a document has not one manifest"),
    (without_point, "chunks that the manifest lists are not there"),
    (deleted_document_stays, "a point that its manifest does not list, and not older than it"),
    (extra_point, "a point that its manifest does not list, and not older than it"),
    (unknown_document, "points or a manifest of a document that no event names"),
    (manifest_of_poison, "points or a manifest of a document that no event names"),
    (texts_changed_places, "the text of the chunks is not that of the last event"),
    (older_event, "a manifest is of an older event than the last"),
    (lambda held: change_manifest(held, version=2**50 + 3), "a manifest is of an newer event than the last"),
    (lambda held: change_manifest(held, generation=9), "a manifest is of a cutting that is not known"),
    (lambda held: change_manifest(held, source={}), "a manifest names another source than its event's"),
    (lambda held: change_manifest(held, tombstone_until=1), "a manifest is a tombstone for no delete, or none for one"),
    (older_listed_point, "a chunk is not as its document's last event has it"),
    (lambda held: change_point(held, chunk=1), "a chunk is not as its document's last event has it"),
    (lambda held: change_point(held, chunks=2), "a chunk is not as its document's last event has it"),
    (lambda held: change_point(held, metadata={"n": 1}), "a chunk is not as its document's last event has it"),
    (lambda held: change_point(held, metadata={"n": 2.0}), "a chunk is not as its document's last event has it"),
    (lambda held: change_point(held, source=None), "a chunk is not as its document's last event has it"),
    (lambda held: change_point(held, text="nine"), "the text of the chunks is not that of the last event"),
    (lambda held: change_point(held, text=" two"), "a text is cut otherwise than by its paragraphs"),
]


@pytest.mark.parametrize(("plant", "what"), PLANTED)
def test_a_planted_difference_is_found(world: World, plant: Callable[[Held], None], what: str) -> None:
    held = world.held()
    plant(held)
    found = judged(world, held).report.violations
    assert any(each.invariant == "I2" and each.what.startswith(what) for each in found), found


def test_an_old_point_outside_the_manifest_is_told_apart(world: World) -> None:
    held = world.held()
    payload = held.points["a"][0].payload
    source = {"topic": TOPIC, "partition": 0, "offset": 0}
    held.points["a"].append(Point("old", {**payload, "version": older(payload["version"]), "source": source}))
    contents = judged(world, held)
    assert contents.report.violations == []
    assert [(one.point, one.at, one.partition, one.offset) for one in contents.stale] == [("old", INDEXED_AT_S, 0, 0)]


def test_json_values_are_equal_in_kind_as_well() -> None:
    assert same({"a": [1, None, {"b": True}]}, {"a": [1, None, {"b": True}]})
    assert not same({"a": 1}, {"a": True})
    assert not same([1], [1.0])
    assert not same({"a": 1}, {"a": 1, "b": None})
