"""The rate limiter: two leaky buckets, both dry or nothing goes; share, corrections, and no burst."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdex.embed.pacing.rate import KeyLimits, RateLimiter, utilisation
from streamdex.standins.jina.windows import WindowKind, make_window

PAID = KeyLimits(500, 2_000_000, 50)
PLENTY = 10**9


def limiter(requests: float = PLENTY, tokens: float = PLENTY, largest: float = 1.0) -> RateLimiter:
    return RateLimiter(KeyLimits(requests, tokens, 50), largest)


def sent_in(seconds: float, paced: RateLimiter, tokens: float, begin_s: float = 0.0) -> int:
    now_s, sent = begin_s, 0
    while (now_s := max(now_s, paced.ready_at(now_s))) < begin_s + seconds:
        paced.charge(tokens, now_s)
        sent += 1
    return sent


def test_each_limit_is_kept_and_nearly_used_up() -> None:
    assert 97 <= sent_in(60, limiter(requests=100), 1) <= 100
    assert 97 <= sent_in(60, limiter(tokens=100_000, largest=1000), 1000) <= 100


def test_both_must_be_free() -> None:
    paced = limiter(requests=60, tokens=60)
    paced.charge(1, 0.0)
    by_requests = paced.ready_at(0.0)
    paced.charge(30, 0.0)
    assert by_requests < paced.ready_at(0.0)
    assert paced.ready_at(0.0) > 30


def test_after_a_pause_there_is_no_burst() -> None:
    paced = limiter(requests=600)
    paced.charge(1, 0.0)
    assert paced.ready_at(100.0) == 100.0
    for _ in range(3):  # the tolerance is worth one and a bit
        paced.charge(1, 100.0)
    assert paced.ready_at(100.0) > 100.0


def test_a_late_timer_costs_nothing() -> None:
    """Each grant is taken 0.1 s late, and the rate stays."""
    paced, now_s, sent = limiter(requests=100), 0.0, 0
    while (now_s := max(now_s, paced.ready_at(now_s) + 0.1)) < 600:
        paced.charge(1, now_s)
        sent += 1
    assert sent >= 0.97 * 1000


def test_what_was_billed_corrects_what_was_charged() -> None:
    paced, exact = limiter(tokens=1000), limiter(tokens=1000)
    paced.charge(100, 0.0)
    paced.correct(150, 0.0)
    exact.charge(250, 0.0)
    assert paced.ready_at(0.0) == pytest.approx(exact.ready_at(0.0), rel=0.2)  # a larger request leaves more free
    paced.correct(-10_000, 0.0)
    assert paced.ready_at(0.0) == 0.0
    assert sent_in(60, paced, 10) <= 100  # no credit


def test_a_smaller_share_counts_at_once_and_the_levels_stay() -> None:
    paced = limiter(tokens=60_000)
    paced.charge(6000, 0.0)
    before_s = paced.ready_at(0.0)
    paced.set_share(0.1, 0.0)
    assert paced.ready_at(0.0) > 8 * before_s
    paced.set_share(0.0, 0.0)
    assert paced.ready_at(1e9) == math.inf
    paced.set_share(1.0, 1e9)
    assert paced.ready_at(1e9) == pytest.approx(1e9 + before_s, rel=1e-3)


def test_without_a_share_even_the_first_waits() -> None:
    paced = limiter()
    paced.set_share(0.0, 0.0)
    paced.charge(1, 0.0)
    assert paced.ready_at(1.0) == math.inf


def test_a_recovery_below_one_slows_both() -> None:
    paced = limiter(requests=600, tokens=600_000)
    requests, tokens = paced.requests_per_minute, paced.tokens_per_minute
    paced.set_recovery(0.5, 0.0)
    assert paced.requests_per_minute == pytest.approx(requests / 2)
    assert paced.tokens_per_minute == pytest.approx(tokens / 2)


def test_without_the_tolerance_the_next_waits_for_the_whole_level() -> None:
    paced = limiter(requests=600)
    paced.drop_tolerance(5.0)
    paced.charge(1, 5.0)
    first_s = paced.ready_at(5.0)
    assert first_s == pytest.approx(5.1, abs=0.01)


def test_new_limits_hold_from_now_on() -> None:
    paced = limiter(requests=100)
    paced.charge(1, 0.0)
    paced.set_limits(KeyLimits(1000, PLENTY, 5), 1.0, 0.0)
    assert 950 <= sent_in(60, paced, 1) <= 1000


def test_large_requests_of_late_leave_more_free() -> None:
    paced = limiter(tokens=100_000, largest=100)
    before = paced.tokens_per_minute
    paced.charge(5000, 0.0)
    assert paced.tokens_per_minute == pytest.approx(before - 0.049 * 100_000, rel=0.01)
    paced.charge(1, 60.0)
    assert paced.tokens_per_minute < before
    paced.charge(1, 120.0)
    assert paced.tokens_per_minute == before


def test_even_a_limit_of_one_leaves_something() -> None:
    assert utilisation(1, 1.0, 1) == 0.5
    assert 4 <= sent_in(600, limiter(requests=1), 1) <= 10


@pytest.mark.parametrize("kind", WindowKind)
@given(
    phase_s=st.floats(0, 60),
    sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=40),
    pauses=st.lists(st.floats(0, 90), min_size=1, max_size=5),
)
def test_no_window_ever_refuses(kind: WindowKind, phase_s: float, sizes: list[int], pauses: list[float]) -> None:
    """Whatever the sizes and pauses, from the first request on."""
    requests, tokens = make_window(kind, 500, phase_s), make_window(kind, 2_000_000, phase_s)
    paced, now_s = RateLimiter(PAID, 9_000), 0.0
    for number in range(600):
        now_s = paced.ready_at(now_s)
        size = sizes[number % len(sizes)]
        assert requests.fits(now_s, 1)
        assert tokens.fits(now_s, size)
        requests.charge(now_s, 1)
        tokens.charge(now_s, size)
        paced.charge(size, now_s)
        if number % 150 == 149:
            now_s += pauses[number % len(pauses)]
