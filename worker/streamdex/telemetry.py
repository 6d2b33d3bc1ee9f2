"""Every log event and every metric, named once.

A log event is a `Signal`; `emit` writes it as one line: JSON through orjson, or coloured on a terminal. Lines report
changes of state, not documents, and carry no secret, document text or metadata. Each `Metrics` has its own registry, so
that several workers in one process (tests, the demo) do not share counters.
"""

import logging
import re
import sys
import time
from bisect import bisect_left
from collections import Counter as CollectionsCounter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import accumulate
from pathlib import PurePath
from traceback import extract_tb
from typing import Any, Literal, TextIO, TypeVar

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streamdex.errors import Reason, Service
from streamdex.model import Outcome

M = TypeVar("M", Counter, Gauge, Histogram)
Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Signal:
    """A log event: its name in the field `event`, its level, and its meaning."""

    event: str
    level: Level
    meaning: str


ADMIN_LISTENS = Signal("admin.listens", "info", "health, status and metrics are served at this address")
STARTED = Signal("worker.started", "info", "the worker reads its topics")
RELOADED = Signal("worker.reloaded", "info", "the key and its limits were read again on SIGHUP")
RELOAD_REFUSED = Signal("worker.reload_refused", "error", "the settings on SIGHUP are wrong; the old ones stay")
STOPPING = Signal("worker.stopping", "info", "a stop was asked for; fetching has ended, paid work is finished")
STOPPED = Signal("worker.stopped", "info", "the worker has left its group")
ASSIGNED = Signal("partitions.assigned", "info", "this replica was assigned partitions; says where each one starts")
REVOKED = Signal("partitions.revoked", "info", "partitions were drained, committed and given back")
DRAIN_INCOMPLETE = Signal(
    "drain.incomplete", "warning", "records were left unfinished or uncommitted; they will be read again"
)
COMMIT_FAILED = Signal("commit.failed", "warning", "a commit was refused or took too long; it is tried again")
INTAKE_PAUSED = Signal("intake.paused", "debug", "too much is open; partitions are paused while polling goes on")
INTAKE_RESUMED = Signal("intake.resumed", "debug", "enough has settled; partitions are read again")
PARTITION_HELD = Signal("partition.held", "error", "a partition cannot go on until a person fixes it")
KAFKA_RESTARTED = Signal("kafka.restarted", "warning", "a Kafka client was stuck or dead and is recreated")
KAFKA_UNREACHABLE = Signal("kafka.unreachable", "warning", "the brokers do not answer; trying again")
OFFSET_OUT_OF_RANGE = Signal("kafka.offset_out_of_range", "error", "the log no longer holds the offset of this group")
SERVICE_DOWN = Signal("service.down", "warning", "a service does not work; the worker waits and tries again")
SERVICE_BACK = Signal("service.back", "info", "the service works again")
ACCOUNT_REFUSED = Signal("account.refused", "error", "the account or configuration is refused; waiting for its fix")
RETRY_AFTER_CAPPED = Signal("jina.retry_after_capped", "warning", "the service asked for an absurd wait; it is capped")
BUDGET_SPENT = Signal("budget.spent", "warning", "the budget of tokens is used up; embedding pauses")
INSTANCE_TAKEN = Signal(
    "kafka.instance_taken", "error", "another process has the same kafka.group_instance_id; this one waits"
)
NO_SHARE = Signal("share.none", "info", "this replica has no share of the key's limits; it sends nothing")
DEAD_LETTERED = Signal("record.dead_lettered", "warning", "a record went to the dead-letter topic, with its reason")
DEAD_LETTER_REFUSED = Signal("dead_letter.refused", "error", "the dead-letter topic did not accept a record; it waits")
DEAD_LETTER_TOPIC_SMALL = Signal(
    "dead_letter.topic_small", "warning", "the dead-letter topic accepts only smaller records than its source"
)
INTERNAL = Signal("internal.fault", "error", "a bug of ours met a record; it is retried, then compared with others")
SETTLED_TWICE = Signal("settle.twice", "error", "a bug of ours settled a record twice; the first outcome stands")
COLLECTION_CREATED = Signal("collection.created", "info", "a collection was created, with its alias and indexes")
COLLECTION_DIFFERS = Signal("collection.differs", "warning", "an existing collection differs in a harmless way")
VERSION_IGNORED = Signal("event.version_ignored", "warning", "events carry a version, but worker.order is offset")
CROSS_PARTITION = Signal("event.cross_partition", "warning", "a document's events come from two partitions of a topic")
DELETED_UNKNOWN = Signal(
    "event.deleted_unknown", "warning", "a delete names a document that was never there; do its key and the id agree?"
)
CATCHING_UP = Signal("progress.behind", "warning", "the collection is behind the group; reading from its progress")
TOPIC_RECREATED = Signal("topic.recreated", "error", "the topic was recreated; raise kafka.epoch")

