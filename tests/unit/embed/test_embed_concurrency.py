"""How many at once: grows where it may, is cut where it must, and knows its own queue from a slow service."""

from collections.abc import Callable

import pytest

from streamdex.embed.pacing.concurrency import CAP_RISES_S, FLOOR, START, Concurrency

Latency = Callable[[int, float], float]  # (under way, tokens) → seconds


class Line:
    """A closed loop: as many requests under way as allowed, each as long as `latency` says."""

    def __init__(self, most: int, latency: Latency, tokens: float = 5000) -> None:
        self.concurrency = Concurrency(most)
        self.latency = latency
        self.tokens = tokens
        self.now_s = 0.0
        self.ends: list[tuple[float, float, float, int]] = []  # (end, latency, tokens, under way)
        self.limits: list[int] = []

    def run(self, seconds: float, wanted: int = 10**6) -> int:
        """Go on for so long, wanting so many at once; returns the limit then."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            limit = self.concurrency.limit(self.now_s)
            self.limits.append(limit)
            while len(self.ends) < min(limit, wanted):
                under_way = len(self.ends) + 1
                latency_s = self.latency(under_way, self.tokens)
                self.ends.append((self.now_s + latency_s, latency_s, self.tokens, under_way))
            if len(self.ends) < wanted:
                self.concurrency.reached()
            self.ends.sort()
            self.now_s, latency_s, tokens, under_way = self.ends.pop(0)
            self.concurrency.answered(tokens, latency_s, under_way, self.now_s)
        return self.concurrency.limit(self.now_s)


def steady(seconds: float) -> Latency:
    return lambda _under_way, _tokens: seconds


def queueing(servers: int, seconds: float) -> Latency:
    """A service that works on so many at once; the rest wait in its queue."""
    return lambda under_way, _tokens: seconds * max(1.0, under_way / servers)


def test_it_starts_small_and_grows_to_what_the_key_allows() -> None:
    line = Line(50, steady(0.3))
    assert line.concurrency.limit(0.0) == START
    assert line.run(30) == 50


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_small_key_is_used_whole_from_the_start(most: int) -> None:
    line = Line(most, steady(0.3))
    assert line.run(60) == most
    assert set(line.limits) == {most}


def test_it_does_not_grow_where_the_limit_is_not_reached() -> None:
    assert Line(50, steady(0.3)).run(60, wanted=4) == START


@pytest.mark.parametrize("servers", [10, 30, 100])
def test_a_queue_of_our_own_is_not_fed(servers: int) -> None:
    line = Line(500, queueing(servers, 0.3))
    line.run(60)
    settled = line.limits[len(line.limits) // 2 :]
    assert min(settled) >= 0.5 * servers
    assert sorted(settled)[len(settled) // 2] <= 2 * servers


@pytest.mark.parametrize("factor", [2, 5, 20])
def test_a_slower_service_is_a_new_baseline_not_a_reason_to_get_stuck(factor: int) -> None:
    line = Line(50, steady(0.2))
    assert line.run(20) == 50
    line.latency = steady(0.2 * factor)
    line.run(10 * 0.2 * factor)
    assert line.run(1) >= 45
    line.latency = steady(0.2)
    line.run(20)
    assert line.run(1) == 50


def test_larger_batches_are_no_slowdown() -> None:
    """What made a line over all sizes stick at the floor: batches that suddenly are eight times as large."""
    line = Line(50, lambda _under_way, tokens: 0.1 + tokens / 10_000)
    line.run(20)
    line.tokens *= 8
    line.run(60)
    assert line.run(1) == 50
    assert min(line.limits[-100:]) == 50


def test_it_never_goes_below_the_floor() -> None:
    line = Line(50, lambda under_way, _tokens: 0.1 * under_way**3)
    line.run(600)
    assert min(line.limits) >= FLOOR


def test_too_many_at_once_caps_and_the_cap_rises_slowly() -> None:
    line = Line(50, steady(0.2))
    line.run(20)
    line.concurrency.refused(21, line.now_s)
    assert line.concurrency.limit(line.now_s) == 19
    assert line.concurrency.limit(line.now_s + CAP_RISES_S - 1) == 19
    assert line.concurrency.limit(line.now_s + CAP_RISES_S) == 20
    assert line.concurrency.limit(line.now_s + 3 * CAP_RISES_S) == 22
    assert line.concurrency.limit(line.now_s + 100 * CAP_RISES_S) == 50


def test_refused_alone_it_still_may_send_one() -> None:
    concurrency = Concurrency(2)
    for _ in range(3):
        concurrency.refused(1, 0.0)
    assert concurrency.limit(0.0) == 1


def test_what_the_key_allows_may_change() -> None:
    line = Line(50, steady(0.2))
    line.run(20)
    line.concurrency.set_most(12)
    assert line.concurrency.limit(line.now_s) == 12
    line.concurrency.set_most(1)
    assert line.concurrency.limit(line.now_s) == 1
    line.concurrency.set_most(30)
    line.run(20)
    assert line.concurrency.limit(line.now_s) == 30
