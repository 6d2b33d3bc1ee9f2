"""Everything that waits to be sent: inputs not sent yet, and requests that failed. Synchronous."""

import math
from collections import deque
from collections.abc import Callable, Iterable

from streamdex.embed.jobs import EmbedJob, EmbedRequest, Inputs
from streamdex.embed.suspects import InputSuspects, Step, proven_fault
from streamdex.errors import RecordFault, SuspectFault
from streamdex.retry import backoff_s

FULL = 0.95  # of the tokens: beyond, it is not worth looking for something smaller
PASSED_OVER = 8  # inputs, by one request: each of them goes at most so many requests later


class Queue:
    """Inputs that were not sent yet, first in, first out but for gaps; cut into requests at the moment one goes."""

    def __init__(self) -> None:
        self._waiting: deque[Inputs] = deque()
        self.inputs = 0
        self.tokens = 0
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, job: EmbedJob) -> None:
        """Append all inputs of a job."""
        for each in job.inputs():
            self._waiting.append(each)
            self.inputs += each.count
            self.tokens += each.tokens
            self.size_bytes += each.size_bytes

    def prefix(self, max_inputs: int, max_tokens: float) -> EmbedRequest | None:
        """Take what fits, at least the first; None when there is nothing. A `together` job goes by itself.

        What does not fit any more is passed over for smaller inputs behind it, and is the first of the next request or
        soon after. Without that, half-empty requests would waste the limit on requests.
        """
        taken: list[Inputs] = []
        dropped: list[Inputs] = []
        passed_over: list[Inputs] = []
        waiting = self._waiting
        count = tokens = 0
        while waiting and count < max_inputs:
            first = waiting[0]
            if first.job.closed:  # another input of it was dead-lettered
                dropped.append(waiting.popleft())
                continue
            if taken and first.job.together:
                break
            if taken and (tokens + first.tokens > max_tokens or count + first.count > max_inputs):
                if len(passed_over) == PASSED_OVER or tokens >= FULL * max_tokens:
                    break
                passed_over.append(waiting.popleft())
                continue
            taken.append(waiting.popleft())
            count += first.count
            tokens += first.tokens
            if first.job.together:
                break
        waiting.extendleft(reversed(passed_over))
        self._subtract(taken)
        self._subtract(dropped)
        return EmbedRequest(taken) if taken else None

    def drop_closed(self) -> None:
        """Drop the inputs of closed jobs."""
        self._subtract(each for each in self._waiting if each.job.closed)
        self._waiting = deque(each for each in self._waiting if not each.job.closed)

    def _subtract(self, gone: Iterable[Inputs]) -> None:
        for each in gone:
            self.inputs -= each.count
            self.tokens -= each.tokens
            self.size_bytes -= each.size_bytes


class Backlog:
    """The queue, and the requests that failed. Times are seconds of the caller's clock, `rng` gives numbers in [0, 1).

    Failed requests go before new ones: nobody waits behind the stream for a neighbour's fault.
    """

    def __init__(self, suspects: InputSuspects, rng: Callable[[], float]) -> None:
        self._suspects = suspects
        self._rng = rng
        self._ready: deque[EmbedRequest] = deque()  # go before the queue
        self._failed: list[EmbedRequest] = []  # wait for a backoff or for something else to pass
        self._undecided: list[EmbedRequest] = []  # those of them that wait for something else to pass
        self._withdrawn = False  # any job, since the last review
        self.queue = Queue()

    @property
    def waiting_requests(self) -> int:
        """Requests that were sent before and will be again, whole or in halves."""
        return len(self._ready) + len(self._failed)

    def withdraw(self, job: EmbedJob) -> None:
        """Nobody waits for the job any more. The next review drops all such jobs from the queue at once."""
        job.closed = True
        self._withdrawn = True

    @property
    def retries_ready(self) -> bool:
        """Whether a request that was sent before could go again now."""
        return bool(self._ready)

    def take(self, max_inputs: int, max_tokens: float) -> EmbedRequest | None:
        """What goes next; None when nothing may. A request that was sent before goes as it is, whatever the bounds."""
        while self._ready:
            request = self._ready.popleft()
            if request.drop_closed():
                return request
        return self.queue.prefix(max_inputs, max_tokens)

    def put_back(self, request: EmbedRequest) -> None:
        """It failed through no fault of its own, and goes first when anything may go."""
        self._ready.appendleft(request)

    def failed(self, request: EmbedRequest, fault: Exception, now_s: float) -> None:
        """One of its inputs may be at fault: bisect it now, or keep it for the next review."""
        if self._suspects.failed(request, fault) is Step.BISECT:
            self._ready.extend(request.halves())
            return
        failures = request.history.failures if request.history else 1
        # A refusal is an answer, so there is nothing to wait out. A service that failed is given time.
        request.not_before_s = now_s + (0.0 if isinstance(fault, SuspectFault) else backoff_s(failures - 1, self._rng))
        self._failed.append(request)

    def review(self, now_s: float) -> tuple[float, list[tuple[EmbedJob, RecordFault]]]:
        """Decide again on all that failed: returns when the next backoff ends, and the jobs to dead-letter, closed."""
        if self._withdrawn:
            self._withdrawn = False
            self.queue.drop_closed()
        failed, self._failed, self._undecided = self._failed, [], []
        dead_letters: list[tuple[EmbedJob, RecordFault]] = []
        next_s = math.inf
        for request in failed:
            if all(each.job.closed for each in request.inputs):
                continue
            if now_s < request.not_before_s:
                self._failed.append(request)
                next_s = min(next_s, request.not_before_s)
                continue
            step = self._suspects.step(request)
            if step is Step.WAIT:
                self._failed.append(request)
                self._undecided.append(request)
            elif step is Step.RETRY:
                self._ready.append(request)
            elif step is Step.BISECT:
                self._ready.extend(request.halves())
            else:
                job = request.inputs[0].job
                job.closed = True  # at once: another input of the same job may be next in this review
                dead_letters.append((job, proven_fault(request)))
        return next_s, dead_letters

    def needs_canary(self, *, fresh_under_way: bool) -> bool:
        """Whether a request waits for a pass that no traffic will give. As of the last review."""
        traffic = fresh_under_way or bool(self.queue)
        return bool(self._undecided) and self._suspects.needs_canary(self._undecided, traffic=traffic)