REASONS = tuple(reason.value for reason in Reason)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as the documentation lists it; `name` is the one in its samples, without a histogram's suffixes."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


@dataclass(slots=True)
class Counts:
    """What one worker has counted since its start, as plain numbers: its status shows them, `Metrics` exports them.

    Rejected: to count in prometheus_client and read its counters back. Its locks cost 1.4 µs a record, this 0.3 µs.
    """

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    dead_letters: CollectionsCounter[str] = field(default_factory=lambda: CollectionsCounter(dict.fromkeys(REASONS, 0)))
    """By reason; at 0 from the start, since Prometheus sees no increase in the first value of a series."""
    commits_ok: int = 0
    commits_failed: int = 0
    rebalances: int = 0
    restarts: CollectionsCounter[str] = field(default_factory=CollectionsCounter)
    """Kafka clients recreated, by cause."""
    internal_faults: int = 0
    superseded_across: int = 0
    deleted_unknown: int = 0
    requests_ended: int = 0
    """Requests to a service that were answered or failed."""
    searchable: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    """Settled records by age: one number for each bucket of `SECONDS`, and one for what is older."""
    searchable_sum_s: float = 0.0

    def settled(self, outcome: Outcome, age_s: float) -> None:
        """Count one settled record; `age_s` is the time since the record's own timestamp, not below 0."""
        self.outcomes[outcome] += 1
        self.searchable[bisect_left(SECONDS, age_s)] += 1
        self.searchable_sum_s += age_s


# Name, meaning and labels of the counters that are made from `Counts`, and their values by label.
EXPORTED: tuple[tuple[str, str, tuple[str, ...], Callable[[Counts], Mapping[Any, int]]], ...] = (
    ("records", "Records settled, by outcome", ("outcome",), lambda c: c.outcomes),
    ("dead_letters", "Records sent to the dead-letter topic, by reason", ("reason",), lambda c: c.dead_letters),
    ("commits", "Commits, by result", ("result",), lambda c: {"ok": c.commits_ok, "failed": c.commits_failed}),
    ("rebalances", "Assignments of partitions", (), lambda c: {"": c.rebalances}),
    ("kafka_restarts", "Kafka clients recreated, by cause", ("cause",), lambda c: c.restarts),
    ("internal_faults", "Bugs of ours met while handling records", (), lambda c: {"": c.internal_faults}),
    ("superseded_across_partitions", "Events superseded across partitions", (), lambda c: {"": c.superseded_across}),
    ("deleted_unknown", "Deletes of documents that the collection never had", (), lambda c: {"": c.deleted_unknown}),
)
SEARCHABLE = "streamdex_event_to_searchable_seconds", "From a record's timestamp to its outcome"


