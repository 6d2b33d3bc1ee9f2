"""Restarts: their cause, their order, their patience."""

import asyncio
from typing import cast

import pytest
import structlog

from streamdex.errors import ConfigurationError, Service, ServiceFault
from streamdex.intake.consumer.session import Session
from streamdex.intake.consumer.supervisor import Supervisor
from streamdex.intake.consumer.watch import ConsumerRestart
from streamdex.telemetry import Health, Metrics


class Life:
    """All that the supervisor asks of a session."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    async def close(self) -> None:
        self.log.append(f"close {self.name}")


async def nothing() -> None: ...


class Fixture:
    """`causes` end one life after the other; `faults` meet the attempts at opening the next."""

    def __init__(self, causes: list[ConsumerRestart | None], faults: list[Exception] | None = None) -> None:
        self.log: list[str] = []
        self.causes, self.faults = causes, faults or []
        self.now_s = 0.0
        self.lives_s = 1.0
        self.pauses: list[float] = []
        self.stopping = asyncio.Event()
        self.health, self.metrics = Health(), Metrics()
        self.opened = 0
        self.while_opening = self.while_asleep = nothing
        self.supervisor = Supervisor(
            self.open_next,
            self.work,
            self.stopping,
            self.health,
            self.metrics,
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )

    async def work(self) -> ConsumerRestart | None:
        self.now_s += self.lives_s
        self.log.append("work")
        return self.causes.pop(0)

    async def open_next(self) -> Session:
        self.log.append("open")
        await self.while_opening()
        if self.faults:
            raise self.faults.pop(0)
        self.opened += 1
        return cast("Session", Life(self.log, str(self.opened)))

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.while_asleep()

    async def run(self) -> None:
        await self.supervisor.run(cast("Session", Life(self.log, "0")))

    def restarts(self, cause: ConsumerRestart) -> float | None:
        return self.metrics.registry.get_sample_value("streamdex_kafka_restarts_total", {"cause": cause.value})


async def test_a_stop_leaves_the_last_session_open_for_the_drain() -> None:
    f = Fixture([None])
    await f.run()
    assert f.log == ["work"]


async def test_a_stuck_client_is_closed_before_the_next_is_opened() -> None:
    f = Fixture([ConsumerRestart.POLL_STUCK, ConsumerRestart.POLL_FAILING, None])
    await f.run()
    assert f.log == ["work", "close 0", "open", "work", "close 1", "open", "work"]
    assert f.restarts(ConsumerRestart.POLL_STUCK) == 1
    assert f.restarts(ConsumerRestart.POLL_FAILING) == 1


async def test_a_crash_loop_backs_off_and_a_good_life_forgives() -> None:
    f = Fixture([ConsumerRestart.POLL_FAILING] * 4 + [None])
    await f.run()
    assert f.pauses[0] < f.pauses[1] * 1.5
    assert f.pauses[3] > f.pauses[0] * 3
    f = Fixture([ConsumerRestart.POLL_FAILING] * 4 + [None])
    f.lives_s = 1000.0
    await f.run()
    assert max(f.pauses) <= 0.65


@pytest.mark.parametrize(
    "fault",
    [ServiceFault(Service.KAFKA, "no broker"), ConfigurationError("refused", "kafka.sasl_username", "Fix it.")],
)
async def test_a_next_session_that_cannot_be_opened_is_tried_again_and_reported(fault: Exception) -> None:
    f = Fixture([ConsumerRestart.COMMIT_FAILING, None], faults=[fault, fault])
    seen: list[dict[str, str]] = []

    async def remember() -> None:
        seen.append(f.health.reasons)

    f.while_asleep = remember
    await f.run()
    assert f.log == ["work", "close 0", "open", "open", "open", "work"]
    assert seen[0] == {}
    assert seen[1] == {"kafka connection": str(fault)}
    assert f.health.reasons == {}


async def test_a_stop_ends_the_backoff() -> None:
    f = Fixture([ConsumerRestart.POLL_FAILING], faults=[ServiceFault(Service.KAFKA, "no broker")] * 100)
    asleep = asyncio.Event()

    async def sleep_long() -> None:
        asleep.set()
        await asyncio.Event().wait()

    f.while_asleep = sleep_long
    running = asyncio.create_task(f.run())
    await asleep.wait()
    f.stopping.set()
    async with asyncio.timeout(5):
        await running


async def test_a_stop_ends_an_attempt_to_connect() -> None:
    f = Fixture([ConsumerRestart.POLL_STUCK])
    connecting, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        connecting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    f.while_opening = hang
    running = asyncio.create_task(f.run())
    await connecting.wait()
    f.stopping.set()
    async with asyncio.timeout(5):
        await running
    assert ended.is_set()


async def test_cause_and_count_stand_in_the_log() -> None:
    f = Fixture([ConsumerRestart.POLL_STUCK, ConsumerRestart.TASK_DIED, None])
    with structlog.testing.capture_logs() as logs:
        await f.run()
    assert [
        (line["client"], line["cause"], line["restarts"]) for line in logs if line["event"] == "kafka.restarted"
    ] == [
        ("consumer", "poll_stuck", 1),
        ("consumer", "task_died", 2),
    ]


async def test_a_bug_comes_out() -> None:
    f = Fixture([ConsumerRestart.POLL_FAILING], faults=[KeyError("bug")])
    with pytest.raises(KeyError):
        await f.run()
