"""Everything that waits: texts not sent yet, parcels that may go again, parcels that failed. Synchronous.

Failed parcels go before new ones, so that nobody waits long behind the stream for a neighbour's fault.
"""

import math
from collections import deque
from collections.abc import Callable

from streamdex.embed.jobs import EmbedJob, Parcel
from streamdex.embed.queue import Queue
from streamdex.embed.suspects import InputSuspects, Step, proven_fault
from streamdex.errors import RecordFault, SuspectFault
from streamdex.retry import backoff_s


class Backlog:
    """Jobs that are not finished. Times are seconds of the caller's clock, `rng` gives numbers in [0, 1)."""

    def __init__(self, blame: InputSuspects, rng: Callable[[], float]) -> None:
        self._suspects = blame
        self._rng = rng
        self._ready: deque[Parcel] = deque()  # go before the queue
        self._failed: list[Parcel] = []  # wait for a backoff or for something else to pass
        self._undecided: list[Parcel] = []  # those of them that wait for something else to pass
        self._withdrawn = False  # jobs, since the last review
        self.queue = Queue()

    @property
    def waiting_parcels(self) -> int:
        """Parcels that were sent at least once and will be again, or are on trial."""
        return len(self._ready) + len(self._failed)

    def add(self, job: EmbedJob) -> None:
        """Queue a job's texts."""
        self.queue.add(job)

    def withdraw(self, job: EmbedJob) -> None:
        """Nobody waits for the job any more. The next review drops its texts from the queue, with all that left."""
        job.closed = True
        self._withdrawn = True

    @property
    def sendable(self) -> bool:
        """Whether anything could go now."""
        return bool(self._ready) or bool(self.queue)

    @property
    def only_new(self) -> bool:
        """Whether something could go, and all of that was never sent before."""
        return bool(self.queue) and not self._ready

    def take(self, max_inputs: int, max_tokens: float) -> Parcel | None:
        """What goes next; None when nothing may. What was packed before goes as it is, whatever the bounds are now."""
        while self._ready:
            parcel = self._ready.popleft()
            if parcel.drop_closed():
                return parcel
        return self.queue.prefix(max_inputs, max_tokens)

    def put_back(self, parcel: Parcel) -> None:
        """It could not be handled through no fault of its own, and goes first when anything may go."""
        self._ready.appendleft(parcel)

    def failed(self, parcel: Parcel, fault: Exception, now_s: float) -> None:
        """An input of it may be to blame: halve it now, or keep it for the next review."""
        if self._suspects.failed(parcel, fault) is Step.BISECT:
            self._ready.extend(parcel.halves())
            return
        failures = parcel.charge.failures if parcel.charge else 1
        # A refusal is an answer, there is nothing to wait out; a service that stumbled is given time.
        parcel.not_before_s = now_s + (0.0 if isinstance(fault, SuspectFault) else backoff_s(failures - 1, self._rng))
        self._failed.append(parcel)

    def review(self, now_s: float) -> tuple[float, list[tuple[EmbedJob, RecordFault]]]:
        """Move on what failed, as far as it can: returns when the next backoff ends, and the jobs condemned."""
        if self._withdrawn:
            self._withdrawn = False
            self.queue.drop_closed()
        failed, self._failed, self._undecided = self._failed, [], []
        unindexable: list[tuple[EmbedJob, RecordFault]] = []
        next_s = math.inf
        for parcel in failed:
            if all(piece.job.closed for piece in parcel.pieces):
                continue
            if now_s < parcel.not_before_s:
                self._failed.append(parcel)
                next_s = min(next_s, parcel.not_before_s)
                continue
            step = self._suspects.step(parcel)
            if step is Step.WAIT:
                self._failed.append(parcel)
                self._undecided.append(parcel)
            elif step is Step.RETRY:
                self._ready.append(parcel)
            elif step is Step.BISECT:
                self._ready.extend(parcel.halves())
            else:
                job = parcel.pieces[0].job
                job.closed = True  # at once: another piece of the same job may be next in this review
                unindexable.append((job, proven_fault(parcel)))
        return next_s, unindexable

    def wants_canary(self, *, fresh_under_way: bool) -> bool:
        """Whether something waits for a witness that no traffic will give. As of the last review."""
        traffic = fresh_under_way or bool(self.queue)
        return bool(self._undecided) and self._suspects.wants_canary(self._undecided, traffic=traffic)
