"""Whose fault? The rules for suspects, one by one."""

import pytest

from streamdex.embed.jobs import EmbedJob, EmbedRequest
from streamdex.embed.suspects import CONTROLS, ENOUGH_FAILURES, InputSuspects, Step, proven_fault
from streamdex.errors import Reason, Service, ServiceFault, SuspectFault

REFUSED = SuspectFault(Service.JINA, Reason.REFUSED_BY_EMBEDDER, "Jina answered 400")
WRONG = SuspectFault(Service.JINA, Reason.WRONG_ANSWER, "the answer is wrong")
BROKEN = ServiceFault(Service.JINA, "Jina answered 500")
BUG = KeyError("private")
EVERY = pytest.mark.parametrize("fault", [REFUSED, WRONG, BROKEN, BUG], ids=["refused", "wrong", "broken", "bug"])


def request(texts: int = 1) -> EmbedRequest:
    return EmbedRequest(EmbedJob(("t",) * texts, (1,) * texts).inputs())


def pass_canary(suspects: InputSuspects, times: int = 1) -> None:
    for _ in range(times):
        suspects.canary_passed(suspects.sent())


def nearly_proven(suspects: InputSuspects, fault: Exception) -> EmbedRequest:
    """An input that failed alone, others passing in between: only controls and its last failure are missing."""
    suspect = request()
    for _ in range(ENOUGH_FAILURES):
        suspects.sent()
        assert suspects.failed(suspect, fault) is Step.WAIT
        pass_canary(suspects)
    return suspect


@EVERY
def test_an_input_is_dead_lettered_only_by_all_of_it_together(fault: Exception) -> None:
    suspects = InputSuspects()
    suspect = nearly_proven(suspects, fault)
    assert suspects.step(suspect) is Step.WAIT  # for controls
    pass_canary(suspects, CONTROLS - ENOUGH_FAILURES)
    assert suspects.step(suspect) is Step.RETRY
    suspects.sent()
    assert suspects.failed(suspect, fault) is Step.WAIT  # for a pass after its last failure
    pass_canary(suspects)
    assert suspects.step(suspect) is Step.DEAD_LETTER
    assert proven_fault(suspect).attempts == ENOUGH_FAILURES + 1


@EVERY
def test_traffic_that_passes_is_a_control_like_canaries(fault: Exception) -> None:
    suspects = InputSuspects()
    suspect = nearly_proven(suspects, fault)
    for _ in range(CONTROLS):
        suspects.passed(request(8), suspects.sent())
    assert suspects.step(suspect) is Step.RETRY
    suspects.failed(suspect, fault)
    suspects.passed(request(), suspects.sent())
    assert suspects.step(suspect) is Step.DEAD_LETTER


@EVERY
def test_nothing_is_tried_again_before_something_passed_that_was_sent_after(fault: Exception) -> None:
    suspects = InputSuspects()
    suspect, straggler = request(), request()
    sent_before = suspects.sent()
    suspects.sent()
    suspects.failed(suspect, fault)
    suspects.passed(straggler, sent_before)  # answered after the failure, but sent before it
    assert suspects.step(suspect) is Step.WAIT
    suspects.passed(request(), suspects.sent())
    assert suspects.step(suspect) is Step.RETRY


@EVERY
def test_without_a_pass_no_number_of_failures_dead_letters(fault: Exception) -> None:
    suspects = InputSuspects()
    suspect = request()
    for _ in range(100):
        suspects.sent()
        suspects.failed(suspect, fault)
        suspects.canary_failed()
        assert suspects.step(suspect) is Step.WAIT


@EVERY
def test_controls_that_fail_require_more_failures(fault: Exception) -> None:
    """Where half of everything fails, an input must fail about thirty times in a row."""
    suspects = InputSuspects()
    suspect = nearly_proven(suspects, fault)
    for _ in range(CONTROLS):
        suspects.canary_failed()
        pass_canary(suspects)
    failures = ENOUGH_FAILURES
    while suspects.step(suspect) is Step.RETRY:
        suspects.failed(suspect, fault)
        pass_canary(suspects)
        failures += 1
    assert suspects.step(suspect) is Step.DEAD_LETTER
    assert 25 <= failures <= 40


