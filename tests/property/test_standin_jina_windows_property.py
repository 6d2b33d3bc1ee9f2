"""No schedule of requests gets more through a window than it allows, and a wait it names is enough."""

import math
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from streamdex.standins.jina.limits import Limiter, Limits
from streamdex.standins.jina.windows import MINUTE_S, WindowKind, make_window

LIMIT = 40
PAUSES_S = st.lists(st.floats(0, 45, allow_nan=False), min_size=1, max_size=80)
PHASES_S = st.floats(0, 60, exclude_max=True)
AMOUNTS = st.integers(1, 15)


def _admitted(kind: WindowKind, phase_s: float, pauses_s: list[float], amounts: list[int]) -> list[tuple[float, int]]:
    window = make_window(kind, LIMIT, phase_s)
    admitted = []
    for now_s, amount in zip(accumulate(pauses_s), amounts, strict=False):
        if window.fits(now_s, amount):
            window.charge(now_s, amount)
            admitted.append((now_s, amount))
    return admitted


def _most_in_any(admitted: list[tuple[float, int]], span_s: float) -> int:
    """The most that was let through within any `span_s`, its end not included."""
    return max((sum(n for t, n in admitted if start <= t < start + span_s) for start, _ in admitted), default=0)


@given(PHASES_S, PAUSES_S, st.lists(AMOUNTS, min_size=80, max_size=80))
def test_fixed_and_sliding_counter_hold_per_minute_of_their_phase(
    phase_s: float, pauses_s: list[float], amounts: list[int]
) -> None:
    for kind in (WindowKind.FIXED, WindowKind.SLIDING_COUNTER):
        minutes: dict[int, int] = {}
        for now_s, amount in _admitted(kind, phase_s, pauses_s, amounts):
            minute = math.floor((now_s - phase_s) / MINUTE_S)
            minutes[minute] = minutes.get(minute, 0) + amount
        assert all(total <= LIMIT for total in minutes.values())


@given(PAUSES_S, st.lists(AMOUNTS, min_size=80, max_size=80))
def test_sliding_log_holds_for_any_60_seconds(pauses_s: list[float], amounts: list[int]) -> None:
    admitted = _admitted(WindowKind.SLIDING_LOG, 0.0, pauses_s, amounts)
    assert _most_in_any(admitted, MINUTE_S - 1e-6) <= LIMIT


@given(PAUSES_S, st.lists(st.integers(1, 3), min_size=80, max_size=80), st.floats(0.1, 300))
def test_buckets_hold_their_capacity_and_refill_for_any_span(
    pauses_s: list[float], amounts: list[int], span_s: float
) -> None:
    for kind, capacity_s in ((WindowKind.BUCKET_60S, 60.0), (WindowKind.BUCKET_2S, 2.0)):
        admitted = _admitted(kind, 0.0, pauses_s, amounts)
        allowed = max(1.0, LIMIT * capacity_s / MINUTE_S) + LIMIT * span_s / MINUTE_S
        assert _most_in_any(admitted, span_s) <= allowed + 1e-6


@given(st.sampled_from(WindowKind), PHASES_S, PAUSES_S, st.lists(AMOUNTS, min_size=80, max_size=80), AMOUNTS)
def test_the_wait_named_is_enough_and_never_backwards(
    kind: WindowKind, phase_s: float, pauses_s: list[float], amounts: list[int], wanted: int
) -> None:
    window = make_window(kind, LIMIT, phase_s)
    now_s = 0.0
    for pause_s, amount in zip(pauses_s, amounts, strict=False):
        now_s += pause_s
        if window.fits(now_s, amount):
            window.charge(now_s, amount)
        wait_s = window.wait_s(now_s, wanted)
        assert (wait_s == 0) == window.fits(now_s, wanted)
    if math.isfinite(wait_s):
        assert window.fits(now_s + wait_s + 1e-6, wanted)


@given(
    st.sampled_from(WindowKind),
    st.booleans(),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20), st.booleans()), max_size=60),
)
def test_the_limiter_never_lets_more_in_than_it_may(
    kind: WindowKind, count_rejected: bool, steps: list[tuple[float, int, bool]]
) -> None:
    limiter = Limiter(Limits(12, 100, 3, kind, count_rejected=count_rejected))
    now_s, in_flight, admitted = 0.0, 0, []
    for pause_s, tokens, one_leaves in steps:
        now_s += pause_s
        if one_leaves and in_flight:
            limiter.leave()
            in_flight -= 1
        if limiter.admit(now_s, tokens) is None:
            in_flight += 1
            admitted.append((now_s, tokens))
        assert limiter.in_flight == in_flight <= 3
    # Twice the limit is the most that any of the five lets through in a minute that begins anywhere.
    assert _most_in_any([(at_s, 1) for at_s, _ in admitted], MINUTE_S) <= 2 * 12
    assert _most_in_any(admitted, MINUTE_S) <= 2 * 100
