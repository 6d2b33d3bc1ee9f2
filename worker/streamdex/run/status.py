"""How a worker stands, looked up when someone asks: for the admin server, and for the gauges of the metrics."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

from streamdex import __version__
from streamdex.admin import HealthSnapshot, Phase, unready_reasons
from streamdex.config import Settings
from streamdex.model import Partition
from streamdex.run.pipeline import Pipeline
from streamdex.settle import PartitionStatus
from streamdex.telemetry import Health, Metrics


class Status:
    """One worker seen from outside. A pipeline of None is one that is not connected yet."""

    def __init__(
        self,
        settings: Settings,
        worker_name: str,
        health: Health,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._worker_name = worker_name
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._wall_clock = wall_clock
        self._born_s = clock()
        metrics.info.labels(__version__).set(1)

    def health_snapshot(self, phase: Phase, pipeline: Pipeline | None) -> HealthSnapshot:
        """What health is judged by."""
        held, counts = self._health.reasons, self._metrics.counts
        if pipeline is None:
            return HealthSnapshot(phase, held=held)
        ledger = pipeline.ledger.statistics(self._now_ms())
        return HealthSnapshot(
            phase,
            ledger.partitions,
            ledger.open_records,
            held,
            intake_mark=pipeline.consumer.moved_s,
            flow_mark=sum(counts.outcomes.values()) + counts.requests_ended,
        )

    def as_json(self, phase: Phase, pipeline: Pipeline | None) -> Mapping[str, object]:
        """All of it, as JSON has it."""
        kafka = self._settings.kafka
        return {
            "version": __version__,
            "worker": self._worker_name,
            "group": kafka.group_id,
            "topics": kafka.topics,
            "collection": self._settings.qdrant.collection,
            "phase": phase.value,
            "uptime_s": self._clock() - self._born_s,
            **self._counted(),
            **(self._stages(pipeline) if pipeline is not None else {}),
        }

    def _counted(self) -> dict[str, object]:
        """What has been counted since the start."""
        counts = self._metrics.counts
        return {
            "outcomes": {outcome.value: count for outcome, count in counts.outcomes.items()},
            "dead_letters": {reason: count for reason, count in counts.dead_letters.items() if count},
            "superseded_across_partitions": counts.superseded_across,
            "deleted_unknown": counts.deleted_unknown,
            "commits": {"ok": counts.commits_ok, "failed": counts.commits_failed},
            "rebalances": counts.rebalances,
            "restarts": {cause: count for cause, count in counts.restarts.items() if count},
            "internal_faults": counts.internal_faults,
        }

    def _stages(self, pipeline: Pipeline) -> dict[str, object]:
        """How the stages stand at this moment."""
        back_pressure, embedding = pipeline.back_pressure.statistics(), pipeline.embedder.statistics
        pacing = embedding.pacing
        ends, now_ms = pipeline.consumer.ends(), self._now_ms()
        committed_s = pipeline.committer.last_accepted_s
        return {
            "partitions": [
                _partition(partition, status, ends.get(partition), now_ms)
                for partition, status in sorted(pipeline.ledger.statuses().items())
            ],
            "open": {"records": back_pressure.span, "bytes": back_pressure.open_bytes, "full": back_pressure.full},
            "queues": {name: {"items": items, "bytes": size} for name, (items, size) in _queues(pipeline).items()},
            "last_commit_age_s": None if committed_s is None else self._clock() - committed_s,
            "share": asdict(pipeline.share.statistics),
            "limits": {
                "requests": {"in_force": pacing.requests_per_minute, "used": pacing.requests_used},
                "tokens": {"in_force": pacing.tokens_per_minute, "used": pacing.tokens_used},
                "concurrency": {"in_force": pacing.slots, "used": embedding.in_flight_requests},
            },
            "embedding": {
                "circuit_breaker_open": embedding.circuit_breaker_open,
                "waiting_requests": embedding.waiting_requests,
                "rate_recovery": pacing.recovery,
                "tokens_per_estimate": pacing.tokens_per_estimate,
            },
        }

    def set_gauges(self, phase: Phase, pipeline: Pipeline | None) -> None:
        """Bring the gauges up to date, before the metrics are read."""
        metrics, health_snapshot = self._metrics, self.health_snapshot(phase, pipeline)
        metrics.ready.set(not unready_reasons(health_snapshot))
        metrics.tasks.set(len(asyncio.all_tasks()))
        metrics.held.clear()
        for name in health_snapshot.held:
            metrics.held.labels(name).set(1)
        if pipeline is None:
            return
        ledger = pipeline.ledger.statistics(self._now_ms())
        metrics.partitions.set(ledger.partitions)
        metrics.open_records.set(ledger.open_records)
        metrics.open_bytes.set(ledger.open_bytes)
        metrics.oldest_open.set(ledger.oldest_open_s)
        for stage, (items, size_bytes) in _queues(pipeline).items():
            metrics.queued.labels(stage).set(items)
            metrics.queued_bytes.labels(stage).set(size_bytes)
        metrics.lag.clear()
        ends = pipeline.consumer.ends()
        for partition, (tracker, _) in pipeline.ledger.statuses().items():
            lag = _lag(tracker.committable, ends.get(partition))
            if lag is not None:
                metrics.lag.labels(partition.topic, str(partition.number)).set(lag)

    def _now_ms(self) -> int:
        return int(self._wall_clock() * 1000)


def _partition(partition: Partition, status: PartitionStatus, end: int | None, now_ms: int) -> dict[str, object]:
    tracker = status.tracker
    oldest_ms = tracker.oldest_open_ms
    return {
        "topic": partition.topic,
        "partition": partition.number,
        "position": tracker.position,
        "settled": tracker.committable,
        "committed": status.committed,
        "end": end,
        "lag": _lag(tracker.committable, end),
        "open_records": tracker.open_count,
        "open_bytes": tracker.open_bytes,
        "oldest_open_s": None if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000),
    }


def _lag(settled: int, end: int | None) -> int | None:
    """Records from what is settled to the end of the log; None while the end is not known."""
    return None if end is None else max(0, end - settled)


def _queues(pipeline: Pipeline) -> dict[str, tuple[int, int]]:
    embedding = pipeline.embedder.statistics
    return pipeline.dispatcher.queues() | {"embed": (embedding.queued_inputs, embedding.queued_bytes)}
