"""The I/O side: sends what is queued as soon as it may go, and passes each answer to those who decide.

Nothing lingers. A request is cut from the queue at the moment it goes, so requests grow by themselves under load, and a
text waits for nothing when there is none. Only where texts come faster than requests may go does a text wait for more.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpx

from streamdex.config import JinaSettings
from streamdex.embed.budget import Budget
from streamdex.embed.circuit_breaker import Allowed, CircuitBreaker
from streamdex.embed.http.answers import Answer, Vector
from streamdex.embed.http.client import JinaClient
from streamdex.embed.http.errors import Busy, Throttled, kind_of
from streamdex.embed.jobs import Attempt, EmbedJob, EmbedRequest, canary, impossible
from streamdex.embed.models import Profile
from streamdex.embed.pacing.batch_size import bounds_of
from streamdex.embed.pacing.pacer import Pacer
from streamdex.embed.pacing.rate import KeyLimits
from streamdex.embed.pacing.recovery import Throttle
from streamdex.embed.queue import Backlog
from streamdex.embed.report import JINA, RequestReport, Statistics, export
from streamdex.embed.suspects import InputSuspects
from streamdex.errors import AccountFault
from streamdex.telemetry import BUDGET_SPENT, NO_SHARE, Health, Metrics

SHARE = "share"
BUDGET = "budget"
CHARACTERS_PER_TOKEN = 4  # a first guess for what passes the queue


class Embedder:
    """Turns jobs into vectors within the key's limits. A job ends with all its vectors or with a proven fault.

    Tests pass their own `sleep`, `clock` (seconds, never going back), `wall_clock` (seconds since 1970), `rng` ([0, 1))
    and `transport`.
    """

    def __init__(  # noqa: PLR0913 - its neighbours, and time, chance and network as arguments
        self,
        settings: JinaSettings,
        profile: Profile,
        health: Health,
        metrics: Metrics,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        rng: Callable[[], float] = random.random,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises ConfigurationError when the key or the CA file cannot be used."""
        self._profile = profile
        self._health = health
        self._metrics = metrics
        self._sleep = sleep
        self._clock = clock
        self._wall_clock = wall_clock
        self._rng = rng
        self._client = JinaClient(settings, profile, transport=transport)
        self._pacer = Pacer(KeyLimits(*settings.effective_limits), bounds_of(settings, profile))
        self._budget = Budget(settings.tokens_per_day, settings.tokens_per_run)
        self._breaker = CircuitBreaker(rng)
        self._suspects = InputSuspects()
        self._backlog = Backlog(self._suspects, rng)
        self._in_flight: set[Attempt] = set()
        self._request_seconds = metrics.request_seconds.labels(JINA, "embed")
        self._report = RequestReport(health, metrics)
        self._wake = asyncio.Event()
        export(metrics, lambda: self.statistics)

    @property
    def statistics(self) -> Statistics:
        """How much waits and is under way."""
        queue = self._backlog.queue
        return Statistics(
            queued_inputs=queue.inputs,
            queued_tokens=queue.tokens,
            queued_bytes=queue.size_bytes,
            in_flight_requests=len(self._in_flight),
            in_flight_inputs=sum(inputs.count for attempt in self._in_flight for inputs in attempt.request.inputs),
            waiting_requests=self._backlog.waiting_requests,
            circuit_breaker_open=not self._breaker.closed,
            pacing=self._pacer.statistics(self._clock()),
        )

    @property
    def queued_inputs(self) -> int:
        """Texts that were not sent yet."""
        return self._backlog.queue.inputs

    async def embed(self, job: EmbedJob) -> list[Vector]:
        """Queue a job and wait until each of its texts has a vector; returns the vectors in the order of the texts.

        Raises the RecordFault that is proven to be the job's own, or says that no request can hold it. Cancelling
        withdraws the job: nothing more of it is sent, and answers that come for it are dropped.
        """
        if not job.texts:
            return []
        fault = impossible(job, self._profile)
        if fault is not None:
            raise fault
        job.ended = asyncio.get_running_loop().create_future()
        self._backlog.queue.add(job)
        self._wake.set()
        try:
            return await job.ended
        finally:
            if not job.closed:
                self._backlog.withdraw(job)
                self._wake.set()

    def not_begun(self, jobs: Iterable[EmbedJob]) -> list[EmbedJob]:
        """Those of these jobs that wait for `embed` with nothing under way or paid for."""
        under_way = {inputs.job for attempt in self._in_flight for inputs in attempt.request.inputs}
        return [job for job in jobs if not job.closed and job.missing == len(job.texts) and job not in under_way]

    async def embed_once(self, texts: Sequence[str], task: str | None = None) -> list[Vector]:
        """One request, one try, past the queue: for a check or a search. Raises the faults of `JinaClient.embed`."""
        tokens = sum(map(len, texts)) / CHARACTERS_PER_TOKEN
        charge = self._pacer.charge(tokens, len(self._in_flight) + 1, self._clock())
        answer = await self._client.embed(texts, self._profile.fields(task))
        self._pacer.passed(charge, answer.total_tokens, self._clock())
        return answer.vectors

    def set_share(self, share: float) -> None:
        """Use this part of the key's limits, from 0 to 1, from now on; at 0 nothing goes."""
        self._pacer.set_share(share, self._clock(), self._rng())
        if share:
            self._health.release(SHARE)
        else:
            self._health.hold(SHARE, "no partition, or no proof of one: nothing of the key's limits is ours", NO_SHARE)
        self._wake.set()

    def set_limits(self, requests_per_minute: int, tokens_per_minute: int, concurrency: int) -> None:
        """The key has these limits from now on."""
        self._pacer.set_limits(KeyLimits(requests_per_minute, tokens_per_minute, concurrency), self._clock())
        self._wake.set()

    def reread_key(self, settings: JinaSettings | None = None) -> None:
        """Read the key again, from where these settings say or those before. A changed key is tried at once."""
        if self._client.reread_key(settings):
            self._breaker.retry_now(self._clock())
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; requests under way are then cancelled too."""
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
            review_at_s, dead_letters = self._backlog.review(now_s)
            for job, fault in dead_letters:
                job.end(fault)
            if len(self._in_flight) >= self._pacer.slots(now_s):
                if self._backlog.queue or self._backlog.retries_ready:
                    self._pacer.crowded()
                return math.inf  # an answer wakes us, or a share
            if self._over_budget():
                return now_s + self._budget.renewed_in_s(self._wall_clock())
            allowed = self._breaker.allowed(now_s)
            if allowed is Allowed.NOTHING:
                return min(review_at_s, self._breaker.probe_at_s)
            ready_at_s = self._pacer.ready_at(now_s)
            if ready_at_s > now_s:
                return ready_at_s
            only_new = self._backlog.queue and not self._backlog.retries_ready
            if allowed is Allowed.ALL and only_new and not self._needs_canary():
                gather_until_s = self._pacer.gather_until(self._backlog.queue.tokens, now_s)
                if gather_until_s > now_s:
                    return min(gather_until_s, review_at_s)
            request = self._choose(allowed, now_s)
            if request is None:
                self._pacer.idle(now_s)
                return review_at_s
            self._send(request, now_s, tasks)

    def _over_budget(self) -> bool:
        reason = self._budget.reason(self._wall_clock())
        if reason is None:
            self._health.release(BUDGET)
        else:
            self._health.hold(BUDGET, reason, BUDGET_SPENT)
        return reason is not None

    def _choose(self, allowed: Allowed, now_s: float) -> EmbedRequest | None:
        """What goes next."""
        if allowed is Allowed.CANARY or (allowed is Allowed.ALL and self._needs_canary()):
            return canary()
        queue = self._backlog.queue
        batch = self._pacer.batch(queue.tokens / queue.inputs if queue.inputs else 0.0, now_s)
        request = self._backlog.take(batch.inputs, batch.tokens)
        if request is None and allowed is Allowed.REQUEST:
            return canary()  # nothing waits, but readiness must come back
        return request

    def _needs_canary(self) -> bool:
        if any(attempt.request.is_canary for attempt in self._in_flight):
            return False
        return self._backlog.needs_canary(fresh_under_way=any(attempt.request.fresh for attempt in self._in_flight))

    def _send(self, request: EmbedRequest, now_s: float, tasks: asyncio.TaskGroup) -> None:
        if not self._breaker.closed:
            self._client.reread_key()
        if request.sent and not request.is_canary:
            self._metrics.retries.labels(JINA).inc()
        request.sent = True
        number = self._suspects.sent()
        charge = self._pacer.charge(request.tokens, len(self._in_flight) + 1, now_s)
        attempt = Attempt(request, number, charge, probe=self._breaker.sent(number))
        self._in_flight.add(attempt)
        tasks.create_task(self._request(attempt))

    async def _request(self, attempt: Attempt) -> None:
        started_s = self._clock()
        try:
            answer = await self._client.embed(attempt.request.texts(), self._profile.passage_fields)
        except Exception as fault:  # noqa: BLE001 - ours and unforeseen ones alike end in a decision, never in a crash
            self._failed(attempt, fault)
        else:
            self._passed(attempt, answer)
        finally:
            self._request_seconds.observe(self._clock() - started_s)
            self._metrics.counts.requests_ended += 1
            self._in_flight.discard(attempt)
            self._wake.set()

    async def _pause(self, tasks: asyncio.TaskGroup, until_s: float) -> None:
        """Wait for a job, an answer, or the time."""
        timer = tasks.create_task(self._wake_at(until_s)) if until_s < math.inf else None
        try:
            await self._wake.wait()
        finally:
            self._wake.clear()
            if timer:
                timer.cancel()

    async def _wake_at(self, until_s: float) -> None:
        await self._sleep(max(0.0, until_s - self._clock()))
        self._wake.set()

    # --- answers

    def _passed(self, attempt: Attempt, answer: Answer) -> None:
        request = attempt.request
        self._breaker.passed(probe=attempt.probe, canary=request.is_canary)
        if self._breaker.closed:
            self._health.release(JINA)
        self._pacer.passed(attempt.charge, answer.total_tokens, self._clock())
        self._report.passed(request.tokens, answer)
        self._budget.spend(answer.total_tokens or round(request.tokens), self._wall_clock())
        if request.is_canary:
            self._suspects.canary_passed(attempt.number)
            return
        self._suspects.passed(request, attempt.number)
        self._metrics.inputs_embedded.inc(len(answer.vectors))
        for job in request.deliver(answer.vectors):
            job.end()

    def _failed(self, attempt: Attempt, fault: Exception) -> None:
        request, now_s = attempt.request, self._clock()
        self._metrics.requests_failed.labels(JINA, kind_of(fault)).inc()
        if self._is_news(attempt, fault, now_s):
            self._report.failed(attempt, fault, self._breaker.failed_probes)
        if isinstance(fault, AccountFault) and self._client.reread_key():
            self._breaker.retry_now(now_s)
        if isinstance(fault, Busy):
            self._pacer.unread(attempt.charge, now_s)
        no_inputs_fault = isinstance(fault, Busy | AccountFault)
        if request.is_canary:
            if not no_inputs_fault:
                self._suspects.canary_failed()
        elif no_inputs_fault:
            self._backlog.put_back(request)
        else:
            self._backlog.failed(request, fault, now_s)

    def _is_news(self, attempt: Attempt, fault: Exception, now_s: float) -> bool:
        """Pass the failure to circuit breaker and pacer.

        False when it teaches nothing: the request was sent before the breaker opened, or it was one too many at once
        while others are under way, so a slot will be free anyway.
        """
        throttle = None
        if isinstance(fault, Throttled):
            throttle = self._pacer.throttle(fault.code, len(self._in_flight), now_s)
            self._report.throttled(throttle)
            if throttle is Throttle.CONCURRENCY and len(self._in_flight) > 1 and not attempt.probe:
                return False
        was_closed = self._breaker.closed
        canary = attempt.request.is_canary
        news = self._breaker.failed(fault, attempt.number, now_s, probe=attempt.probe, canary=canary)
        if was_closed and not self._breaker.closed:
            self._metrics.holds.inc()
        if throttle is None and not self._breaker.closed:
            self._pacer.idle(now_s)
        elif throttle is not None and throttle is not Throttle.CONCURRENCY and news and not attempt.probe:
            self._pacer.slow_down(throttle, now_s)
        return news
