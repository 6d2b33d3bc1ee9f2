"""Whose fault is a failed request: one input's, or everybody's? What passes afterwards decides. Synchronous.

Nothing that failed is tried again before something else has *passed* that was sent after the failure: other traffic, or
a canary, which is one word. So no input is dead-lettered in an outage, after a model was withdrawn or with a setting
that the service refuses, since then nothing passes. Otherwise:

- A request of several inputs is bisected. After a refusal or a wrong answer that happens at once, since it finds the
  input in at most 2·log₂ n requests. After other faults it waits for a second failure with a pass between.
- An input alone is dead-lettered when chance is ruled out. Suppose that the service failed at random, at whatever rate:
  the input's failures and the results of the control requests would then occur together in one of 10¹² cases (one of
  10⁹ requests of 512 inputs, because a bisect picks the unluckiest of them). A failure counts when something passed
  after it; the failures of larger requests count too when the other half passed, so a bisect has given most of them
  already. With 45 control requests that all passed, eleven failures are needed. In a brown-out controls fail as well,
  and more failures are needed. Two of the failures must be refusals of the input alone, or five be other faults.

Control requests are canaries, and requests whose inputs were never sent before. A request that was refused and later
passed, whole or in two halves, counts as a control that failed. Rejected: canaries as the only controls (they cost
requests where traffic gives the same answer free), and traffic as the only control (where bad inputs are common, most
of the traffic fails, and nothing could be decided). Rejected as well: a fixed number of refusals while most controls
pass, since a service that refuses one request of ten at random reaches it.
"""

import math
from collections.abc import Iterable
from enum import Enum, auto

from streamdex.embed.http.errors import is_refusal
from streamdex.embed.jobs import EmbedRequest, FailureHistory
from streamdex.errors import Reason, RecordFault, ServiceFault, Stage, SuspectFault

CHANCE = 1e-12
ENOUGH_FAILURES = 10  # with one more, and CONTROLS that all pass, chance is ruled out
CONTROLS = 45
REFUSED_ALONE, FAILED_ALONE = 2, 5  # a refusal is the service's considered answer
FAILING_BOUND = 0.1  # where more of the fresh requests fail, canaries are the controls
FAILURES_TO_BISECT = 2
BOTH = 2  # halves


class Step(Enum):
    """What to do with a request that failed."""

    WAIT = auto()
    RETRY = auto()
    BISECT = auto()
    DEAD_LETTER = auto()


