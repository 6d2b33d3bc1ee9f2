"""The room's shell: sends what is queued as soon as a slot is free, and does what valve, pacer and blame decide.

There is no linger: a parcel is cut from the queue at the moment it goes, so under load parcels grow by themselves, and
when idle a text waits for nothing.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from worker.config import JinaSettings
from worker.embed.answers import Answer, Vector
from worker.embed.backlog import Backlog
from worker.embed.blame import Blame
from worker.embed.client import Client
from worker.embed.jobs import EmbedJob, Parcel
from worker.embed.models import Profile
from worker.embed.pacer import Pacer, SpacingPacer
from worker.embed.refusals import Busy
from worker.embed.valve import Opening, Valve
from worker.errors import AccountFault, Reason, RecordFault, Service, ServiceFault, Stage, SuspectFault
from worker.retry import LONGEST_RETRY_AFTER_S
from worker.telemetry import (
    ACCOUNT_REFUSED,
    INTERNAL,
    RETRY_AFTER_CAPPED,
    SERVICE_DOWN,
    Health,
    Metrics,
    emit,
    trace_hash,
)

PARCEL_INPUTS = 64  # 16 cost 50 µs a document more; 256 gain nothing and hold more memory
PARCEL_SHARE = 0.009  # of the tokens per minute, at most, in one request: the pacing is only as even as its parts
CANARY = ("word", 3)  # a text that no service has reason to refuse, with its tokens
JINA = Service.JINA.value


@dataclass(frozen=True, slots=True)
class Statistics:
    """How the room stands. `waiting` parcels have failed and wait for another try or a verdict."""

    queued_inputs: int
    queued_tokens: int
    queued_bytes: int
    in_flight_requests: int
    in_flight_inputs: int
    waiting_parcels: int
    shut: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    parcel: Parcel
    number: int
    probe: bool
    canary: bool


class Embedder:
    """Turns jobs into vectors within the key's limits. A job ends with all its vectors or with a proven fault.

    `on_done` is called for each job that ends, in the event loop, from `submit` too when a job ends at once.
    `sleep`, `clock` (seconds, never going back) and `dice` ([0, 1)) may be others in tests, as may the `transport`.
    """

    def __init__(  # noqa: PLR0913 - its neighbours, and time, chance and network as arguments
        self,
        settings: JinaSettings,
        profile: Profile,
        on_done: Callable[[EmbedJob], None],
        health: Health,
        metrics: Metrics,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises ConfigurationError when the key or the CA file cannot be used."""
        requests_per_minute, tokens_per_minute, self._slots = settings.effective_limits
        self._profile = profile
        self._on_done = on_done
        self._health = health
        self._metrics = metrics
        self._sleep = sleep
        self._clock = clock
        self._client = Client(settings, profile, transport=transport)
        self._pacer: Pacer = SpacingPacer(requests_per_minute, tokens_per_minute)
        self._valve = Valve(dice)
        self._blame = Blame()
        max_tokens = min(PARCEL_SHARE * tokens_per_minute, profile.max_request_tokens or math.inf)
        self._backlog = Backlog(self._blame, min(PARCEL_INPUTS, profile.max_inputs), max_tokens, dice)
        self._in_flight: set[_Attempt] = set()
        self._queued = metrics.queued.labels("embed")
        self._request_seconds = metrics.request_seconds.labels(JINA, "embed")
        self._wake = asyncio.Event()

    @property
    def statistics(self) -> Statistics:
        """How much waits and is under way."""
        return Statistics(
            queued_inputs=self._backlog.queue.inputs,
            queued_tokens=self._backlog.queue.tokens,
            queued_bytes=self._backlog.queue.size_bytes,
            in_flight_requests=len(self._in_flight),
            in_flight_inputs=sum(piece.inputs for attempt in self._in_flight for piece in attempt.parcel.pieces),
            waiting_parcels=self._backlog.waiting_parcels,
            shut=self._valve.shut,
        )

    @property
    def queued_inputs(self) -> int:
        """Texts that were not sent yet."""
        return self._backlog.queue.inputs

    @property
    def queued_tokens(self) -> int:
        """Their tokens, by estimate."""
        return self._backlog.queue.tokens

    def submit(self, job: EmbedJob) -> None:
        """Queue a job. One without texts, or one that can never go together in a request, ends at once."""
        job.fault = self._impossible(job)
        if job.fault is not None or not job.texts:
            self._end(job)
            return
        self._backlog.add(job)
        self._wake.set()

    def withdraw(self, wanted: Callable[[EmbedJob], bool]) -> list[EmbedJob]:
        """Take back those wanted jobs of which nothing is under way or paid for. `on_done` is not called for them."""
        under_way = {piece.job for attempt in self._in_flight for piece in attempt.parcel.pieces}
        return self._backlog.withdraw(wanted, under_way)

    async def embed_once(self, texts: Sequence[str], task: str | None = None) -> list[Vector]:
        """One request, one try, past the queue: for a check or a search. Raises the faults of `Client.embed`."""
        self._pacer.charge(sum(len(text) for text in texts) / 4, self._clock())
        answer = await self._client.embed(texts, self._profile.fields(task))
        return answer.vectors

    async def run(self) -> None:
        """Work until cancelled. What is under way then is given up."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                until_s = self._dispatch(tasks)
                await self._pause(tasks, until_s)

    async def close(self) -> None:
        """Close the connections. Safe twice, and without `run`."""
        await self._client.close()

    # --- sending

    def _dispatch(self, tasks: asyncio.TaskGroup) -> float:
        """Send all that may go. Returns when to look again, if nothing happens before."""
        while True:
            now_s = self._clock()
            review_at_s, condemned = self._backlog.review(now_s)
            for job in condemned:
                self._end(job)
            self._queued.set(self._backlog.queue.inputs)
            if len(self._in_flight) >= self._slots:
                return math.inf
            opening = self._valve.opening(now_s)
            if opening is Opening.NOTHING:
                return min(review_at_s, self._valve.probe_at_s)
            ready_at_s = self._pacer.ready_at(now_s)
            if ready_at_s > now_s:
                return ready_at_s
            parcel, canary = self._choose(opening)
            if parcel is None:
                return review_at_s
            self._send(parcel, now_s, tasks, canary=canary)

    def _choose(self, opening: Opening) -> tuple[Parcel | None, bool]:
        """What goes next, and whether it is a canary."""
        if opening is Opening.CANARY or (opening is Opening.ALL and self._wants_canary()):
            return _canary(), True
        parcel = self._backlog.take()
        if parcel is None and opening is Opening.PARCEL:
            return _canary(), True  # nothing waits, but readiness must come back
        return parcel, False

    def _wants_canary(self) -> bool:
        if any(attempt.canary for attempt in self._in_flight):
            return False
        return self._backlog.wants_canary(fresh_under_way=any(attempt.parcel.fresh for attempt in self._in_flight))

    def _send(self, parcel: Parcel, now_s: float, tasks: asyncio.TaskGroup, *, canary: bool) -> None:
        if self._valve.shut:
            self._client.reread_key()
        number = self._blame.sent()
        attempt = _Attempt(parcel, number, probe=self._valve.sent(number), canary=canary)
        self._pacer.charge(parcel.tokens, now_s)
        self._in_flight.add(attempt)
        tasks.create_task(self._request(attempt))

    async def _request(self, attempt: _Attempt) -> None:
        started_s = self._clock()
        try:
            answer = await self._client.embed(attempt.parcel.texts(), self._profile.passage_fields)
        except Exception as fault:  # noqa: BLE001 - ours and unforeseen ones alike end in a decision, never in a crash
            self._failed(attempt, fault)
        else:
            self._passed(attempt, answer)
        finally:
            self._request_seconds.observe(self._clock() - started_s)
            self._in_flight.discard(attempt)
            self._wake.set()

    async def _pause(self, tasks: asyncio.TaskGroup, until_s: float) -> None:
        """Wait for a submission, an answer, or the time."""
        timer = tasks.create_task(self._ring_at(until_s)) if until_s < math.inf else None
        try:
            await self._wake.wait()
        finally:
            self._wake.clear()
            if timer:
                timer.cancel()

    async def _ring_at(self, until_s: float) -> None:
        await self._sleep(max(0.0, until_s - self._clock()))
        self._wake.set()

    # --- answers

    def _passed(self, attempt: _Attempt, answer: Answer) -> None:
        parcel = attempt.parcel
        self._valve.passed(probe=attempt.probe, canary=attempt.canary)
        if not self._valve.shut:
            self._health.release(JINA)
        self._metrics.tokens_estimated.inc(parcel.tokens)
        if answer.total_tokens is not None:
            self._pacer.correct(parcel.tokens, answer.total_tokens)
            self._metrics.tokens_billed.inc(answer.total_tokens)
        if attempt.canary:
            self._blame.canary_passed(attempt.number)
            return
        self._blame.passed(parcel, attempt.number)
        self._metrics.inputs_embedded.inc(len(answer.vectors))
        for job in parcel.deliver(answer.vectors):
            self._end(job)

    def _failed(self, attempt: _Attempt, fault: Exception) -> None:
        parcel, now_s = attempt.parcel, self._clock()
        self._metrics.requests_failed.labels(JINA, _kind(fault)).inc()
        if self._valve.failed(fault, attempt.number, now_s, probe=attempt.probe):
            self._tell(attempt, fault)
        if isinstance(fault, AccountFault) and self._client.reread_key():
            self._valve.hurry(now_s)
        if isinstance(fault, Busy):
            self._pacer.correct(parcel.tokens, None)
        blameless = isinstance(fault, Busy | AccountFault)
        if attempt.canary:
            if not blameless:
                self._blame.canary_failed()
        elif blameless:
            self._backlog.put_back(parcel)
        else:
            self._backlog.failed(parcel, fault, now_s)

    def _tell(self, attempt: _Attempt, fault: Exception) -> None:
        """Say so when a failed probe proves that it is not one parcel's trouble, or when a person must act."""
        if isinstance(fault, ServiceFault) and (fault.retry_after_s or 0.0) > LONGEST_RETRY_AFTER_S:
            emit(RETRY_AFTER_CAPPED, asked_s=fault.retry_after_s, capped_s=LONGEST_RETRY_AFTER_S)
        if isinstance(fault, AccountFault):
            self._health.hold(JINA, str(fault), ACCOUNT_REFUSED)
        elif isinstance(fault, ServiceFault):
            if attempt.probe:
                self._health.hold(JINA, fault.message, SERVICE_DOWN)
        elif isinstance(fault, SuspectFault):
            if attempt.probe and attempt.canary:
                mend = "Check jina.model, task, dimensions and base_url"
                self._health.hold(JINA, f"not even one word passes: {fault.message}. {mend}", ACCOUNT_REFUSED)
        else:
            self._report(fault)

    def _report(self, bug: Exception) -> None:
        """Count a bug of ours; its text may quote the user's, so only its kind and place are told."""
        self._metrics.internal_faults.inc()
        emit(INTERNAL, stage=Stage.EMBED.value, kind=type(bug).__name__, trace=trace_hash(bug))

    # --- jobs

    def _impossible(self, job: EmbedJob) -> RecordFault | None:
        """Late chunking needs the whole document in one request; no splitting can mend one that does not fit."""
        if not job.together:
            return None
        chunks, tokens, context = len(job.texts), sum(job.tokens), self._profile.max_input_tokens
        if chunks > self._profile.max_inputs:
            told = f"late chunking takes {self._profile.max_inputs} chunks at most, this document has {chunks}"
            return RecordFault(Stage.EMBED, Reason.TOO_MANY_CHUNKS, told)
        truncated = self._profile.passage_fields.get("truncate", False)
        if context is not None and tokens > context and not truncated:
            told = f"late chunking takes {context} tokens at most, this document has about {tokens}"
            return RecordFault(Stage.EMBED, Reason.TOO_MANY_TOKENS, told)
        return None

    def _end(self, job: EmbedJob) -> None:
        self._backlog.close(job)
        try:
            self._on_done(job)
        except Exception as bug:  # noqa: BLE001 - the other jobs of the parcel must hear of their end all the same
            self._report(bug)


def _canary() -> Parcel:
    text, tokens = CANARY
    return Parcel(EmbedJob((text,), (tokens,)).pieces(), fresh=False)


def _kind(fault: Exception) -> str:
    """The label of the metric."""
    if isinstance(fault, SuspectFault):
        return fault.reason.value
    for known, label in ((AccountFault, "account"), (Busy, "busy"), (ServiceFault, "service")):
        if isinstance(fault, known):
            return label
    return "internal"
