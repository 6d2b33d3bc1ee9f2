"""Log lines, health reported once, and retries that never end."""

import asyncio
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Literal

import orjson
import pytest
import structlog
from prometheus_client import CollectorRegistry, Histogram

from streamdex import telemetry
from streamdex.errors import AccountFault, Reason, RecordFault, Service, ServiceFault, Stage
from streamdex.model import Outcome
from streamdex.retry import CAP_S, backoff_s, retry_faults
from streamdex.telemetry import SECONDS, Health, Metrics, Signal, configure_logging, emit


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers, level = logging.getLogger().handlers, logging.getLogger().level
    configure_logging("auto", "info", stream)
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers, logging.getLogger().level = handlers, level


def read(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_away_from_a_terminal(lines: io.StringIO) -> None:
    emit(telemetry.STARTED, topics=("a",))
    emit(telemetry.INTAKE_PAUSED)  # debug, below the level
    (line,) = read(lines)
    assert (line["event"], line["level"], line["topics"]) == ("worker.started", "info", ["a"])
    assert "timestamp" in line


def test_client_libraries_warn_in_the_same_form(lines: io.StringIO) -> None:
    logging.getLogger("aiokafka").warning("node %s is gone", 1)
    logging.getLogger("aiokafka").info("chatter")
    (line,) = read(lines)
    assert (line["event"], line["level"]) == ("node 1 is gone", "warning")


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_exception_of_a_library_is_quoted(log_format: Literal["json", "console"], lines: io.StringIO) -> None:
    """Neither its words nor its frames' variables: they may be a record, or a password."""
    configure_logging(log_format, "debug", lines)
    password = "canary-" + "of-a-password"  # in the source lines of a traceback it would not stand as a whole
    try:
        raise ValueError(f"cannot use {password}")
    except ValueError:
        logging.getLogger("aiokafka").exception("Unexpected error", stack_info=True)
    loop = asyncio.get_running_loop()
    loop.call_soon(_fail, password)
    await asyncio.sleep(0)
    loop.call_exception_handler({"message": "Task exception was never retrieved", "future": password})
    told = lines.getvalue()
    assert password not in told
    assert "Unexpected error" in told
    assert "ValueError" in told
    assert "test_telemetry_and_retry.py:" in told
    assert "Exception in callback _fail" in told
    assert "Task exception was never retrieved" in told


def _fail(argument: str) -> None:
    raise KeyError(argument)


def test_signals_are_named_once() -> None:
    signals = [value for value in vars(telemetry).values() if isinstance(value, Signal)]
    assert len({signal.event for signal in signals}) == len(signals) > 20


def test_health_logs_each_change_once(lines: io.StringIO) -> None:
    health = Health()
    health.hold("jina", "no balance")
    health.hold("jina", "no balance")
    assert health.reasons == {"jina": "no balance"}
    health.release("jina")
    health.release("jina")
    assert health.reasons == {}
    assert [line["event"] for line in read(lines)] == ["service.down", "service.back"]


def test_two_workers_in_a_process_count_apart() -> None:
    with warnings.catch_warnings():
        one, two = Metrics(), Metrics()
    one.counts.rebalances += 1
    assert one.registry.get_sample_value("streamdex_rebalances_total") == 1
    assert two.registry.get_sample_value("streamdex_rebalances_total") == 0


def test_settled_records_are_exported_as_the_client_library_would() -> None:
    metrics, registry = Metrics(), CollectorRegistry()
    theirs = Histogram("streamdex_event_to_searchable_seconds", "", registry=registry, buckets=SECONDS)
    for age_s in (0.0, *SECONDS, *(bound + 0.001 for bound in SECONDS), 1e9):
        metrics.counts.settled(Outcome.INDEXED, age_s)
        theirs.observe(age_s)
    read = metrics.registry.get_sample_value
    assert read("streamdex_records_total", {"outcome": "indexed"}) == 2 * len(SECONDS) + 2
    for sample in (sample for family in registry.collect() for sample in family.samples):
        if not sample.name.endswith("_created"):
            assert read(sample.name, sample.labels) == sample.value


def test_backoff_doubles_to_its_cap_with_jitter() -> None:
    middle = [backoff_s(attempt, lambda: 0.5) for attempt in range(8)]
    assert middle == [0.5, 1, 2, 4, 8, 16, 16, 16]
    assert backoff_s(99, lambda: 0.999999) < CAP_S * 1.3
    assert backoff_s(0, lambda: 0.0) == pytest.approx(0.35)


async def test_retries_outlast_an_outage_and_wait_as_the_neighbour_asks() -> None:
    faults: list[Exception] = [
        ServiceFault(Service.QDRANT, "unavailable"),
        ServiceFault(Service.QDRANT, "exhausted", retry_after_s=120),
        ServiceFault(Service.QDRANT, "exhausted", retry_after_s=1e9),
        AccountFault(Service.QDRANT, "key refused", "Set another."),
    ]
    slept: list[float] = []
    reasons: list[dict[str, str]] = []
    health = Health()

    async def action() -> str:
        if faults:
            raise faults.pop(0)
        return "done"

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        reasons.append(health.reasons)

    metrics = Metrics()
    assert await retry_faults(action, health, metrics, sleep) == "done"
    assert metrics.registry.get_sample_value("streamdex_retries_total", {"service": "qdrant"}) == 4
    assert slept[0] < 1
    assert slept[1] == 120
    assert slept[2] == CAP_S  # absurd: limits are counted by the minute
    assert reasons[3] == {"qdrant": "key refused. Set another."}
    assert health.reasons == {}


async def test_faults_that_waiting_does_not_fix_pass_through() -> None:
    async def action() -> None:
        raise RecordFault(Stage.EMBED, Reason.WRONG_ANSWER, "x")

    with pytest.raises(RecordFault):
        await retry_faults(action, Health())
