"""The circuit breaker: when nothing but probes may go, and what closes it again."""

import math

import pytest

from streamdex.embed.circuit_breaker import ACCOUNT_RETRY_S, CALM, FAILURES_TO_OPEN, Allowed, CircuitBreaker
from streamdex.embed.http.errors import Busy
from streamdex.errors import AccountFault, Reason, Service, ServiceFault, SuspectFault

BROKEN = ServiceFault(Service.JINA, "Jina answered 503")
BUSY = Busy(Service.JINA, "Jina answered 429")
ACCOUNT = AccountFault(Service.JINA, "Jina answered 401", "Fix it.")
REFUSED = SuspectFault(Service.JINA, Reason.REFUSED_BY_EMBEDDER, "Jina answered 400")
MIDDLE = 0.5  # random numbers that add nothing


class Driven:
    """A circuit breaker and the numbers of what was sent through it."""

    def __init__(self) -> None:
        self.breaker = CircuitBreaker(lambda: MIDDLE)
        self.number = 0

    def send(self) -> tuple[int, bool]:
        self.number += 1
        return self.number, self.breaker.sent(self.number)

    def fail(self, fault: Exception, now_s: float = 0.0, *, canary: bool = False) -> None:
        number, probe = self.send()
        self.breaker.failed(fault, number, now_s, probe=probe, canary=canary)


def test_a_few_failures_leave_it_closed_and_a_pass_resets_the_count() -> None:
    driven = Driven()
    for _ in range(FAILURES_TO_OPEN - 1):
        driven.fail(BROKEN)
    driven.breaker.passed(probe=False, canary=False)
    driven.fail(BROKEN)
    assert driven.breaker.allowed(0.0) is Allowed.ALL


@pytest.mark.parametrize("fault", [BROKEN, REFUSED, KeyError()])
def test_failures_in_a_row_open_it_until_a_canary_passes(fault: Exception) -> None:
    driven = Driven()
    for _ in range(FAILURES_TO_OPEN):
        driven.fail(fault)
    assert driven.breaker.allowed(0.0) is Allowed.NOTHING
    assert driven.breaker.allowed(driven.breaker.probe_at_s) is Allowed.CANARY
    _, probe = driven.send()
    assert probe
    assert driven.breaker.allowed(1e9) is Allowed.NOTHING  # one probe at a time
    driven.breaker.passed(probe=True, canary=True)
    assert driven.breaker.allowed(0.0) is Allowed.ALL


def test_failed_probes_wait_longer_and_longer_until_a_request_passes() -> None:
    driven = Driven()
    now_s, waits = 0.0, []
    for _ in range(FAILURES_TO_OPEN):
        driven.fail(BROKEN)
    for _ in range(8):
        waits.append(driven.breaker.probe_at_s - now_s)
        now_s = driven.breaker.probe_at_s
        driven.fail(BROKEN, now_s)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0]
    driven.send()
    driven.breaker.passed(probe=True, canary=True)
    for _ in range(FAILURES_TO_OPEN):
        driven.fail(BROKEN, now_s)
    assert driven.breaker.probe_at_s == now_s + 16.0  # one word had passed, but no request with inputs
    driven.send()
    driven.breaker.passed(probe=True, canary=False)
    driven.fail(BUSY, now_s)
    assert driven.breaker.probe_at_s == now_s + 16.0  # one request had passed
    for _ in range(CALM):
        driven.send()
        driven.breaker.passed(probe=True, canary=False)
    driven.fail(BUSY, now_s)
    assert driven.breaker.probe_at_s == now_s + 0.5


def after_an_outage() -> tuple[Driven, float]:
    """A circuit breaker that has waited long, and was closed by a canary at that time."""
    driven, now_s = Driven(), 0.0
    for _ in range(FAILURES_TO_OPEN):
        driven.fail(BROKEN)
    for _ in range(8):
        now_s = driven.breaker.probe_at_s
        driven.fail(BROKEN, now_s, canary=True)
    now_s = driven.breaker.probe_at_s
    driven.send()
    driven.breaker.passed(probe=True, canary=True)
    return driven, now_s


