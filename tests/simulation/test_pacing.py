"""All of the key's quota and none of its 429s: the shipped embedder in virtual time, held to bands.

The figures are those that `make simulate` prints; another seed stays within the bands, another algorithm does not.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation import adversity, scenarios
from simulation.rejected_clients import REJECTED
from simulation.scenarios import FREE, PAID
from simulation.simulated_load import heavy_tailed, uniform
from simulation.simulated_service import affine
from streamdex.standins.jina.windows import WindowKind

SIZES = {"uniform": uniform, "heavy-tailed": heavy_tailed}
EVERY_WINDOW = pytest.mark.parametrize("window", WindowKind)


PHASES_S = (0.0, 13.0, 31.0, 47.0)


def never_refused(result: scenarios.Result, key: scenarios.Key) -> bool:
    """Whether none of the five windows, wherever its minutes begin, refuses any of it."""
    assert result.refused == 0
    return not any(
        scenarios.refused_by(result.sent, key, window, phase_s) for window in WindowKind for phase_s in PHASES_S
    )


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("count", "least"), [(1, 0.98), (4, 0.975), (32, 0.96)])
@pytest.mark.parametrize("seed", [1, 2])
def test_saturated(sizes: str, count: int, least: float, seed: int) -> None:
    result = scenarios.saturated(WindowKind.SLIDING_LOG, sizes=SIZES[sizes], count=count, minutes=3, seed=seed)
    assert least <= result.used <= 1
    assert never_refused(result, PAID)


def test_requests_bind() -> None:
    """Late chunking: a document a request."""
    result = scenarios.saturated(WindowKind.SLIDING_LOG, together=True)
    assert result.requests_used == result.used >= 0.98
    assert never_refused(result, PAID)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_free_limits(seed: int) -> None:
    """Two at once, and a request is a hundredth of a minute."""
    result = scenarios.saturated(WindowKind.SLIDING_LOG, key=FREE, minutes=8, seed=seed)
    assert result.used >= 0.98
    assert never_refused(result, FREE)


def test_concurrency_binds() -> None:
    key, latency = (PAID[0], PAID[1], 4), (1.0, 0.1)
    result = scenarios.saturated(WindowKind.SLIDING_LOG, key=key, latency=affine(*latency))
    assert result.in_flight >= 0.98 * key[2]
    assert result.tokens_used >= 0.95 * scenarios.attainable(key, *latency)
    assert result.refused == 0


@EVERY_WINDOW
def test_limits_set_a_quarter_too_high(window: WindowKind) -> None:
    result = adversity.configured_too_high(window, minutes=8)
    assert result.used >= 0.95
    assert result.refused_share < 0.01


def test_limits_set_too_high_where_429s_have_no_code() -> None:
    result = adversity.configured_too_high(WindowKind.SLIDING_LOG, minutes=8, codes=False)
    assert result.used >= 0.95
    assert result.refused_share < 0.01


@pytest.mark.parametrize(("slots", "codes"), [(20, True), (43, False)], ids=["with codes", "without"])
def test_fewer_slots_than_set(slots: int, codes: bool) -> None:
    """The cap finds them, and the rate is left alone. Without codes, that they are far fewer could not be known."""
    result = adversity.fewer_slots(slots, codes=codes)
    assert result.in_flight >= 0.85 * slots
    assert result.refused_share < 0.02


@EVERY_WINDOW
def test_another_client_takes_half(window: WindowKind) -> None:
    result = adversity.another_takes_half(window)
    assert result.used >= 0.9
    assert result.refused_share < 0.03


@pytest.mark.parametrize("line", [(0.2, 0.02), (1.0, 0.02), (0.2, 0.2)])
def test_answers_five_times_slower_and_back(line: tuple[float, float]) -> None:
    step = adversity.latency_step(5, *line)
    assert min(step.before, step.slow, step.again) >= 0.9
    assert step.refused == 0


def test_at_little_load_nothing_waits() -> None:
    waits = scenarios.at_load(0.05)
    assert waits.until_sent_s <= 0.01
    assert waits.refused == 0


@pytest.mark.parametrize(("load", "fixed"), [(0.2, (3, 4)), (0.5, (6, 7)), (0.8, (9, 10))])
def test_no_slower_than_the_best_fixed_batch(load: float, fixed: tuple[int, ...]) -> None:
    """On average, at the median, and for nine in ten, although the best size is known beforehand."""
    waits = scenarios.at_load(load, minutes=3)
    others = [scenarios.fixed_batches(load, size, minutes=3) for size in fixed]
    assert waits.done.mean_s <= min(other.mean_s for other in others)
    assert waits.done.p50_s <= min(other.p50_s for other in others)
    assert waits.done.p90_s <= min(other.p90_s for other in others)
    assert waits.refused == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(10, 1500), st.integers(1, 1000))
def test_a_large_document_is_sent_in_its_turn(ahead: int, seed: int) -> None:
    """8,000 tokens among thousands of small ones: sent when what was before it has gone, and soon after it at most."""
    turn = scenarios.turn_of_a_large_document(ahead, seed)
    assert turn.waited_s <= turn.fair_s + 1.5


@pytest.mark.parametrize(("status", "most_probes"), [(503, 70), (400, 70), (403, 70)])
def test_an_outage_of_ten_minutes(status: int, most_probes: int) -> None:
    """Nothing is dead-lettered (the load asserts that), little is sent, and 30 s after it all is as before."""
    drill = adversity.outage(status)
    assert 1 <= drill.probes <= most_probes
    assert drill.again >= 0.98


def test_half_of_all_requests_fail() -> None:
    drill = adversity.outage(503, failing=0.5)
    assert drill.probes > 10
    assert drill.again >= 0.98


@pytest.mark.parametrize("client", REJECTED)
def test_the_rejected_are_refused(client: str) -> None:
    """Why none of them is used: under some window, and nobody knows which, many requests are refused."""
    worst = max(scenarios.rejected(client, window, minutes=2).refused_share for window in WindowKind)
    assert worst > 0.1


def test_a_storm_of_rebalances() -> None:
    """Every 20 s for ten minutes: nothing is refused, and nobody starves although increases wait."""
    result = adversity.rebalances(WindowKind.SLIDING_LOG)
    assert result.used >= 0.82
    assert never_refused(result, PAID)
