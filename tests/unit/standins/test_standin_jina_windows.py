"""What each kind of window means, at its edges."""

import math

import pytest

from streamdex.standins.jina.windows import WindowKind, make_window


def test_fixed_window_starts_anew_at_each_minute_of_its_phase() -> None:
    window = make_window(WindowKind.FIXED, 10, phase_s=7.0)
    window.charge(66.9, 10)
    assert not window.fits(66.95, 1)
    assert window.wait_s(66.95, 1) == pytest.approx(0.05)
    assert window.fits(67.0, 10)


def test_fixed_window_lets_two_minutes_worth_through_around_a_boundary() -> None:
    """The known weakness of fixed windows: a client that is only safe here is not safe elsewhere."""
    window = make_window(WindowKind.FIXED, 10)
    window.charge(59.0, 10)
    assert window.fits(60.0, 10)


def test_sliding_log_frees_each_charge_after_a_minute_of_its_own() -> None:
    window = make_window(WindowKind.SLIDING_LOG, 10)
    window.charge(5.0, 4)
    window.charge(20.0, 6)
    assert not window.fits(64.9, 1)
    assert window.wait_s(64.9, 4) == pytest.approx(0.1)
    assert window.wait_s(64.9, 5) == pytest.approx(15.1)
    assert window.fits(65.0, 4)
    assert not window.fits(65.0, 5)


def test_sliding_counter_fades_the_minute_before() -> None:
    window = make_window(WindowKind.SLIDING_COUNTER, 10)
    window.charge(59.0, 10)
    assert window.used(60.0) == pytest.approx(10.0)
    assert window.used(90.0) == pytest.approx(5.0)
    assert window.wait_s(60.0, 5) == pytest.approx(30.0)
    assert window.used(120.0) == 0.0


def test_sliding_counter_waits_into_the_next_minute_when_this_one_is_full() -> None:
    window = make_window(WindowKind.SLIDING_COUNTER, 10)
    window.charge(30.0, 10)
    # In the next minute the ten fade evenly: one is free when a tenth of that minute has passed.
    assert window.wait_s(30.0, 1) == pytest.approx(36.0)


@pytest.mark.parametrize(("kind", "burst"), [(WindowKind.BUCKET_60S, 600), (WindowKind.BUCKET_2S, 20)])
def test_bucket_starts_full_and_refills_evenly(kind: WindowKind, burst: int) -> None:
    window = make_window(kind, 600)
    assert window.fits(1000.0, burst)
    assert not window.fits(1000.0, burst + 1)
    window.charge(1000.0, burst)
    assert not window.fits(1000.05, 1)
    assert window.wait_s(1000.0, 7) == pytest.approx(0.7)
    assert window.fits(1000.1, 1)


@pytest.mark.parametrize("kind", list(WindowKind))
def test_an_amount_above_the_limit_never_fits(kind: WindowKind) -> None:
    window = make_window(kind, 30)
    assert window.wait_s(0.0, 31) == math.inf


def test_a_small_bucket_holds_at_least_one_request() -> None:
    window = make_window(WindowKind.BUCKET_2S, 10)
    assert window.fits(0.0, 1)


@pytest.mark.parametrize("kind", list(WindowKind))
def test_charging_what_does_not_fit_keeps_the_window_shut(kind: WindowKind) -> None:
    """A server that counts what it rejects."""
    window = make_window(kind, 60)
    while window.fits(100.0, 1):
        window.charge(100.0, 1)
    window.charge(100.0, 1)
    assert not window.fits(100.0, 1)
    assert 0 < window.wait_s(100.0, 1) < math.inf
