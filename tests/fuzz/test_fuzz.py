"""A slice of `make fuzz`: fixed and fresh seeds, told at a failure. Any exception outside the taxonomy fails it."""

import random
from typing import Any

import pytest
from hypothesis import strategies as st

from fuzz import of_jina, of_qdrant, of_records, of_the_wire
from fuzz.target import Target, campaign, plain, weigh
from streamdex.kafka.position_headers import TIMESTAMP, Headers

TARGETS = [*of_records.TARGETS, *of_jina.TARGETS, *of_the_wire.TARGETS, *of_qdrant.TARGETS]
SLICE_BYTES = 60_000
FRESH = random.randrange(2**32)

# What must come of some inputs, or they are too damaged to get anywhere, or not damaged at all.
LEAST = {
    "records: value": {"upsert", "delete", "dead letter: not_json", "dead letter: no_id"},
    "records: value and headers": {"upsert", "delete", "dead letter: undecodable"},
    "headers of positions and dead letters": {"read, read, read", "damaged, damaged, damaged"},
    "Jina: answers": {"vectors", "it is not JSON"},
    "Jina: refusals": {"SuspectFault", "AccountFault", "ServiceFault", "Throttled"},
    "Jina: bytes of the connection": {"vectors", "ServiceFault: Jina did not speak HTTP as expected"},
    "Qdrant: manifests, payloads and statuses": {"taken", "AccountFault", "ServiceFault"},
    "Qdrant: what it says of a collection": {"taken", "no message"},
    "Qdrant: refusals": {"ServiceFault, version taken", "ServiceFault, version ConfigurationError"},
}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("seed", [1, FRESH], ids=["fixed", "fresh"])
def test_nothing_outside_the_taxonomy(target: Target, seed: int) -> None:
    tally = campaign(target, SLICE_BYTES, seed)
    assert tally.bytes >= SLICE_BYTES
    assert tally.outcomes.keys() >= LEAST[target.name]


VALUE, HEADED, HEADERS = of_records.TARGETS
(WIRE,) = of_the_wire.TARGETS
PLAIN = of_records.DECODERS[0]
POSITION = of_records.LETTER[1:6]


def with_timestamp(value: bytes) -> Headers:
    return *POSITION[:4], (TIMESTAMP, value)


FOUND = [
    (VALUE, (b"[" * 1024 + b"]" * 1024, None, (), PLAIN), "dead letter: not_an_object"),
    (VALUE, (b'{"text":' + b"[" * 1000 + b"]" * 1000 + b"}", b"k", (), PLAIN), "dead letter: wrong_type"),
    (VALUE, (b'{"text":"x","metadata":{"a":1e400}}', b"k", (), PLAIN), "dead letter: not_finite"),
    (HEADED, (None, b"k", with_timestamp(b"9223372036854775807"), PLAIN), "delete"),
    (HEADED, (None, b"k", with_timestamp(b"9223372036854775808"), PLAIN), "dead letter: undecodable"),
    (HEADERS, with_timestamp(b"-9223372036854775809"), "damaged, damaged, damaged"),
    (WIRE, b"HTTP/1.1 200 OK\x9e\r\n\r\n", "ServiceFault: Jina did not speak HTTP as expected"),
    (
        WIRE,
        b"HTTP/1.1 302 Found\r\nlocation: http:127.0.0.1/elsewhere\r\ncontent-length: 0\r\n\r\n",
        "ServiceFault: Jina did not speak HTTP as expected",
    ),
    (
        WIRE,
        b"HTTP/1.1 503 Busy\r\nset-cookie: a=b; Max-Age=" + b"9" * 400 + b"\r\ncontent-length: 0\r\n\r\n",
        "ServiceFault: Jina answered 503",
    ),
]


@pytest.mark.parametrize(("target", "one", "outcome"), FOUND)
def test_what_was_found_once(target: Target, one: Any, outcome: str) -> None:
    with target.opened() as feed:
        assert feed(one) == outcome


def test_a_bug_is_found() -> None:
    def brittle(one: bytes) -> str:
        if b"7" * 4000 in one:
            raise KeyError("a bug")
        return "read"

    target = Target("brittle", of_records.TARGETS[0].inputs, plain(lambda one: brittle(one[0])))
    with pytest.raises(KeyError, match="a bug"):
        campaign(target, 3_000_000, seed=1)


def test_bytes_are_counted_wherever_they_stand() -> None:
    assert weigh((b"ab", None, 7, ("c", [b"d", {"e": b"\xff"}], "é"))) == 8


def test_the_same_seed_gives_the_same_inputs() -> None:
    def heard(seed: int) -> list[bytes]:
        inputs: list[bytes] = []

        def feed(one: bytes) -> str:
            inputs.append(one)
            return "heard"

        campaign(Target("heard", st.binary(), plain(feed)), 1_000, seed)
        return inputs

    assert heard(5) == heard(5) != heard(6)
