"""The small pure parts of the pacing: rate recovery, throttle, calibration, latency, usage, batches."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdex.embed.pacing.batch_size import CHEAP_INPUTS, LARGEST_SHARE, Batch, Bounds, next_batch, planned_tokens
from streamdex.embed.pacing.pacer import Pacer
from streamdex.embed.pacing.rate import KeyLimits
from streamdex.embed.pacing.recovery import RateRecovery, Throttle, throttle_of
from streamdex.embed.pacing.usage import LEAST, MOST, LatencyModel, TokenCalibration, Usage

PAID = KeyLimits(500, 2_000_000, 50)
FREE = KeyLimits(100, 100_000, 2)
PREMIUM = KeyLimits(5_000, 50_000_000, 500)
ROOMY = Bounds(512, math.inf, 20.0)
NO_LINE = (0.0, 0.0)

# --- rate recovery


def test_without_a_refusal_all_is_used() -> None:
    assert RateRecovery().at(1e9) == 1.0


def test_a_measured_refusal_goes_just_below_what_was_used() -> None:
    recovery = RateRecovery()
    recovery.refused(0.0, 0.8)
    assert recovery.at(0.0) == pytest.approx(0.784)


def test_an_unmeasured_refusal_goes_a_little_down() -> None:
    recovery = RateRecovery()
    recovery.refused(0.0, None)
    assert recovery.at(0.0) == pytest.approx(0.97)
    recovery.refused(14.0, None)  # too soon after the first
    assert recovery.at(14.0) > 0.97
    before = recovery.at(16.0)
    recovery.refused(16.0, 1.2)  # more than there was: a burst that is over
    assert recovery.at(16.0) == pytest.approx(0.97 * before)


def test_it_is_soon_back_lingers_there_and_then_goes_up() -> None:
    recovery = RateRecovery()
    recovery.refused(0.0, 0.5)
    values = [recovery.at(float(second)) for second in range(600)]
    assert values == sorted(values)
    assert values[60] == pytest.approx(0.5, abs=0.005)
    assert values[90] < 0.51
    assert values[-1] == 1.0
    assert recovery.at(0.0) == 1.0  # it is over


def test_one_wrong_measurement_does_not_stop_everything() -> None:
    recovery = RateRecovery()
    recovery.refused(0.0, 0.0)
    assert recovery.at(0.0) >= 0.29


@given(st.lists(st.tuples(st.floats(0, 300), st.none() | st.floats(0, 2)), max_size=50))
def test_it_stays_a_part(refusals: list[tuple[float, float | None]]) -> None:
    recovery, now_s = RateRecovery(), 0.0
    for pause_s, measured in refusals:
        now_s += pause_s
        before = recovery.at(now_s)
        recovery.refused(now_s, measured)
        assert 0 < recovery.at(now_s) <= before


# --- throttle


@pytest.mark.parametrize(
    ("code", "used", "in_flight", "expected"),
    [
        ("RATE_REQUEST_LIMIT_EXCEEDED", 0.0, 50, Throttle.REQUESTS),
        ("RATE_TOKEN_LIMIT_EXCEEDED", 0.0, 50, Throttle.TOKENS),
        ("RATE_CONCURRENCY_LIMIT_EXCEEDED", 1.0, 1, Throttle.CONCURRENCY),
        ("RATE_IP_LIMIT_EXCEEDED", 0.0, 50, Throttle.IP),
        (None, 0.3, 45, Throttle.CONCURRENCY),
        ("SOMETHING_NEW", 0.3, 45, Throttle.CONCURRENCY),
        (None, 0.9, 45, Throttle.RATE),
        (None, 0.3, 10, Throttle.RATE),
    ],
)
def test_the_code_of_a_429_names_the_limit_or_what_we_did_does(
    code: str | None, used: float, in_flight: int, expected: Throttle
) -> None:
    assert throttle_of(code, used, in_flight, slots=50) is expected


# --- calibration


def test_estimates_are_corrected_by_what_is_billed() -> None:
    calibration = TokenCalibration()
    assert calibration.tokens_per_estimate == 1.0
    rng = random.Random(1)
    for _ in range(200):
        calibration.learn(1000 * (0.8 + 0.4 * rng.random()), 1300)
    assert calibration.tokens_per_estimate == pytest.approx(1.3, rel=0.05)


def test_a_single_word_does_not_spoil_it() -> None:
    calibration = TokenCalibration()
    for _ in range(50):
        calibration.learn(5000, 5000)
    calibration.learn(3, 30)
    assert calibration.tokens_per_estimate == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(("billed", "expected"), [(0, LEAST), (10**9, MOST)])
def test_nonsense_is_bounded(billed: int, expected: float) -> None:
    calibration = TokenCalibration()
    calibration.learn(100, billed)
    assert calibration.tokens_per_estimate == expected


# --- latency


def test_the_line_over_the_sizes_is_found_and_followed() -> None:
    model, rng = LatencyModel(), random.Random(1)
    assert model.line == (0.0, 0.0)
    for fixed_s, token_s in ((0.2, 2e-5), (1.0, 1e-4)):
        for _ in range(300):
            tokens = rng.randint(500, 9000)
            model.learn(tokens, (fixed_s + token_s * tokens) * (0.95 + 0.1 * rng.random()))
        assert model.line[0] == pytest.approx(fixed_s, rel=0.15)
        assert model.line[1] == pytest.approx(token_s, rel=0.15)


def test_equal_sizes_show_no_slope() -> None:
    model = LatencyModel()
    for _ in range(100):
        model.learn(5000, 0.4)
    assert model.line[0] == pytest.approx(0.4)
    assert model.line[1] == 0.0


@given(st.lists(st.tuples(st.integers(1, 30_000), st.floats(0.001, 60)), min_size=1, max_size=60))
def test_neither_part_is_ever_negative(answers: list[tuple[int, float]]) -> None:
    model = LatencyModel()
    for tokens, seconds in answers:
        model.learn(tokens, seconds)
    fixed_s, token_s = model.line
    assert fixed_s >= -1e-9
    assert token_s >= 0


# --- usage


def test_a_minute_is_remembered() -> None:
    usage = Usage()
    for second in range(120):
        usage.add(1, 100, float(second))
    assert usage.last_minute(119.0) == (61, 6100)  # by whole seconds
    usage.add(-1, -100, 119.0)
    assert usage.last_minute(119.0) == (60, 6000)
    assert usage.last_minute(1000.0) == (0, 0)


def test_what_a_service_takes_is_the_average_of_two_minutes_where_that_is_more() -> None:
    usage = Usage()
    for second in range(30):
        usage.add(2, 200, float(second))
    assert usage.sustained(30.0, busy_s=30.0) == (60, 6000)
    assert usage.sustained(100.0, busy_s=20.0) == (60, 6000)  # of one minute, since we were busy no longer
    assert usage.sustained(100.0, busy_s=90.0) == (40, 4000)
    assert usage.sustained(100.0, busy_s=900.0) == (30, 3000)


# --- batches


def test_scarce_requests_go_full_although_no_batch_is_ever_quite_full() -> None:
    assert planned_tokens(PAID, ROOMY) == pytest.approx(5000)
    assert planned_tokens(FREE, ROOMY, 1.0, 400) == pytest.approx(1300)
    assert planned_tokens(FREE, ROOMY, 1.0, 8000) == pytest.approx(LARGEST_SHARE * 100_000)
    assert planned_tokens(KeyLimits(10, 1_000_000, 5), ROOMY) == pytest.approx(LARGEST_SHARE * 1_000_000)
    assert planned_tokens(PREMIUM, Bounds(512, 32_768, 20.0)) == 32_768


def test_of_many_replicas_each_sends_no_more_at_once_than_the_requests_need() -> None:
    sizes = [planned_tokens(PAID, ROOMY, 1 / count, 400) for count in (1, 2, 4, 32)]
    assert sizes == pytest.approx([5000, 4300, 4300, 4300])


def batch(
    limits: KeyLimits = PAID,
    bounds: Bounds = ROOMY,
    slots: int = 50,
    line: tuple[float, float] = NO_LINE,
    input_tokens: float = 400,
) -> Batch:
    return next_batch(limits, bounds, 1.0, limits.tokens_per_minute, slots, line, input_tokens)


def test_inputs_are_as_many_as_are_cheap_unless_the_quota_needs_more() -> None:
    assert batch(PREMIUM).inputs == CHEAP_INPUTS
    assert batch(PAID).inputs == CHEAP_INPUTS
    assert batch(PAID, input_tokens=20).inputs == 201
    assert batch(PAID, input_tokens=2).inputs == 512
    assert batch(PAID, input_tokens=0).inputs == CHEAP_INPUTS


def test_few_slots_and_slow_answers_make_larger_batches() -> None:
    assert batch(slots=50, line=(0.2, 2e-5)).tokens == pytest.approx(5000)
    assert batch(slots=7, line=(4.0, 2e-5)).tokens == LARGEST_SHARE * 2_000_000


def test_a_batch_never_takes_longer_than_it_may() -> None:
    short = Bounds(512, math.inf, 5.0)
    assert batch(bounds=short, slots=8, line=(1.0, 1e-3)).tokens == pytest.approx(4000)
    assert batch(bounds=short, slots=8, line=(9.0, 1e-3)).tokens == 0  # then one text alone


def test_where_tokens_take_the_time_larger_batches_gain_nothing() -> None:
    assert batch(slots=8, line=(0.2, 1e-3)).tokens == pytest.approx(5000)


# --- when a request goes


def used_for_a_minute(requests: int, tokens_each: int) -> Pacer:
    pacer = Pacer(PAID, ROOMY)
    for number in range(requests):
        pacer.charge(tokens_each, 1, number * 60 / requests)
    return pacer


def test_at_little_load_no_request_waits_for_more_texts() -> None:
    pacer = used_for_a_minute(200, 400)
    assert pacer.gather_until(400, 60.0) <= 60.0


def test_where_requests_are_scarce_one_waits_for_what_comes_in_an_interval() -> None:
    pacer = used_for_a_minute(400, 1000)  # 800 tokens and a bit for each request that may go
    sent_at_s = 60 * 399 / 400
    assert sent_at_s < pacer.gather_until(400, sent_at_s + 0.13) <= sent_at_s + 0.25
    assert pacer.gather_until(900, sent_at_s + 0.13) == sent_at_s + 0.13


def test_no_request_waits_forever_for_texts_that_do_not_come() -> None:
    pacer = used_for_a_minute(400, 1000)
    assert pacer.gather_until(1, 61.0) <= 61.0
