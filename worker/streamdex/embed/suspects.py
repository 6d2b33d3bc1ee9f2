"""Whose fault is a failed request: an input's, or everybody's? Synchronous; what passes afterwards decides.

Nothing that failed is tried again before something else has *passed* that was sent after the failure: traffic, or a
one-word canary. So an outage, a withdrawn model or a refused setting, under which nothing passes, never comes to a
verdict. Then:

- a parcel of several pieces is halved: at once when it was refused or answered wrongly, since that names the input in
  at most 2·log₂ n requests; for other faults when it has failed twice with a pass between.
- a piece alone is condemned when chance is out of the question: were the service failing at random, at whatever rate,
  its failures and what others met meanwhile would come together once in 10¹² cases (once in 10⁹ parcels of 512, whose
  halving picks the unluckiest). Failures count with a pass after each, and so do those of parcels it was in whose other
  half passed: a bisect has most of them already. Eleven in all are needed where 45 witnesses passed, and more in a
  brown-out, where witnesses fail too; twice alone by refusal, five times otherwise.

Witnesses are canaries, or requests that carry inputs for the first time; whatever was refused and then passed, whole or
in two halves, is a witness that failed. Canaries alone would cost requests where
traffic gives the same answer free; traffic alone would acquit nobody while poison is common.
Rejected: a fixed number of refusals with most witnesses passing, which random refusals of one request in ten reach.
"""

import math
from collections.abc import Iterable
from enum import Enum, auto

from streamdex.embed.http.errors import is_refusal
from streamdex.embed.jobs import Charge, Parcel
from streamdex.errors import Reason, RecordFault, ServiceFault, Stage, SuspectFault

LOG_CHANCE = math.log(1e-12)
ENOUGH = 10  # failures: with one more, and WITNESSES that all pass, it is not chance
WITNESSES = 45
REFUSED_ALONE, FAILED_ALONE = 2, 5  # a refusal is the service's considered answer
FAILING_BOUND = 0.1  # of witnesses from the traffic: then canaries are asked
FAILURES_TO_BISECT = 2
BOTH = 2  # halves


class Step(Enum):
    """What to do with a parcel that failed."""

    WAIT = auto()
    RETRY = auto()
    BISECT = auto()
    DEAD_LETTER = auto()


class _Panel:
    """Witnesses of one sort: how many passed and failed since the beginning."""

    def __init__(self) -> None:
        self.count = (0, 0)

    def passed(self) -> None:
        self.count = (self.count[0] + 1, self.count[1])

    def failed(self) -> None:
        self.count = (self.count[0], self.count[1] + 1)

    def since(self, then: tuple[int, int]) -> tuple[int, int]:
        """(passed, failed) since then."""
        return self.count[0] - then[0], self.count[1] - then[1]


