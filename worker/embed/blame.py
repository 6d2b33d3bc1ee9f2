"""Whose fault is a failed request: an input's, or everybody's? Synchronous; what passes afterwards decides.

Nothing that failed is tried again before something else has *passed* that was sent after the failure: traffic, or a
one-word canary. So an outage, a withdrawn model or a refused setting, under which nothing passes, never comes to a
verdict. Then:

- a parcel of several pieces is halved: at once when it was refused or answered wrongly, since that names the input in
  at most 2·log₂ n requests; for other faults when it has failed twice with a pass between.
- a piece alone is condemned when it has failed twice by refusal or five times otherwise, with a pass after each
  failure, and fewer than 10 % of at least 20 other attempts failed between its first failure and its last. That keeps
  a brown-out, in which half of everything fails, from being taken for poison: there the witnesses fail too, and its
  count begins anew. A service that took a refusal back is believed no sooner than a broken one.

Witnesses are canaries, or requests that carry inputs for the first time; one clean panel is enough. Canaries alone
would cost requests where traffic gives the same answer free; traffic alone would acquit nobody while poison is common.
"""

from collections.abc import Iterable
from enum import Enum, auto

from worker.embed.jobs import Charge, Parcel
from worker.errors import Reason, RecordFault, ServiceFault, Stage, SuspectFault

MAX_ATTEMPTS = 5
REFUSALS = 2  # a refusal is the service's considered answer: once more is enough to see that it stands by it …
FICKLE_ATTEMPTS = 10_000  # … unless it took one back within so many attempts
WITNESSES = 20
FAILING_BOUND = 0.1
FAILURES_TO_HALVE = 2


class Step(Enum):
    """What to do with a parcel that failed."""

    WAIT = auto()
    RETRY = auto()
    HALVE = auto()
    CONDEMN = auto()


class _Panel:
    """Witnesses of one sort: how many passed and failed since the beginning."""

    def __init__(self) -> None:
        self.count = (0, 0)

    def passed(self) -> None:
        self.count = (self.count[0] + 1, self.count[1])

    def failed(self) -> None:
        self.count = (self.count[0], self.count[1] + 1)

    def since(self, then: tuple[int, int]) -> tuple[int, bool]:
        """(how many since then, whether few enough of them failed)."""
        failed = self.count[1] - then[1]
        heard = self.count[0] - then[0] + failed
        return heard, failed < FAILING_BOUND * max(heard, WITNESSES)


class Blame:
    """Judges parcels. Every attempt is announced by `sent` and ends in one of the other calls, or in none."""

    def __init__(self) -> None:
        self._tick = 0
        self._passed_sent_at = 0
        self._taken_back_at = -FICKLE_ATTEMPTS
        self._canaries = _Panel()
        self._others = _Panel()

    def sent(self) -> int:
        """An attempt goes out: its place in the order of things."""
        self._tick += 1
        return self._tick

    def passed(self, parcel: Parcel, sent_at: int) -> None:
        """The attempt was answered well."""
        self._witness(sent_at)
        if parcel.fresh:
            self._others.passed()
        if parcel.alone and parcel.charge and _is_refusal(parcel.charge):
            self._taken_back_at = self._tick

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
            parcel.charge = charge = Charge(fault, self._tick, canaries=self._canaries.count, others=self._others.count)
        else:
            charge.failures += self._contrasted(charge)
            charge.attempts += 1
            charge.fault = fault
            charge.failed_at = self._tick
        return self.step(parcel)

    def step(self, parcel: Parcel) -> Step:
        """What to do now with a parcel that has failed; the answer changes as others pass and fail.

        Witnesses that fail themselves make its count begin anew.
        """
        charge = _charge(parcel)
        if not parcel.alone and (_halves_at_once(charge) or charge.failures >= FAILURES_TO_HALVE):
            return Step.HALVE
        if not self._contrasted(charge):
            return Step.WAIT
        if not parcel.alone or charge.failures < self._needed(charge) - 1:
            return Step.RETRY
        heard_out, clean = self._heard(charge)
        if not heard_out:
            return Step.WAIT
        if not clean:
            charge.failures, charge.canaries, charge.others = 0, self._canaries.count, self._others.count
            return Step.RETRY
        return Step.CONDEMN if charge.failures >= self._needed(charge) else Step.RETRY

    def wants_canary(self, waiting: Iterable[Parcel], *, traffic: bool) -> bool:
        """Whether a verdict on one of these, whose step is WAIT, needs a canary.

        `traffic`: other inputs are on their way. They do as well, unless they fail too.
        """
        return any(not traffic or not self._others.since(_charge(parcel).others)[1] for parcel in waiting)

    def _witness(self, sent_at: int) -> None:
        self._passed_sent_at = max(self._passed_sent_at, sent_at)

    def _contrasted(self, charge: Charge) -> bool:
        """Whether anything passed that was sent after the failure."""
        return self._passed_sent_at > charge.failed_at

    def _needed(self, charge: Charge) -> int:
        """How often it must fail alone. A wrong answer may be a proxy's mishap, and is no refusal."""
        fickle = self._tick - self._taken_back_at < FICKLE_ATTEMPTS
        return REFUSALS if _is_refusal(charge) and not fickle else MAX_ATTEMPTS

    def _heard(self, charge: Charge) -> tuple[bool, bool]:
        """(whether the witnesses suffice for a decision, whether they speak for the service)."""
        canaries, canaries_clean = self._canaries.since(charge.canaries)
        others, others_clean = self._others.since(charge.others)
        clean = (others >= WITNESSES and others_clean) or (canaries >= WITNESSES and canaries_clean)
        return clean or canaries >= WITNESSES, clean


def verdict(parcel: Parcel) -> RecordFault:
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


def _is_refusal(charge: Charge) -> bool:
    return isinstance(charge.fault, SuspectFault) and charge.fault.reason is Reason.REFUSED_BY_EMBEDDER


def _halves_at_once(charge: Charge) -> bool:
    return isinstance(charge.fault, SuspectFault)
