"""Jobs (one document's texts), their inputs, and the requests that carry inputs of many jobs.

A job ends when all its texts have a vector, however many requests that took, or with a fault of one of its inputs.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from streamdex.embed.http.answers import Vector
from streamdex.embed.models import Profile
from streamdex.embed.pacing.pacer import Charge
from streamdex.errors import Reason, RecordFault, Stage

CANARY = ("word", 3)  # text and tokens


@dataclass(slots=True, eq=False, init=False)
class EmbedJob:
    """One document's texts with their estimated tokens.

    `together` (late chunking) sends all texts in one request of their own.
    """

    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    together: bool
    vectors: list[Vector]
    missing: int  # texts without a vector
    ended: asyncio.Future[list[Vector]] | None  # from when the job is queued
    closed: bool  # ended or withdrawn: its inputs are dropped wherever they are

    def __init__(self, texts: tuple[str, ...], tokens: tuple[int, ...], *, together: bool = False) -> None:
        if len(texts) != len(tokens):
            raise ValueError("a job has one token estimate for each text")
        self.texts = texts
        self.tokens = tokens
        self.together = together
        self.missing = len(texts)
        self.vectors = [b""] * self.missing
        self.ended = None
        self.closed = False

    def __repr__(self) -> str:
        """Counts alone: texts belong to the user."""
        return f"EmbedJob({len(self.texts)} texts, {self.missing} missing)"

    def inputs(self) -> "list[Inputs]":
        """What travels whole: each text by itself, or all of them together."""
        count = len(self.texts)
        if count == 1 or (self.together and count):
            return [Inputs(self, 0, count)]
        return [Inputs(self, place, place + 1) for place in range(count)]

    def end(self, fault: RecordFault | None = None) -> None:
        """Wake the task that waits for the job. A task that is being cancelled has its end already."""
        if self.ended is None or self.ended.done():
            return
        if fault is None:
            self.ended.set_result(self.vectors)
        else:
            self.ended.set_exception(fault)


class Inputs:
    """The texts of a job from `start` to `stop`, which always travel in one request."""

    __slots__ = ("count", "job", "size_bytes", "start", "stop", "tokens")

    def __init__(self, job: EmbedJob, start: int, stop: int) -> None:
        self.job = job
        self.start = start
        self.stop = stop
        self.count = stop - start
        # The size is that in memory: nothing is encoded for it. Mostly there is one text, and sums over slices of one
        # would take three times as long.
        if self.count == 1:
            self.tokens = job.tokens[start]
            self.size_bytes = sys.getsizeof(job.texts[start])
        else:
            self.tokens = sum(job.tokens[start:stop])
            self.size_bytes = sum(map(sys.getsizeof, job.texts[start:stop]))


@dataclass(slots=True, eq=False)
class FailureHistory:
    """What `suspects` knows of a request that has failed, in its own ticks.

    `attempts` counts every failure, `failures` only those with something else passing in between. `canaries` and
    `fresh` are (passed, failed) counts of the control requests: those when the request failed for the first time, or
    the larger one failed that it was bisected from.
    """

    fault: Exception
    failed_at: int
    failures: int = 1
    attempts: int = 1
    canaries: tuple[int, int] = (0, 0)
    fresh: tuple[int, int] = (0, 0)


@dataclass(slots=True, eq=False)
class Bisection:
    """The history of a request that was bisected, and by `before` of those that it came from.

    Once one half has passed, the whole history counts against the other half.
    """

    history: FailureHistory
    before: "Bisection | None"
    passed: int = 0  # of its two halves


class EmbedRequest:
    """The inputs that one request carries. `fresh`: no input of it has failed yet. `sent`: it was, at least once.

    A canary is a request of one word that no service has reason to refuse.
    """

    __slots__ = ("fresh", "history", "inputs", "is_canary", "not_before_s", "part_of", "sent", "tokens")

    def __init__(self, inputs: Sequence[Inputs], *, fresh: bool = True, part_of: Bisection | None = None) -> None:
        self.inputs = inputs
        self.part_of = part_of
        self.fresh = fresh
        self.sent = not fresh
        self.is_canary = False
        self.history: FailureHistory | None = None
        self.not_before_s = 0.0
        self.tokens = sum([each.tokens for each in inputs])

    @property
    def alone(self) -> bool:
        """Whether it cannot be bisected: if an input is at fault, it is this one."""
        return len(self.inputs) == 1

    def drop_closed(self) -> bool:
        """Leave out the inputs of closed jobs, and with them its history; False when nothing is left."""
        left = [each for each in self.inputs if not each.job.closed]
        if len(left) < len(self.inputs):
            self.inputs = left
            self.tokens = sum([each.tokens for each in left])
            self.history = self.part_of = None
        return bool(left)

    def texts(self) -> list[str]:
        """The inputs as they are sent."""
        return [text for each in self.inputs for text in each.job.texts[each.start : each.stop]]

    def halves(self) -> "tuple[EmbedRequest, EmbedRequest]":
        """Two requests with half of the inputs each."""
        middle = len(self.inputs) // 2
        whole = Bisection(self.history, self.part_of) if self.history else None
        first, second = self.inputs[:middle], self.inputs[middle:]
        return EmbedRequest(first, fresh=False, part_of=whole), EmbedRequest(second, fresh=False, part_of=whole)

    def deliver(self, vectors: Sequence[Vector]) -> list[EmbedJob]:
        """Hand the vectors, in the order of `texts()`, to the jobs. Returns the jobs that have all of theirs now."""
        complete: list[EmbedJob] = []
        place = 0
        for each in self.inputs:
            job, count = each.job, each.count
            if not job.closed:
                job.vectors[each.start : each.stop] = vectors[place : place + count]
                job.missing -= count
                if not job.missing:
                    job.closed = True
                    complete.append(job)
            place += count
        return complete


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A request under way. `number` orders attempts, `charge` is what the pacing counted for it.

    `probe`: the circuit breaker waits for its answer.
    """

    request: EmbedRequest
    number: int
    charge: Charge
    probe: bool


def canary() -> EmbedRequest:
    """A request of the one word."""
    text, tokens = CANARY
    request = EmbedRequest(EmbedJob((text,), (tokens,)).inputs(), fresh=False)
    request.is_canary = True
    return request


def impossible(job: EmbedJob, profile: Profile) -> RecordFault | None:
    """The fault of a job that must go in one request and that no request can hold (late chunking)."""
    if not job.together:
        return None
    chunks, tokens, context = len(job.texts), sum(job.tokens), profile.max_input_tokens
    if chunks > profile.max_inputs:
        message = f"late chunking takes {profile.max_inputs} chunks at most, this document has {chunks}"
        return RecordFault(Stage.EMBED, Reason.TOO_MANY_CHUNKS, message)
    truncated = profile.passage_fields.get("truncate", False)
    if context is not None and tokens > context and not truncated:
        message = f"late chunking takes {context} tokens at most, this document has about {tokens}"
        return RecordFault(Stage.EMBED, Reason.TOO_MANY_TOKENS, message)
    return None