class InputSuspects:
    """Judges parcels. Every attempt is announced by `sent` and ends in one of the other calls, or in none."""

    def __init__(self) -> None:
        self._tick = 0
        self._passed_sent_at = 0
        self._canaries = _Panel()
        self._others = _Panel()

    def sent(self) -> int:
        """An attempt goes out: its place in the order of things."""
        self._tick += 1
        return self._tick

    def passed(self, parcel: Parcel, sent_at: int) -> None:
        """The attempt was answered well. If it had failed, the service failed at random."""
        self._witness(sent_at)
        if parcel.fresh:
            self._others.passed()
        if parcel.part_of:
            parcel.part_of.passed += 1
        if (parcel.alone and parcel.charge) or (parcel.part_of and parcel.part_of.passed == BOTH):
            self._canaries.failed()
            self._others.failed()

    def canary_passed(self, sent_at: int) -> None:
        """The one word was answered well."""
        self._witness(sent_at)
        self._canaries.passed()

    def canary_failed(self) -> None:
        """The one word was refused, or the service failed on it."""
        self._canaries.failed()

    def failed(self, parcel: Parcel, fault: Exception) -> Step:
        """An attempt failed in a way that an input may be to blame for."""
        self._tick += 1
        if parcel.fresh:
            self._others.failed()
            parcel.fresh = False
        charge = parcel.charge
        if charge is None:
            parcel.charge = charge = self._first_charge(parcel, fault)
        else:
            charge.failures += self._contrasted(charge)
            charge.attempts += 1
            charge.fault = fault
            charge.failed_at = self._tick
        return self.step(parcel)

    def step(self, parcel: Parcel) -> Step:
        """What to do now with a parcel that has failed; the answer changes as others pass and fail."""
        charge = _charge(parcel)
        if not parcel.alone and (_bisects_at_once(charge) or charge.failures >= FAILURES_TO_BISECT):
            return Step.BISECT
        if not self._contrasted(charge):
            return Step.WAIT
        if not parcel.alone:
            return Step.RETRY
        failures = _failures(parcel)
        needed = REFUSED_ALONE if is_refusal(charge.fault) else FAILED_ALONE
        if charge.failures >= needed and self._is_no_chance(charge, failures):
            return Step.DEAD_LETTER
        tried_enough = charge.failures >= needed - 1 and failures >= ENOUGH
        return Step.WAIT if tried_enough and not self._heard_out(charge) else Step.RETRY

    def wants_canary(self, waiting: Iterable[Parcel], *, traffic: bool) -> bool:
        """Whether a verdict on one of these, whose step is WAIT, needs a canary.

        `traffic`: other inputs are on their way. They do as well, unless they fail too.
        """
        return any(not traffic or not self._traffic_is_fine(_charge(parcel)) for parcel in waiting)

    def _witness(self, sent_at: int) -> None:
        self._passed_sent_at = max(self._passed_sent_at, sent_at)

    def _contrasted(self, charge: Charge) -> bool:
        """Whether anything passed that was sent after the failure."""
        return self._passed_sent_at > charge.failed_at

    def _first_charge(self, parcel: Parcel, fault: Exception) -> Charge:
        """Witnesses are heard from when it, or the parcel that it is a part of, failed for the first time."""
        before = parcel.part_of.charge if parcel.part_of else None
        canaries, others = (before.canaries, before.others) if before else (self._canaries.count, self._others.count)
        return Charge(fault, self._tick, canaries=canaries, others=others)

    def _heard_out(self, charge: Charge) -> bool:
        """Whether there are witnesses enough to decide on, if they all passed."""
        canaries, others = self._canaries.since(charge.canaries), self._others.since(charge.others)
        return sum(canaries) >= WITNESSES or (sum(others) >= WITNESSES and self._traffic_is_fine(charge))

    def _traffic_is_fine(self, charge: Charge) -> bool:
        passed, failed = self._others.since(charge.others)
        return failed < FAILING_BOUND * max(passed + failed, WITNESSES)

    def _is_no_chance(self, charge: Charge, failures: int) -> bool:
        panels = self._canaries.since(charge.canaries), self._others.since(charge.others)
        return any(_log_chance(failures, *panel) < LOG_CHANCE for panel in panels)


def _failures(parcel: Parcel) -> int:
    """Of the piece, and of those parcels with it in which only it can be at fault."""
    failures, whole = _charge(parcel).failures, parcel.part_of
    while whole is not None and whole.passed:
        failures += whole.charge.failures
        whole = whole.before
    return failures


def _log_chance(failures: int, passed: int, failed: int) -> float:
    """Logarithm of how likely a service that fails at random does this, at the rate that makes it likeliest.

    `failures` in a row of the one, and of the others so many `passed` and `failed`, in any order.
    """
    all_failed, total = failures + failed, failures + failed + passed
    orders = math.lgamma(passed + failed + 1) - math.lgamma(passed + 1) - math.lgamma(failed + 1)
    passing = passed * math.log(passed / total) if passed else 0.0
    return orders + all_failed * math.log(all_failed / total) + passing


def proven_fault(parcel: Parcel) -> RecordFault:
    """The dead letter of a condemned piece."""
    charge = _charge(parcel)
    fault = charge.fault
    if isinstance(fault, SuspectFault):
        return RecordFault(Stage.EMBED, fault.reason, fault.message, charge.attempts)
    if isinstance(fault, ServiceFault):
        message = f"{fault.message}, whenever this text was sent alone and others passed"
        return RecordFault(Stage.EMBED, Reason.REFUSED_BY_EMBEDDER, message, charge.attempts)
    message = f"{type(fault).__name__} of ours, whenever this text was handled alone and others passed"
    return RecordFault(Stage.EMBED, Reason.INTERNAL, message, charge.attempts)


def _charge(parcel: Parcel) -> Charge:
    if parcel.charge is None:
        raise AssertionError("only a parcel that failed is judged")
    return parcel.charge


def _bisects_at_once(charge: Charge) -> bool:
    return isinstance(charge.fault, SuspectFault)
