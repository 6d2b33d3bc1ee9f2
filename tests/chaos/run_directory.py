"""What a campaign leaves behind, for the checker and for people: one directory, all times as Unix seconds.

- `run.json`: {seed, order, topic, dead_letter_topic, group, kafka, qdrant: {grpc_port, collection}, jina_url,
  canaries, refused_marker, request_horizon_s, environment}. The addresses are direct ones, past every proxy, also those
  in the environment, with which `streamdex verify` is run.
- `produced.jsonl`: each record that Kafka acknowledged: {topic, partition, offset, key_b64, value_b64, headers
  ([name, base64]), timestamp_ms, kind, poison, aborted}
- `events.jsonl`: {at, kind, …}: round_started, worker_started, worker_exited (code, signal, expected), fault_started
  and fault_ended (number, fault, hits, fired), links_broken and links_mended (link, slots), worker_frozen and
  worker_thawed (worker), hook_fired (step, moment), healed, lag_zero, judged
- `watch.jsonl`: what the checker's watch saw at each advance of the commits
- `workers/NAME.log`: what each worker process wrote; a name is a slot and a number, `w2-005`. `workers/NAME.metrics`,
  `.status` and `.readyz`: its last answers over HTTP.
- `samples.jsonl`: {at, worker, pid, rss_bytes, fds, threads}
- `commits.jsonl`: {at, partition, offset}, all of them, from Kafka's own topic of offsets
- `billing.jsonl`: each billed request, by the stand-in for Jina: {at, worker, answered, fault, tokens, inputs
  ([[digest, tokens]])}
- `answers.jsonl`: each answer that a worker really got: {sent, at, worker, inputs ([digest])}. What is billed and
  not here was lost on the way.
"""

import base64
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def b64(value: bytes | None) -> str | None:
    """Bytes for JSON."""
    return None if value is None else base64.b64encode(value).decode()


def append_line(path: Path, line: dict[str, Any]) -> None:
    """One line, whole, whoever else appends to the file."""
    data = json.dumps(line).encode() + b"\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)


class RunDirectory:
    """The files of one run, below `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workers = path / "workers"
        self.workers.mkdir(parents=True, exist_ok=True)

    @property
    def events(self) -> Path:
        """Where events stand."""
        return self.path / "events.jsonl"

    @property
    def billing(self) -> Path:
        """Where the stand-in for Jina writes its bills."""
        return self.path / "billing.jsonl"

    @property
    def answers(self) -> Path:
        """Where workers note the answers that they got."""
        return self.path / "answers.jsonl"

    def describe(self, run: dict[str, Any]) -> None:
        """Write `run.json`."""
        (self.path / "run.json").write_text(json.dumps(run, indent=2))

    def event(self, kind: str, **fields: Any) -> None:
        """Something happened now."""
        append_line(self.events, {"at": time.time(), "kind": kind, **fields})

    def produced(
        self,
        at: tuple[str, int, int],
        content: tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]],
        timestamp_ms: int,
        kind: str,
        *,
        poison: bool,
        aborted: bool,
    ) -> None:
        """Kafka has a record: its topic, partition and offset, then its key, value and headers."""
        (topic, partition, offset), (key, value, headers) = at, content
        line = {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "key_b64": b64(key),
            "value_b64": b64(value),
            "headers": [[name, b64(header)] for name, header in headers],
            "timestamp_ms": timestamp_ms,
            "kind": kind,
            "poison": poison,
            "aborted": aborted,
        }
        append_line(self.path / "produced.jsonl", line)

    def commit(self, at: float, partition: int, offset: int) -> None:
        """The group committed."""
        append_line(self.path / "commits.jsonl", {"at": at, "partition": partition, "offset": offset})

    def sample(self, worker: str, pid: int, rss_bytes: int, fds: int, threads: int) -> None:
        """What a worker process holds now."""
        held = {"rss_bytes": rss_bytes, "fds": fds, "threads": threads}
        append_line(self.path / "samples.jsonl", {"at": time.time(), "worker": worker, "pid": pid, **held})

    def worker_log(self, worker: str) -> Path:
        """Where a worker process writes."""
        return self.workers / f"{worker}.log"
