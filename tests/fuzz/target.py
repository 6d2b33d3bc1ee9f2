"""What is fuzzed: inputs, what takes them, and what may come of that."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ROUND = 500  # inputs that Hypothesis draws at a time
LONGEST_MESSAGE_BYTES = 512
CANARY = "canary-7f3a"  # stands in many inputs, and in no message


Feed = Callable[[Any], str]


class Target(NamedTuple):
    """`opened` gives what takes one input and tells in a word what came of it; it raises when that must not be."""

    name: str
    inputs: st.SearchStrategy[Any]
    opened: Callable[[], AbstractContextManager[Feed]]


def plain(feed: Feed) -> Callable[[], AbstractContextManager[Feed]]:
    """For a target that needs nothing opened."""
    return lambda: nullcontext(feed)


@dataclass
class Tally:
    """What a campaign has done."""

    bytes: int = 0
    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


def weigh(one: Any) -> int:
    """The bytes in an input, which may be bytes, text, or tuples and lists of such."""
    if isinstance(one, bytes):
        return len(one)
    if isinstance(one, str):
        return len(one.encode(errors="surrogatepass"))
    if isinstance(one, dict):
        return sum(weigh(key) + weigh(value) for key, value in one.items())
    return sum(map(weigh, one)) if isinstance(one, tuple | list) else 0


def told(fault: Exception) -> str:
    """What a fault says, which must be short and must not quote its input."""
    message = str(fault)
    assert CANARY not in message
    assert len(message.encode()) <= LONGEST_MESSAGE_BYTES
    return message


def campaign(target: Target, least_bytes: int, seed: int) -> Tally:
    """Feed the target so many bytes. Raises what it raised, and Hypothesis tells the smallest input that does it."""
    tally = Tally()
    with target.opened() as feed:
        while tally.bytes < least_bytes:
            try:
                _play(target.inputs, feed, tally, seed)
            except Exception as finding:
                finding.add_note(f"Found in {target.name}, with the seed {seed}.")
                raise
            seed += 1
    return tally


def _play(inputs: st.SearchStrategy[Any], feed: Feed, tally: Tally, seed: int) -> None:
    @hypothesis.seed(seed)
    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def play(one: Any) -> None:
        outcome = feed(one)
        tally.bytes += weigh(one)
        tally.inputs += 1
        tally.outcomes[outcome] += 1

    play()
