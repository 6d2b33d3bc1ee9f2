"""What records and points mean to a verification."""

import json
import math
from typing import Any

import pytest

from streamdex.config import Settings
from streamdex.errors import Reason
from streamdex.index import Source, StoredPoint
from streamdex.kafka.position_headers import build_position
from streamdex.model import Position, Rank, Record
from streamdex.operations.verify.evidence import Expectation, NoEvent, Spot, Unindexable
from streamdex.operations.verify.interpretation import Interpreter
from streamdex.plan.keys import chunk_ids, text_hash

BASES = {("documents", 0, 0): 1_000, ("documents", 0, 1): 5_000}
GENERATION = 3


def interpreter(**sections: dict[str, Any]) -> Interpreter:
    return Interpreter(Settings.model_validate({"kafka": {"epoch": 1}, **sections}), BASES, GENERATION)


def record(value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = ()) -> Record:
    return Record("documents", 0, 40, 77, b"guide", value, headers)


def body(text: str, **more: object) -> bytes:
    return json.dumps({"text": text, **more}).encode()


def point(hashed: str, occurrences: int = 1, **changes: Any) -> StoredPoint:
    (*_, point_id) = chunk_ids("guide", [text_hash(hashed)] * occurrences)
    fields: dict[str, Any] = {
        "id": point_id,
        "document_id": "guide",
        "rank": Rank((5_000 + 40) * 64 + GENERATION),
        "place": 0,
        "count": 3,
        "text": hashed,
        "metadata": {},
        "indexed_at": "",
        "source": Source("documents", 0, 40),
    }
    return StoredPoint(**(fields | changes))


def test_an_event_is_expected_with_the_rank_and_chunks_that_the_worker_gives_it() -> None:
    asked = interpreter().expectation(record(body("words", metadata={"n": 0.1})))
    assert isinstance(asked, Expectation)
    assert asked.rank == Rank((5_000 + 40) * 64 + GENERATION)
    assert asked.chunk_ids == tuple(chunk_ids("guide", [text_hash("words")]))
    assert asked.texts == (text_hash("words").hex(),)
    assert (asked.position, asked.spot) == (Position("documents", 0, 1, 40, 77), Spot("documents", 0, 40))


def test_a_replay_is_expected_at_its_first_place_and_read_at_its_own() -> None:
    first = Position("documents", 0, 0, 7, 11)
    asked = interpreter().expectation(record(body("words"), build_position(first)))
    assert isinstance(asked, Expectation)
    assert asked.rank == Rank((1_000 + 7) * 64 + GENERATION)
    assert (asked.position, asked.spot) == (first, Spot("documents", 0, 40))


def test_what_is_no_event_and_what_cannot_be_indexed() -> None:
    assert isinstance(interpreter().expectation(record(b"no JSON")), NoEvent)
    small = interpreter(caps={"document_tokens": 3})
    refused = small.expectation(record(body("many words of a long text")))
    assert isinstance(refused, Unindexable)
    assert small.fault(record(body("many words of a long text"))).reason is Reason.TOO_MANY_TOKENS
    unversioned = interpreter(worker={"order": "version"})
    assert isinstance(unversioned.expectation(record(body("words"))), NoEvent)
    with pytest.raises(AssertionError):
        interpreter().fault(record(body("words")))


def test_a_bug_of_ours_is_no_reason_to_stop() -> None:
    broken = interpreter()
    broken._planner = None  # type: ignore[assignment]  # whatever it is that breaks
    assert isinstance(broken.expectation(record(body("words"))), Unindexable)
    fault = broken.fault(record(body("words")))
    assert (fault.reason, "words" in fault.message) == (Reason.INTERNAL, False)


def test_records_of_others_are_no_dead_letters() -> None:
    assert interpreter().dead_letter(record(b"anything")) is None
    first = Position("documents", 0, 0, 7, 11)
    replays: tuple[tuple[str, bytes | None], ...] = (("__streamdex.replays", b"2"),)
    assert interpreter().dead_letter(record(b"anything", build_position(first) + replays)) == (first, 2)
    assert interpreter().dead_letter(record(b"anything", build_position(first)[:3])) is None


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        (point("words"), True),
        (point("words", occurrences=3), True),
        (point("words", occurrences=4), False),  # of three chunks none is the fourth
        (point("words", text="other words"), False),
    ],
)
def test_a_text_must_be_one_that_its_id_allows(found: StoredPoint, fits: bool) -> None:
    assert interpreter().point(found, has_vector=True).text_fits is fits


def test_source_and_rank_together_give_the_position_of_a_points_event() -> None:
    def origin(**changes: Any) -> Position | None:
        return interpreter().point(point("words", **changes), has_vector=True).position

    assert origin() == Position("documents", 0, 1, 40, 0)
    assert origin(rank=Rank((1_000 + 40) * 64)) == Position("documents", 0, 0, 40, 0)
    assert origin(rank=Rank(7, (5_000 + 40) * 64)) == Position("documents", 0, 1, 40, 0)
    assert origin(rank=Rank(7)) is None
    assert origin(source=None) is None
    assert origin(source=Source("elsewhere", 0, 40)) is None


def common_digests(asked: dict[str, Any], stored: dict[str, Any]) -> set[str]:
    expectation = interpreter().expectation(record(body("words", metadata=asked)))
    assert isinstance(expectation, Expectation)
    return set(expectation.metadata) & set(
        interpreter().point(point("words", metadata=stored), has_vector=True).metadata
    )


def test_metadata_is_compared_to_eleven_digits_at_least() -> None:
    assert common_digests({"n": [0.1 + 0.2, {"m": 1}]}, {"n": [0.3, {"m": 1}]})
    assert not common_digests({"n": [0.1 + 0.2, {"m": 1}]}, {"n": [0.31, {"m": 1}]})
    assert not common_digests({"n": 1.0000000001}, {"n": 1.0})


@pytest.mark.parametrize("turning", [0.1234567890125, 0.123456789015])  # between two numbers of 12, and of 11 digits
def test_a_float_that_comes_back_beyond_where_rounding_turns_is_still_the_same(turning: float) -> None:
    below, above = turning - 2 * math.ulp(turning), turning + 2 * math.ulp(turning)
    assert common_digests({"n": below}, {"n": above})