class _Controls:
    """Control requests of one sort: how many passed and failed since the beginning."""

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
    """Decides on requests that failed. `sent` announces each attempt; one of the other calls ends it, or none does.

    An input is dead-lettered only when its results would come by chance in less than `chance` of all cases, which takes
    more than `enough_failures`, and `controls`. Only tests pass others.
    """

    def __init__(
        self, chance: float = CHANCE, enough_failures: int = ENOUGH_FAILURES, controls: int = CONTROLS
    ) -> None:
        self._log_chance = math.log(chance)
        self._enough_failures = enough_failures
        self._enough_controls = controls
        self._tick = 0
        self._passed_sent_at = 0
        self._canaries = _Controls()
        self._fresh = _Controls()

    def sent(self) -> int:
        """An attempt goes out; returns its number, by which attempts are ordered."""
        self._tick += 1
        return self._tick

    def passed(self, request: EmbedRequest, sent_at: int) -> None:
        """The attempt was answered well. If the request had failed before, the service failed at random."""
        self._something_passed(sent_at)
        if request.fresh:
            self._fresh.passed()
        if request.part_of:
            request.part_of.passed += 1
        if (request.alone and request.history) or (request.part_of and request.part_of.passed == BOTH):
            self._canaries.failed()
            self._fresh.failed()

    def canary_passed(self, sent_at: int) -> None:
        """The one word was answered well."""
        self._something_passed(sent_at)
        self._canaries.passed()

    def canary_failed(self) -> None:
        """The one word was refused, or the service failed on it."""
        self._canaries.failed()

    def failed(self, request: EmbedRequest, fault: Exception) -> Step:
        """An attempt failed in a way that an input may be the cause of."""
        self._tick += 1
        if request.fresh:
            self._fresh.failed()
            request.fresh = False
        history = request.history
        if history is None:
            request.history = self._new_history(request, fault)
        else:
            history.failures += self._contrasted(history)
            history.attempts += 1
            history.fault = fault
            history.failed_at = self._tick
        return self.step(request)

    def step(self, request: EmbedRequest) -> Step:
        """What to do now with a request that has failed; the answer changes as others pass and fail."""
        history = _history(request)
        at_once = isinstance(history.fault, SuspectFault)
        if not request.alone and (at_once or history.failures >= FAILURES_TO_BISECT):
            return Step.BISECT
        if not self._contrasted(history):
            return Step.WAIT
        if not request.alone:
            return Step.RETRY
        failures = _failures(request)
        needed = REFUSED_ALONE if is_refusal(history.fault) else FAILED_ALONE
        if history.failures >= needed and self._is_no_chance(history, failures):
            return Step.DEAD_LETTER
        tried_enough = history.failures >= needed - 1 and failures >= self._enough_failures
        return Step.WAIT if tried_enough and not self._has_enough_controls(history) else Step.RETRY

    def needs_canary(self, waiting: Iterable[EmbedRequest], *, traffic: bool) -> bool:
        """Whether the decision on one of these, whose step is WAIT, needs a canary.

        `traffic`: other inputs are on their way. They do as controls, unless they fail too.
        """
        return any(not traffic or not self._traffic_passes(_history(request)) for request in waiting)

    def _something_passed(self, sent_at: int) -> None:
        self._passed_sent_at = max(self._passed_sent_at, sent_at)

    def _contrasted(self, history: FailureHistory) -> bool:
        """Whether anything passed that was sent after the failure."""
        return self._passed_sent_at > history.failed_at

    def _new_history(self, request: EmbedRequest, fault: Exception) -> FailureHistory:
        """Controls count from the first failure of the request, or of the first one that it was bisected from."""
        before = request.part_of.history if request.part_of else None
        canaries, fresh = (before.canaries, before.fresh) if before else (self._canaries.count, self._fresh.count)
        return FailureHistory(fault, self._tick, canaries=canaries, fresh=fresh)

    def _has_enough_controls(self, history: FailureHistory) -> bool:
        """Whether the controls would be enough to decide on, if they all passed."""
        canaries, fresh = self._canaries.since(history.canaries), self._fresh.since(history.fresh)
        enough = self._enough_controls
        return sum(canaries) >= enough or (sum(fresh) >= enough and self._traffic_passes(history))

    def _traffic_passes(self, history: FailureHistory) -> bool:
        passed, failed = self._fresh.since(history.fresh)
        return failed < FAILING_BOUND * max(passed + failed, self._enough_controls)

    def _is_no_chance(self, history: FailureHistory, failures: int) -> bool:
        controls = self._canaries.since(history.canaries), self._fresh.since(history.fresh)
        return any(_log_chance(failures, *of_a_sort) < self._log_chance for of_a_sort in controls)


def _failures(request: EmbedRequest) -> int:
    """Failures of an input alone, and of the larger requests in which only it can be at fault."""
    failures, whole = _history(request).failures, request.part_of
    while whole is not None and whole.passed:
        failures += whole.history.failures
        whole = whole.before
    return failures


def _log_chance(failures: int, passed: int, failed: int) -> float:
    """Logarithm of the chance that a service that fails at random gives these results, at the rate that fits best.

    The results: the input failed `failures` times in a row, and of the controls so many `passed` and `failed`, in any
    order.
    """
    all_failed, total = failures + failed, failures + failed + passed
    orders = math.lgamma(passed + failed + 1) - math.lgamma(passed + 1) - math.lgamma(failed + 1)
    passing = passed * math.log(passed / total) if passed else 0.0
    return orders + all_failed * math.log(all_failed / total) + passing


def proven_fault(request: EmbedRequest) -> RecordFault:
    """The fault to dead-letter an input with."""
    history = _history(request)
    fault = history.fault
    if isinstance(fault, SuspectFault):
        return RecordFault(Stage.EMBED, fault.reason, fault.message, history.attempts)
    if isinstance(fault, ServiceFault):
        message = f"{fault.message}, whenever this text was sent alone and others passed"
        return RecordFault(Stage.EMBED, Reason.REFUSED_BY_EMBEDDER, message, history.attempts)
    message = f"{type(fault).__name__} of ours, whenever this text was handled alone and others passed"
    return RecordFault(Stage.EMBED, Reason.INTERNAL, message, history.attempts)


def _history(request: EmbedRequest) -> FailureHistory:
    if request.history is None:
        raise AssertionError("only a request that failed is decided on")
    return request.history
