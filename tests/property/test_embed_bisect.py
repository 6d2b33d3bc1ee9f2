"""Bisecting by refusals: every bad input is named, none other, within the promised number of requests."""

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdex.embed.jobs import EmbedJob, EmbedRequest
from streamdex.embed.queue import Backlog
from streamdex.embed.suspects import CONTROLS, ENOUGH_FAILURES, InputSuspects
from streamdex.errors import Reason, RecordFault, Service, SuspectFault

LOG_SIZE = 9  # of the largest request, 512 inputs
REFUSED = SuspectFault(Service.JINA, Reason.REFUSED_BY_EMBEDDER, "Jina answered 400")
WRONG = SuspectFault(Service.JINA, Reason.WRONG_ANSWER, "the answer is wrong")


class Run:
    """Serves a backlog of one-text jobs, up to `at_once` at a time, refusing every request with a bad input."""

    def __init__(self, size: int, bad: set[int], at_once: int = 8) -> None:
        self.size = size
        self.suspects = InputSuspects()
        self.backlog = Backlog(self.suspects, rng=lambda: 0.5)
        self.jobs = [EmbedJob((str(place),), (1,)) for place in range(size)]
        self.bad = {self.jobs[place] for place in bad}
        self.at_once = at_once
        self.dead_letters: list[tuple[EmbedJob, RecordFault]] = []
        self.done: list[EmbedJob] = []
        self.requests = 0
        self.canaries = 0
        for job in self.jobs:
            self.backlog.queue.add(job)

    def run(self) -> None:
        under_way: deque[tuple[EmbedRequest, int]] = deque()
        for _ in range(100_000):
            _, dead_letters = self.backlog.review(0.0)
            self.dead_letters += dead_letters
            request = self.backlog.take(self.size, math.inf) if len(under_way) < self.at_once else None
            if request is not None:
                self.requests += 1
                under_way.append((request, self.suspects.sent()))
            elif under_way:
                self._answer(*under_way.popleft())
            elif self.backlog.needs_canary(fresh_under_way=False):
                self.canaries += 1
                self.suspects.canary_passed(self.suspects.sent())
            else:
                return
        raise AssertionError("it does not come to an end")

    def _answer(self, request: EmbedRequest, sent_at: int) -> None:
        if self.bad & {inputs.job for inputs in request.inputs}:
            self.backlog.failed(request, REFUSED, 0.0)
        else:
            self.suspects.passed(request, sent_at)
            self.done += request.deliver([b"v"] * len(request.inputs))


def _check(size: int, bad: set[int], at_once: int = 8) -> Run:
    run = Run(size, bad, at_once)
    run.run()
    assert {job for job, _ in run.dead_letters} == run.bad
    assert len(run.dead_letters) == len(run.bad)
    assert set(run.done) == set(run.jobs) - run.bad
    bound = 2 * len(bad) * LOG_SIZE + len(bad)
    assert run.requests - 1 <= bound  # besides the one that had to be sent anyway; the last tries alone included
    assert run.canaries <= 2 * CONTROLS if bad else run.canaries == 0
    return run


@given(
    st.integers(1, 512).flatmap(lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), max_size=64)))
)
def test_exactly_the_bad_ones_are_dead_lettered(case: tuple[int, set[int]]) -> None:
    _check(*case)


@given(st.sets(st.integers(0, 63)), st.integers(1, 64))
def test_whatever_goes_at_once(bad: set[int], at_once: int) -> None:
    _check(64, bad, at_once)


@pytest.mark.parametrize("place", range(0, 512, 37))
def test_one_in_512(place: int) -> None:
    """The bisect's own refusals are nearly all the proof; one more try alone."""
    assert _check(512, {place}).requests == 1 + 2 * LOG_SIZE + 1


def test_one_alone() -> None:
    """Without a bisect the proof is as many tries alone."""
    assert _check(1, {0}).requests == ENOUGH_FAILURES + 1


def test_all_512() -> None:
    _check(512, set(range(512)))
