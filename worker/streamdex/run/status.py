"""How a worker stands, gathered from its rooms: for the admin server, and for the gauges of the metrics.

Everything here is looked up when someone asks, and costs the records nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from streamdex import __version__
from streamdex.admin import Phase, Vitals, hindrances
from streamdex.config import Settings
from streamdex.embed import Embedder
from streamdex.intake import Consumer
from streamdex.model import Partition
from streamdex.run.flow import Flow
from streamdex.run.partitions import Ownership
from streamdex.run.rooms import Rooms
from streamdex.settle import Committer, PartitionStatus
from streamdex.telemetry import Health, Metrics, labelled


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is to look at once a worker is connected."""

    rooms: Rooms
    consumer: Consumer
    flow: Flow
    embedder: Embedder
    committer: Committer
    ownership: Ownership


class Status:
    """One worker seen from outside; from before it connects until after it has left."""

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
        self.metrics = metrics
        self.phase = Phase.STARTING
        self._settings = settings
        self._worker_name = worker_name
        self._health = health
        self._clock = clock
        self._wall_clock = wall_clock
        self._born_s = clock()
        self._parts: Parts | None = None
        metrics.info.labels(__version__).set(1)
        metrics.before_reading(self._set_gauges)

    def follow(self, parts: Parts) -> None:
        """The worker has its parts now."""
        self._parts = parts

    def vitals(self) -> Vitals:
        """What health is judged by."""
        parts, held = self._parts, self._health.reasons
        if parts is None:
            return Vitals(self.phase, held=held)
        ledger = parts.rooms.ledger.statistics(self._now_ms())
        ended = labelled(self.metrics.request_seconds, "_count")
        return Vitals(
            self.phase,
            ledger.partitions,
            ledger.open_records,
            held,
            intake_mark=parts.consumer.moved_s,
            flow_mark=self.metrics.settled().total() + sum(ended.values()),
        )

    def status(self) -> Mapping[str, object]:
        """All of it, as JSON has it."""
        kafka = self._settings.kafka
        return {
            "version": __version__,
            "worker": self._worker_name,
            "group": kafka.group_id,
            "topics": kafka.topics,
            "collection": self._settings.qdrant.collection,
            "phase": self.phase.value,
            "uptime_s": self._clock() - self._born_s,
            **self._counted(),
            **(self._standing(self._parts) if self._parts is not None else {}),
        }

    def _counted(self) -> dict[str, object]:
        """What has been counted since the start."""
        metrics = self.metrics
        commits = _by_label(labelled(metrics.commits, "_total"))
        return {
            "outcomes": {outcome.value: count for outcome, count in metrics.settled().items()},
            "dead_letters": _by_label(labelled(metrics.dead_letters, "_total")),
            "superseded_across_partitions": _count(labelled(metrics.superseded_across, "_total")),
            "commits": {"ok": commits.get("ok", 0), "failed": commits.get("failed", 0)},
            "rebalances": _count(labelled(metrics.rebalances, "_total")),
            "restarts": _by_label(labelled(metrics.restarts, "_total")),
            "internal_faults": _count(labelled(metrics.internal_faults, "_total")),
        }

    def _standing(self, parts: Parts) -> dict[str, object]:
        """How the parts stand at this moment."""
        ledger, back_pressure = parts.rooms.ledger, parts.rooms.back_pressure.statistics()
        embedding = parts.embedder.statistics
        pacing = embedding.pacing
        ends, now_ms = parts.consumer.ends(), self._now_ms()
        committed_s = parts.committer.last_accepted_s
        return {
            "partitions": [
                _partition(partition, standing, ends.get(partition), now_ms)
                for partition, standing in sorted(ledger.standings().items())
            ],
            "open": {"records": back_pressure.span, "bytes": back_pressure.open_bytes, "full": back_pressure.full},
            "queues": {name: {"items": items, "bytes": size} for name, (items, size) in _queues(parts).items()},
            "last_commit_age_s": None if committed_s is None else self._clock() - committed_s,
            "share": asdict(parts.ownership.share),
            "limits": {
                "requests": {"in_force": pacing.requests_per_minute, "used": pacing.requests_used},
                "tokens": {"in_force": pacing.tokens_per_minute, "used": pacing.tokens_used},
                "concurrency": {"in_force": pacing.slots, "used": embedding.in_flight_requests},
            },
            "embedding": {
                "shut": embedding.shut,
                "waiting_parcels": embedding.waiting_parcels,
                "fraction": pacing.recovery,
                "tokens_per_estimate": pacing.tokens_per_estimate,
            },
        }

    def _set_gauges(self) -> None:
        metrics, parts, vitals = self.metrics, self._parts, self.vitals()
        metrics.ready.set(not hindrances(vitals))
        metrics.tasks.set(len(asyncio.all_tasks()))
        metrics.held.clear()
        for name in vitals.held:
            metrics.held.labels(name).set(1)
        if parts is None:
            return
        ledger = parts.rooms.ledger
        standing = ledger.statistics(self._now_ms())
        metrics.partitions.set(standing.partitions)
        metrics.open_records.set(standing.open_records)
        metrics.open_bytes.set(standing.open_bytes)
        metrics.oldest_open.set(standing.oldest_open_s)
        for stage, (items, size_bytes) in _queues(parts).items():
            metrics.queued.labels(stage).set(items)
            metrics.queued_bytes.labels(stage).set(size_bytes)
        metrics.lag.clear()
        ends = parts.consumer.ends()
        for partition, (tracker, _) in ledger.standings().items():
            lag = _lag(tracker.committable, ends.get(partition))
            if lag is not None:
                metrics.lag.labels(partition.topic, str(partition.number)).set(lag)

    def _now_ms(self) -> int:
        return int(self._wall_clock() * 1000)


def _partition(partition: Partition, standing: PartitionStatus, end: int | None, now_ms: int) -> dict[str, object]:
    tracker = standing.tracker
    oldest_ms = tracker.oldest_open_ms
    return {
        "topic": partition.topic,
        "partition": partition.number,
        "position": tracker.position,
        "settled": tracker.committable,
        "committed": standing.committed,
        "end": end,
        "lag": _lag(tracker.committable, end),
        "open_records": tracker.open_count,
        "open_bytes": tracker.open_bytes,
        "oldest_open_s": None if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000),
    }


def _lag(settled: int, end: int | None) -> int | None:
    """Records from what is settled to the end of the log; None while the end is not known."""
    return None if end is None else max(0, end - settled)


def _queues(parts: Parts) -> dict[str, tuple[int, int]]:
    embedding = parts.embedder.statistics
    return parts.flow.queues() | {"embed": (embedding.queued_inputs, embedding.queued_bytes)}


def _by_label(values: Mapping[tuple[str, ...], float]) -> dict[str, int]:
    return {name: int(value) for (name,), value in values.items() if value}


def _count(values: Mapping[tuple[str, ...], float]) -> int:
    return int(sum(values.values()))