def test_after_refusals_of_inputs_a_canary_goes_soon_however_long_the_waits_were() -> None:
    driven, now_s = after_an_outage()
    for _ in range(FAILURES_TO_OPEN):
        driven.fail(REFUSED, now_s)
    assert driven.breaker.probe_at_s == now_s + 0.5
    assert driven.breaker.allowed(now_s + 0.5) is Allowed.CANARY
    driven.fail(BUSY, now_s + 0.5)
    driven.fail(REFUSED, driven.breaker.probe_at_s)  # the request that probes after a 429
    assert driven.breaker.allowed(driven.breaker.probe_at_s) is Allowed.CANARY


def test_a_canary_refused_waits_longer_and_longer() -> None:
    driven = Driven()
    now_s, waits = 0.0, []
    for _ in range(FAILURES_TO_OPEN):
        driven.fail(REFUSED)
    for _ in range(7):
        waits.append(driven.breaker.probe_at_s - now_s)
        now_s = driven.breaker.probe_at_s
        driven.fail(REFUSED, now_s, canary=True)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0]


def test_refusals_among_requests_that_pass_do_not_keep_the_waits_long() -> None:
    driven, now_s = after_an_outage()
    for number in range(2 * CALM):
        if number % 2:
            driven.fail(REFUSED, now_s)
        else:
            driven.send()
            driven.breaker.passed(probe=False, canary=False)
    driven.fail(BUSY, now_s)
    assert driven.breaker.probe_at_s == now_s + 0.5


@pytest.mark.parametrize(("asked_s", "wait_s"), [(None, 0.5), (0.1, 0.5), (7.0, 7.0), (300.0, 300.0), (10_000.0, 16.0)])
def test_a_429_waits_as_asked_and_the_next_request_is_the_probe(asked_s: float | None, wait_s: float) -> None:
    driven = Driven()
    driven.fail(Busy(Service.JINA, "Jina answered 429", retry_after_s=asked_s))
    assert driven.breaker.probe_at_s == wait_s
    assert driven.breaker.allowed(wait_s) is Allowed.REQUEST


def test_retry_after_is_obeyed_with_any_status() -> None:
    driven = Driven()
    driven.fail(ServiceFault(Service.JINA, "Jina answered 503", retry_after_s=20.0))
    assert driven.breaker.probe_at_s == 20.0


def test_requests_sent_before_neither_close_it_nor_lengthen_the_wait() -> None:
    driven = Driven()
    numbers = [driven.send()[0] for _ in range(10)]
    assert driven.breaker.failed(BUSY, numbers[0], 0.0, probe=False, canary=False)
    probe_at_s = driven.breaker.probe_at_s
    for number in numbers[1:]:
        assert not driven.breaker.failed(BUSY, number, 0.3, probe=False, canary=False)
    driven.breaker.passed(probe=False, canary=False)
    assert not driven.breaker.closed
    assert driven.breaker.probe_at_s == probe_at_s


def test_a_request_sent_before_does_not_open_it_again_after_the_probe_passed() -> None:
    driven = Driven()
    first, late = driven.send()[0], driven.send()[0]
    driven.breaker.failed(ACCOUNT, first, 0.0, probe=False, canary=False)
    driven.send()
    driven.breaker.passed(probe=True, canary=False)
    assert not driven.breaker.failed(ACCOUNT, late, 20.0, probe=False, canary=False)
    assert driven.breaker.closed


def test_an_account_fault_waits_for_its_fix_with_a_probe_now_and_then() -> None:
    driven = Driven()
    driven.fail(ACCOUNT)
    assert driven.breaker.probe_at_s == ACCOUNT_RETRY_S
    driven.breaker.retry_now(3.0)
    assert driven.breaker.allowed(3.0) is Allowed.REQUEST


def test_closed_it_has_no_probe_to_wait_for() -> None:
    assert Driven().breaker.probe_at_s == math.inf
