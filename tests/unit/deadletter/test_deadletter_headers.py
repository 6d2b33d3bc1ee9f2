"""Headers of dead letters, there and back, over several rounds."""

import pytest

from streamdex.deadletter import count_replays, parse_dead_letter, replay_headers
from streamdex.deadletter.headers import dead_letter_headers
from streamdex.errors import Reason, RecordFault, Stage
from streamdex.model import Position, Record

FIRST = Position("documents", 3, 0, 17, 1_700_000_000_123)
OWN = (("traceparent", b"00-1"), ("empty", b""), ("null", None), ("twice", b"1"), ("twice", b"2"), ("bin", b"\xff\x00"))
FAULT = RecordFault(Stage.EMBED, Reason.REFUSED_BY_EMBEDDER, "status 422", attempts=4)


def record(headers: tuple[tuple[str, bytes | None], ...] = OWN) -> Record:
    return Record("documents", 3, 17, 1_700_000_000_123, b"k", b"v", headers)


def dead_letter(source: Record, fault: RecordFault = FAULT, position: Position = FIRST, replays: int = 0) -> Record:
    headers = dead_letter_headers(source, fault, position, 1_800, "worker-1", replays)
    return Record("documents.dlq", 3, 0, 9_999, source.key, source.value, headers)


def test_the_names_and_values_are_what_tools_rely_on() -> None:
    assert dead_letter(record()).headers == (
        *OWN,
        ("__streamdex.topic", b"documents"),
        ("__streamdex.partition", b"3"),
        ("__streamdex.epoch", b"0"),
        ("__streamdex.offset", b"17"),
        ("__streamdex.timestamp", b"1700000000123"),
        ("__streamdex.stage", b"embed"),
        ("__streamdex.reason", b"refused_by_embedder"),
        ("__streamdex.message", b"status 422"),
        ("__streamdex.attempts", b"4"),
        ("__streamdex.first_failed_at", b"1800"),
        ("__streamdex.worker", b"worker-1"),
        ("__streamdex.replays", b"0"),
    )


def test_a_letter_tells_what_it_was_told() -> None:
    facts = parse_dead_letter(dead_letter(record()))
    assert facts == (FIRST, "embed", "refused_by_embedder", "status 422", 4, 1_800, "worker-1", 0, False)


def test_a_replay_carries_the_first_place_and_a_count_and_nothing_else_of_ours() -> None:
    headers = replay_headers(dead_letter(record()))
    assert headers[: len(OWN)] == OWN
    assert [name for name, _ in headers[len(OWN) :]] == [
        "__streamdex.topic",
        "__streamdex.partition",
        "__streamdex.epoch",
        "__streamdex.offset",
        "__streamdex.timestamp",
        "__streamdex.replays",
    ]
    assert headers[-1][1] == b"1"


def test_several_rounds_replace_the_headers_and_keep_the_first_place() -> None:
    source = record()
    for replays in range(4):
        sent = dead_letter(source)
        facts = parse_dead_letter(sent)
        assert (facts.position, facts.replays) == (FIRST, replays)
        names = [name for name, _ in sent.headers if name.startswith("__streamdex.")]
        assert len(names) == len(set(names)) == 12
        source = Record("documents", 0, 5_000 + replays, 1, b"k", b"v", replay_headers(sent))
    assert count_replays(source) == 4


def test_the_higher_count_of_replays_counts() -> None:
    assert parse_dead_letter(dead_letter(record(), replays=2)).replays == 2
    assert parse_dead_letter(dead_letter(record((("__streamdex.replays", b"5"),)), replays=2)).replays == 5


@pytest.mark.parametrize("value", [b"", b"x", None, b"-3", b"1.5"])
def test_a_damaged_count_of_replays_is_none(value: bytes | None) -> None:
    assert count_replays(record((("__streamdex.replays", value),))) == 0


@pytest.mark.parametrize(("message", "size"), [("x" * 600, 512), ("é" * 400, 512), ("€" * 400, 510), ("\ud800", 1)])
def test_messages_are_cut_between_characters(message: str, size: int) -> None:
    sent = dead_letter(record(), RecordFault(Stage.DECODE, Reason.UNDECODABLE, message))
    stored = dict(sent.headers)["__streamdex.message"]
    assert stored is not None
    assert len(stored) == size
    stored.decode()


def test_other_records_are_not_letters() -> None:
    for parse in (parse_dead_letter, replay_headers):
        with pytest.raises(ValueError, match="not a dead letter"):
            parse(record())


def test_damaged_letters_are_not_replayed() -> None:
    damaged = record((("__streamdex.topic", b"documents"),))
    for parse in (parse_dead_letter, replay_headers):
        with pytest.raises(ValueError, match="incomplete"):
            parse(damaged)


def test_a_record_that_had_lost_its_place_says_so_in_its_letter() -> None:
    assert not parse_dead_letter(dead_letter(record())).misplaced
    damaged = record((("__streamdex.offset", b"3"),))
    first = dead_letter(damaged)
    assert parse_dead_letter(first).misplaced
    assert not parse_dead_letter(dead_letter(first)).misplaced, "each letter tells of its own record alone"
