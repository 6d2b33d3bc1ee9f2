"""A service that refuses at random, at whatever rate: the bound on condemning anybody is what the rule says it is.

Once in 10¹² cases cannot be seen. So the bound is loosened, and the rate of wrong verdicts must follow it.
"""

import math
import random
from collections import deque

import pytest

from streamdex.embed import suspects as rules
from streamdex.embed.backlog import Backlog
from streamdex.embed.jobs import EmbedJob, Parcel
from streamdex.errors import Reason, Service, SuspectFault

REFUSED = SuspectFault(Service.JINA, Reason.REFUSED_BY_EMBEDDER, "Jina answered 400")
TEXTS = 5_000
AT_ONCE = 8
RATES = pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.5])


def wrongly_condemned(rate: float, most_inputs: int, seed: int = 1) -> int:
    """Of so many healthy texts, in parcels of up to so many inputs."""
    rng = random.Random(seed)
    blame = rules.InputSuspects()
    backlog = Backlog(blame, rng=rng.random)
    for number in range(TEXTS):
        backlog.add(EmbedJob((str(number),), (1,)))
    under_way: deque[tuple[Parcel | None, int]] = deque()  # None: a canary
    unindexable = 0
    while True:
        unindexable += len(backlog.review(0.0)[1])
        if all(parcel for parcel, _ in under_way) and backlog.wants_canary(
            fresh_under_way=any(parcel.fresh for parcel, _ in under_way if parcel)
        ):
            under_way.append((None, blame.sent()))
        parcel = backlog.take(rng.randint(1, most_inputs), math.inf) if len(under_way) < AT_ONCE else None
        if parcel is not None:
            under_way.append((parcel, blame.sent()))
        elif under_way:
            answer(*under_way.popleft(), blame, backlog, refused=rng.random() < rate)
        else:
            return unindexable


def answer(parcel: Parcel | None, sent_at: int, blame: rules.InputSuspects, backlog: Backlog, *, refused: bool) -> None:
    if parcel is None and refused:
        blame.canary_failed()
    elif parcel is None:
        blame.canary_passed(sent_at)
    elif refused:
        backlog.failed(parcel, REFUSED, 0.0)
    else:
        blame.passed(parcel, sent_at)
        parcel.deliver([b"v"] * len(parcel.pieces))


@RATES
@pytest.mark.parametrize("most_inputs", [1, 64])
def test_nobody_is_condemned(rate: float, most_inputs: int) -> None:
    assert wrongly_condemned(rate, most_inputs) == 0


@RATES
def test_the_bound_is_what_it_says(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """At one in a hundred; alone, since a text in a parcel is condemned more rarely still."""
    monkeypatch.setattr(rules, "LOG_CHANCE", math.log(0.01))
    monkeypatch.setattr(rules, "ENOUGH", 1)
    monkeypatch.setattr(rules, "WITNESSES", 5)
    assert 0 < wrongly_condemned(rate, 1) <= 0.02 * TEXTS
