"""Evidence for tests of the comparison: a log from offset 2 to 100 of one partition, and documents of two chunks."""

from dataclasses import replace

from streamdex.model import Manifest, Partition, Position, Rank
from streamdex.operations.verify.evidence import Evidence, Expectation, FoldScope, FoundPoint, Spot, Unindexable

GENERATION = 3
SCOPE = FoldScope({Partition("t", 0): (2, 100)}, epoch=0, generation=GENERATION)


def position(offset: int, epoch: int = 0, topic: str = "t") -> Position:
    return Position(topic, 0, epoch, offset, 0)


def rank(offset: int, generation: int = GENERATION) -> Rank:
    return Rank((1_000 + offset) * 64 + generation)


def event(offset: int, ids: tuple[str, ...] = ("x", "y"), *, key: str = "1", at: int | None = None) -> Expectation:
    """An event; no ids make a delete. `at`: where its record stands, when it is a replayed one."""
    texts = tuple(f"text of {one}" for one in ids)
    spot = Spot("t", 0, offset if at is None else at)
    content = f"content{offset}" if ids else ""
    return Expectation(key, rank(offset), position(offset), spot, not ids, ids, texts, content, ("m",))


def unindexable(offset: int, key: str = "1") -> Unindexable:
    return Unindexable(key, rank(offset), position(offset), Spot("t", 0, offset))


def manifest(offset: int, ids: tuple[str, ...] = ("x", "y"), key: str = "1") -> Manifest:
    """The manifest that the event leaves; no ids make a tombstone."""
    content = f"content{offset}" if ids else ""
    return Manifest(key, rank(offset), position(offset), ids, content, GENERATION, None if ids else 1)


def point(offset: int, chunk_id: str, place: int, chunks: int = 2, key: str = "1") -> FoundPoint:
    return FoundPoint(
        chunk_id, key, rank(offset), place, chunks, f"text of {chunk_id}", True, ("m",), position(offset), True
    )


def points(offset: int, ids: tuple[str, ...] = ("x", "y")) -> tuple[FoundPoint, ...]:
    return tuple(point(offset, one, place, len(ids)) for place, one in enumerate(ids))


def whole(offset: int = 5, ids: tuple[str, ...] = ("x", "y")) -> Evidence:
    """A document as it should be."""
    return Evidence("1", event(offset, ids), (), (), manifest(offset, ids), points(offset, ids))


def with_point(evidence: Evidence, number: int, **changes: object) -> Evidence:
    """The same with one point changed."""
    found = list(evidence.points)
    found[number] = found[number]._replace(**changes)  # type: ignore[arg-type]  # fields by name, as tests give them
    return replace(evidence, points=tuple(found))
