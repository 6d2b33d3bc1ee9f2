"""A service that refuses at random, at whatever rate: the bound on wrong dead letters is what the rule says it is.

Once in 10¹² cases cannot be seen. So the bound is loosened, and the rate of wrong dead letters must follow it.
"""

import math
import random
from collections import deque

import pytest

from streamdex.embed.jobs import EmbedJob, EmbedRequest
from streamdex.embed.queue import Backlog
from streamdex.embed.suspects import InputSuspects
from streamdex.errors import Reason, Service, SuspectFault

REFUSED = SuspectFault(Service.JINA, Reason.REFUSED_BY_EMBEDDER, "Jina answered 400")
TEXTS = 5_000
AT_ONCE = 8
RATES = pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.5])


def wrong_dead_letters(rate: float, most_inputs: int, suspects: InputSuspects) -> int:
    """Of so many healthy texts, in requests of up to so many inputs."""
    rng = random.Random(1)
    backlog = Backlog(suspects, rng=rng.random)
    for number in range(TEXTS):
        backlog.queue.add(EmbedJob((str(number),), (1,)))
    under_way: deque[tuple[EmbedRequest | None, int]] = deque()  # None: a canary
    dead_letters = 0
    while True:
        dead_letters += len(backlog.review(0.0)[1])
        if all(request for request, _ in under_way) and backlog.needs_canary(
            fresh_under_way=any(request.fresh for request, _ in under_way if request)
        ):
            under_way.append((None, suspects.sent()))
        request = backlog.take(rng.randint(1, most_inputs), math.inf) if len(under_way) < AT_ONCE else None
        if request is not None:
            under_way.append((request, suspects.sent()))
        elif under_way:
            answer(*under_way.popleft(), suspects, backlog, refused=rng.random() < rate)
        else:
            return dead_letters


def answer(
    request: EmbedRequest | None, sent_at: int, suspects: InputSuspects, backlog: Backlog, *, refused: bool
) -> None:
    if request is None and refused:
        suspects.canary_failed()
    elif request is None:
        suspects.canary_passed(sent_at)
    elif refused:
        backlog.failed(request, REFUSED, 0.0)
    else:
        suspects.passed(request, sent_at)
        request.deliver([b"v"] * len(request.inputs))


@RATES
@pytest.mark.parametrize("most_inputs", [1, 64])
def test_nothing_is_dead_lettered(rate: float, most_inputs: int) -> None:
    assert wrong_dead_letters(rate, most_inputs, InputSuspects()) == 0


@RATES
def test_the_bound_is_what_it_says(rate: float) -> None:
    """At one in a hundred; alone, since a text in a larger request is dead-lettered more rarely still."""
    suspects = InputSuspects(chance=0.01, enough_failures=1, controls=5)
    assert 0 < wrong_dead_letters(rate, 1, suspects) <= 0.02 * TEXTS