def test_what_was_refused_and_then_passed_is_a_control_that_failed() -> None:
    def refused_then_passed(suspects: InputSuspects) -> None:
        alone, whole = request(), request(2)
        for refused in (alone, whole):
            suspects.failed(refused, REFUSED)
        for passed in (alone, *whole.halves()):
            suspects.passed(passed, suspects.sent())

    suspects = InputSuspects()
    suspect = request()
    suspects.failed(suspect, REFUSED)
    for _ in range(5):
        refused_then_passed(suspects)
    for _ in range(ENOUGH_FAILURES):
        suspects.failed(suspect, REFUSED)
        pass_canary(suspects, CONTROLS // ENOUGH_FAILURES)
    assert suspects.step(suspect) is Step.RETRY


def test_the_refusals_of_a_bisect_count_where_all_others_passed() -> None:
    suspects = InputSuspects()
    suspect = request(512)
    while not suspect.alone:
        suspects.failed(suspect, REFUSED)
        suspect, other = suspect.halves()
        suspects.passed(other, suspects.sent())
    suspects.failed(suspect, REFUSED)
    pass_canary(suspects, CONTROLS)
    assert suspects.step(suspect) is Step.RETRY
    suspects.failed(suspect, REFUSED)
    pass_canary(suspects)
    assert suspects.step(suspect) is Step.DEAD_LETTER
    assert proven_fault(suspect).attempts == 2


def test_the_refusals_of_a_bisect_do_not_count_where_the_other_half_may_be_at_fault() -> None:
    suspects = InputSuspects()
    whole = request(512)
    suspects.failed(whole, REFUSED)
    while len(whole.inputs) > 2:
        whole, other = whole.halves()
        suspects.failed(whole, REFUSED)
        suspects.passed(other, suspects.sent())
    suspect, neighbour = whole.halves()
    for _ in range(2):
        suspects.failed(suspect, REFUSED)
        suspects.failed(neighbour, REFUSED)
        pass_canary(suspects, CONTROLS)
    assert suspects.step(suspect) is Step.RETRY


def test_bad_inputs_in_the_traffic_do_not_clear_a_bad_input() -> None:
    """Every fresh request fails, as when bad inputs are common; the canaries decide."""
    suspects = InputSuspects()
    suspect = nearly_proven(suspects, BROKEN)
    for _ in range(CONTROLS):
        suspects.failed(request(8), BROKEN)
    pass_canary(suspects, CONTROLS - ENOUGH_FAILURES)
    assert suspects.step(suspect) is Step.RETRY
    suspects.failed(suspect, BROKEN)
    pass_canary(suspects)
    assert suspects.step(suspect) is Step.DEAD_LETTER


@pytest.mark.parametrize("fault", [REFUSED, WRONG], ids=["refused", "wrong"])
def test_a_refused_request_is_bisected_at_once(fault: Exception) -> None:
    assert InputSuspects().failed(request(3), fault) is Step.BISECT


@pytest.mark.parametrize("fault", [BROKEN, BUG], ids=["broken", "bug"])
def test_a_request_on_which_the_service_fails_is_bisected_the_second_time_if_others_pass(fault: Exception) -> None:
    suspects = InputSuspects()
    whole = request(4)
    suspects.sent()
    assert suspects.failed(whole, fault) is Step.WAIT
    assert suspects.failed(whole, fault) is Step.WAIT  # nothing passed in between: no news
    pass_canary(suspects)
    assert suspects.step(whole) is Step.RETRY
    assert suspects.failed(whole, fault) is Step.BISECT
    halves = whole.halves()
    assert [len(half.inputs) for half in halves] == [2, 2]
    assert all(half.history is None and not half.fresh for half in halves)


def test_canaries_are_needed_where_traffic_does_not_do() -> None:
    suspects = InputSuspects()
    suspect = request()
    suspects.failed(suspect, REFUSED)
    assert suspects.needs_canary([suspect], traffic=False)
    assert not suspects.needs_canary([suspect], traffic=True)
    for _ in range(5):
        suspects.failed(request(8), REFUSED)
    assert suspects.needs_canary([suspect], traffic=True)
    assert not suspects.needs_canary([], traffic=False)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (REFUSED, Reason.REFUSED_BY_EMBEDDER),
        (WRONG, Reason.WRONG_ANSWER),
        (BROKEN, Reason.REFUSED_BY_EMBEDDER),
        (BUG, Reason.INTERNAL),
    ],
)
def test_the_fault_names_its_reason_and_quotes_nothing(fault: Exception, reason: Reason) -> None:
    suspect = request()
    InputSuspects().failed(suspect, fault)
    found = proven_fault(suspect)
    assert found.reason is reason
    assert "private" not in str(found)
