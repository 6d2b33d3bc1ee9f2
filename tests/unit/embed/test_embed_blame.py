"""Whose fault? The rules of blame, one by one."""

import pytest

from streamdex.embed.jobs import EmbedJob, Parcel
from streamdex.embed.suspects import ENOUGH, WITNESSES, InputSuspects, Step, proven_fault
from streamdex.errors import Reason, Service, ServiceFault, SuspectFault

REFUSED = SuspectFault(Service.JINA, Reason.REFUSED_BY_EMBEDDER, "Jina answered 400")
WRONG = SuspectFault(Service.JINA, Reason.WRONG_ANSWER, "the answer is wrong")
BROKEN = ServiceFault(Service.JINA, "Jina answered 500")
BUG = KeyError("private")
EVERY = pytest.mark.parametrize("fault", [REFUSED, WRONG, BROKEN, BUG], ids=["refused", "wrong", "broken", "bug"])


def parcel(texts: int = 1) -> Parcel:
    return Parcel(EmbedJob(("t",) * texts, (1,) * texts).pieces())


def pass_canary(blame: InputSuspects, times: int = 1) -> None:
    for _ in range(times):
        blame.canary_passed(blame.sent())


def on_trial(blame: InputSuspects, fault: Exception) -> Parcel:
    """A piece that failed alone, others passing in between: only the witnesses and its last failure are missing."""
    suspect = parcel()
    for _ in range(ENOUGH):
        blame.sent()
        assert blame.failed(suspect, fault) is Step.WAIT
        pass_canary(blame)
    return suspect


@EVERY
def test_a_piece_is_condemned_only_by_all_of_it_together(fault: Exception) -> None:
    blame = InputSuspects()
    suspect = on_trial(blame, fault)
    assert blame.step(suspect) is Step.WAIT  # for witnesses
    pass_canary(blame, WITNESSES - ENOUGH)
    assert blame.step(suspect) is Step.RETRY
    blame.sent()
    assert blame.failed(suspect, fault) is Step.WAIT  # for a pass after its last failure
    pass_canary(blame)
    assert blame.step(suspect) is Step.DEAD_LETTER
    assert proven_fault(suspect).attempts == ENOUGH + 1


@EVERY
def test_traffic_that_passes_is_a_witness_like_canaries(fault: Exception) -> None:
    blame = InputSuspects()
    suspect = on_trial(blame, fault)
    for _ in range(WITNESSES):
        blame.passed(parcel(8), blame.sent())
    assert blame.step(suspect) is Step.RETRY
    blame.failed(suspect, fault)
    blame.passed(parcel(), blame.sent())
    assert blame.step(suspect) is Step.DEAD_LETTER


@EVERY
def test_nothing_is_tried_again_before_something_passed_that_was_sent_after(fault: Exception) -> None:
    blame = InputSuspects()
    suspect, straggler = parcel(), parcel()
    sent_before = blame.sent()
    blame.sent()
    blame.failed(suspect, fault)
    blame.passed(straggler, sent_before)  # answered after the failure, but sent before it
    assert blame.step(suspect) is Step.WAIT
    blame.passed(parcel(), blame.sent())
    assert blame.step(suspect) is Step.RETRY


@EVERY
def test_without_a_pass_no_number_of_failures_condemns(fault: Exception) -> None:
    blame = InputSuspects()
    suspect = parcel()
    for _ in range(100):
        blame.sent()
        blame.failed(suspect, fault)
        blame.canary_failed()
        assert blame.step(suspect) is Step.WAIT


@EVERY
def test_witnesses_that_fail_ask_for_more_failures(fault: Exception) -> None:
    """Where half of everything fails, a piece must fail about thirty times in a row."""
    blame = InputSuspects()
    suspect = on_trial(blame, fault)
    for _ in range(WITNESSES):
        blame.canary_failed()
        pass_canary(blame)
    failures = ENOUGH
    while blame.step(suspect) is Step.RETRY:
        blame.failed(suspect, fault)
        pass_canary(blame)
        failures += 1
    assert blame.step(suspect) is Step.DEAD_LETTER
    assert 25 <= failures <= 40