class _Exporter(Collector):
    """Makes Prometheus' metrics from `Counts` whenever the registry is read."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._created_s = time.time()

    def collect(self) -> Iterator[Metric]:
        for name, meaning, labels, read in EXPORTED:
            counter = CounterMetricFamily(f"streamdex_{name}", meaning, labels=labels)
            for label, count in read(self._counts).items():
                counter.add_metric([label], count, self._created_s)
            yield counter
        bounds = [*map(floatToGoString, SECONDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts.searchable), strict=True))
        searchable = HistogramMetricFamily(*SEARCHABLE, buckets, self._counts.searchable_sum_s)
        searchable.add_sample(f"{searchable.name}_created", {}, self._created_s)
        yield searchable


class Metrics:
    """The Prometheus metrics of one worker. Names are what dashboards rely on."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counts = Counts()
        self.registry.register(_Exporter(self.counts))
        self.described = [
            Described(f"streamdex_{name}_total", "counter", labels, meaning) for name, meaning, labels, _ in EXPORTED
        ]
        """All of them except those of the process, which the client library adds."""
        self.described.append(Described(SEARCHABLE[0], "histogram", (), SEARCHABLE[1]))
        counter, gauge = partial(self._metric, Counter), partial(self._metric, Gauge)
        histogram = partial(self._metric, Histogram, buckets=SECONDS)
        self.open_records = gauge("open_records", "Records accepted and not settled")
        self.open_bytes = gauge("open_bytes", "Bytes of records accepted and not settled")
        self.oldest_open = gauge("oldest_open_seconds", "Age of the oldest unsettled record, by its own timestamp")
        self.queued = gauge("queued", "What waits before a stage", "stage")
        self.queued_bytes = gauge("queued_bytes", "Bytes of what waits before a stage", "stage")
        self.lag = gauge("lag_records", "Records from what is settled to the end of the log", "topic", "partition")
        self.partitions = gauge("partitions", "Partitions of this replica")
        self.held = gauge("held", "1 for each thing that keeps the worker from its work", "name")
        self.ready = gauge("ready", "1 while the worker is ready")
        self.loop_delay = histogram("event_loop_delay_seconds", "How late the event loop wakes, measured each second")
        self.tasks = gauge("tasks", "Tasks in the event loop")
        self.info = gauge("info", "Always 1; its label is the version", "version")
        self.request_seconds = histogram(
            "request_seconds", "How long requests to a service took", "service", "operation"
        )
        self.requests_failed = counter("requests_failed", "Requests that failed, by kind", "service", "kind")
        self.retries = counter("retries", "Requests and steps tried again after a fault", "service")
        self.tokens_billed = counter("tokens_billed", "Tokens the embedding service counted")
        self.tokens_estimated = counter("tokens_estimated", "Tokens estimated for the same inputs")
        self.inputs_embedded = counter("inputs_embedded", "Texts that were embedded")
        self.limit_in_force = gauge("limit_in_force", "What the pacing allows now: per minute, or at once", "limit")
        self.limit_used = gauge("limit_used", "What was sent in the last minute, or is in flight", "limit")
        self.limit_share = gauge("limit_share", "This replica's part of the key's limits")
        self.limit_recovery = gauge("limit_recovery", "Part of the share in use; below 1 after a 429")
        self.tokens_per_estimate = gauge("tokens_per_estimate", "Billed over estimated tokens, moving average")
        self.batch_tokens = gauge("batch_tokens", "Most tokens that the next request may carry")
        self.throttled = counter("throttled", "Requests refused with 429, by the limit they exceeded", "limit")
        self.holds = counter("embedding_holds", "Times that the circuit breaker opened")
        self.quota_remaining = gauge("quota_remaining", "What the service says is left of the minute's limit", "limit")
        for service in Service:  # at 0 from the start, as in `Counts`
            self.retries.labels(service.value)
        ProcessCollector(registry=self.registry)
        self._refreshers: list[Callable[[], None]] = []

    def before_reading(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` to set gauges each time the metrics are read, so that they cost nothing in between."""
        self._refreshers.append(refresh)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        for refresh in self._refreshers:
            refresh()
        return generate_latest(self.registry)

    def _metric(self, kind: type[M], name: str, meaning: str, *labels: str, **options: Any) -> M:
        total = "_total" if kind is Counter else ""
        self.described.append(Described(f"streamdex_{name}{total}", kind.__name__.lower(), labels, meaning))
        return kind(f"streamdex_{name}", meaning, labels, registry=self.registry, **options)


def trace_hash(error: BaseException) -> str:
    """Eight digits that tell one bug of ours from another, without quoting its data."""
    frames = [f"{frame.filename}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
    return blake2b("\n".join(frames).encode(), digest_size=4).hexdigest()


def emit(signal: Signal, **fields: Any) -> None:
    """Write one log line. Fields hold names, numbers and reasons, never what a user wrote."""
    getattr(structlog.get_logger(), signal.level)(signal.event, **fields)


class Health:
    """What keeps this worker from its work now: one reason for each service or partition that does not work.

    Each change is logged once, however often the fault repeats.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    @property
    def reasons(self) -> dict[str, str]:
        """What is held, name to reason, with the fix where a person must act; empty when all is well."""
        return dict(self._reasons)

    def hold(self, name: str, reason: str, signal: Signal = SERVICE_DOWN) -> None:
        """Note that `name` (a service, a partition) does not work, and why."""
        if self._reasons.get(name) != reason:
            self._reasons[name] = reason
            emit(signal, name=name, reason=reason)

    def release(self, name: str) -> None:
        """Note that `name` works; logged if it did not before."""
        if self._reasons.pop(name, None) is not None:
            emit(SERVICE_BACK, name=name)


_QUOTING = re.compile(r"[\n(<].*", re.DOTALL)


def _without_quotes(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keep only kind and place of an exception in a library's line: its words and variables may be a user's.

    asyncio quotes them in its message as well: the arguments of a callback, the exception of a task.
    """
    line.pop("stack_info", None)
    _, error, trace = line.pop("exc_info", None) or (None, None, None)
    if error is not None:
        line["kind"] = type(error).__name__
        line["place"] = [f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in extract_tb(trace)[-3:]]
    if line["logger"] == "asyncio":
        line["event"] = _QUOTING.sub("", str(line["event"])).strip()
    return line


def configure_logging(
    log_format: Literal["auto", "json", "console"], level: Level, stream: TextIO | None = None
) -> None:
    """Write log lines to `stream`, else stderr, those of the client libraries (warnings and worse) included."""
    stream = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and stream.isatty())
    number = logging.getLevelName(level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(serializer=lambda line, **_: orjson.dumps(line, default=str).decode())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _without_quotes],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))