def test_what_was_refused_and_then_passed_is_a_witness_that_failed() -> None:
    def taken_back(blame: InputSuspects) -> None:
        alone, whole = parcel(), parcel(2)
        for refused in (alone, whole):
            blame.failed(refused, REFUSED)
        for passed in (alone, *whole.halves()):
            blame.passed(passed, blame.sent())

    blame = InputSuspects()
    suspect = parcel()
    blame.failed(suspect, REFUSED)
    for _ in range(5):
        taken_back(blame)
    for _ in range(ENOUGH):
        blame.failed(suspect, REFUSED)
        pass_canary(blame, WITNESSES // ENOUGH)
    assert blame.step(suspect) is Step.RETRY


def test_the_refusals_of_a_bisect_count_where_all_others_passed() -> None:
    blame = InputSuspects()
    suspect = parcel(512)
    while not suspect.alone:
        blame.failed(suspect, REFUSED)
        suspect, other = suspect.halves()
        blame.passed(other, blame.sent())
    blame.failed(suspect, REFUSED)
    pass_canary(blame, WITNESSES)
    assert blame.step(suspect) is Step.RETRY
    blame.failed(suspect, REFUSED)
    pass_canary(blame)
    assert blame.step(suspect) is Step.DEAD_LETTER
    assert proven_fault(suspect).attempts == 2


def test_the_refusals_of_a_bisect_do_not_count_where_the_other_half_may_be_to_blame() -> None:
    blame = InputSuspects()
    whole = parcel(512)
    blame.failed(whole, REFUSED)
    while len(whole.pieces) > 2:
        whole, other = whole.halves()
        blame.failed(whole, REFUSED)
        blame.passed(other, blame.sent())
    suspect, neighbour = whole.halves()
    for _ in range(2):
        blame.failed(suspect, REFUSED)
        blame.failed(neighbour, REFUSED)
        pass_canary(blame, WITNESSES)
    assert blame.step(suspect) is Step.RETRY


def test_poison_in_the_traffic_does_not_acquit_poison() -> None:
    """Every fresh parcel fails, as when poison is common; the canaries decide."""
    blame = InputSuspects()
    suspect = on_trial(blame, BROKEN)
    for _ in range(WITNESSES):
        blame.failed(parcel(8), BROKEN)
    pass_canary(blame, WITNESSES - ENOUGH)
    assert blame.step(suspect) is Step.RETRY
    blame.failed(suspect, BROKEN)
    pass_canary(blame)
    assert blame.step(suspect) is Step.DEAD_LETTER


@pytest.mark.parametrize("fault", [REFUSED, WRONG], ids=["refused", "wrong"])
def test_a_refused_parcel_is_halved_at_once(fault: Exception) -> None:
    assert InputSuspects().failed(parcel(3), fault) is Step.BISECT


@pytest.mark.parametrize("fault", [BROKEN, BUG], ids=["broken", "bug"])
def test_a_parcel_on_which_the_service_stumbles_is_halved_the_second_time_if_others_pass(fault: Exception) -> None:
    blame = InputSuspects()
    whole = parcel(4)
    blame.sent()
    assert blame.failed(whole, fault) is Step.WAIT
    assert blame.failed(whole, fault) is Step.WAIT  # nothing passed in between: no news
    pass_canary(blame)
    assert blame.step(whole) is Step.RETRY
    assert blame.failed(whole, fault) is Step.BISECT
    halves = whole.halves()
    assert [len(half.pieces) for half in halves] == [2, 2]
    assert all(half.charge is None and not half.fresh for half in halves)


def test_canaries_are_wanted_where_traffic_does_not_do() -> None:
    blame = InputSuspects()
    suspect = parcel()
    blame.failed(suspect, REFUSED)
    assert blame.wants_canary([suspect], traffic=False)
    assert not blame.wants_canary([suspect], traffic=True)
    for _ in range(5):
        blame.failed(parcel(8), REFUSED)
    assert blame.wants_canary([suspect], traffic=True)
    assert not blame.wants_canary([], traffic=False)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (REFUSED, Reason.REFUSED_BY_EMBEDDER),
        (WRONG, Reason.WRONG_ANSWER),
        (BROKEN, Reason.REFUSED_BY_EMBEDDER),
        (BUG, Reason.INTERNAL),
    ],
)
def test_the_verdict_names_its_reason_and_quotes_nothing(fault: Exception, reason: Reason) -> None:
    suspect = parcel()
    InputSuspects().failed(suspect, fault)
    found = proven_fault(suspect)
    assert found.reason is reason
    assert "private" not in str(found)
