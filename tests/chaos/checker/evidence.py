"""What a campaign has left in its directory, read into plain values.

`chaos/run_directory.py` describes the files. What stands in no file (the topics, the collection) is read from the
services: `broker.py`, `store.py`.
"""

import base64
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from chaos.checker.events import Headers, LogRecord, Place

Line = Mapping[str, Any]


class Commit(NamedTuple):
    """A commit that Kafka took, at a Unix time in seconds."""

    at: float
    partition: int
    offset: int


class Payment(NamedTuple):
    """One text of one billed request.

    `began`, `at`: when the request had come, and when it had been answered; between the two it was in flight.
    `answered`: the answer was handed over whole. `fault`: the kind of the fault that the stand-in was told to have with
    this request, None without one.
    """

    at: float
    worker: str
    answered: bool
    text: str  # digest
    tokens: int
    fault: str | None = None
    began: float = math.inf

    @property
    def sent(self) -> float:
        """When the worker had sent the request at the latest."""
        return min(self.began, self.at)


class LogLine(NamedTuple):
    """A line of a worker's log, of the few events that the checker goes by."""

    at: float
    worker: str
    event: str
    fields: Line


@dataclass(frozen=True, slots=True)
class Produced:
    """A record that Kafka acknowledged, as the generator meant it."""

    topic: str
    record: LogRecord
    kind: str
    poison: bool
    aborted: bool


@dataclass(slots=True)
class Evidence:
    """One run directory. Lists are in the order of the files."""

    run: dict[str, Any]
    path: Path
    produced: dict[Place, Produced] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    events: list[Line] = field(default_factory=list)
    samples: list[Line] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    answers: list[Line] = field(default_factory=list)
    log: list[LogLine] = field(default_factory=list)
    watched: list[Line] = field(default_factory=list)

    def happened(self, *kinds: str) -> list[Line]:
        """The conductor's events of these kinds."""
        return [event for event in self.events if event["kind"] in kinds]


LOGGED = ("partitions.assigned", "partitions.revoked", "drain.incomplete")


def read_evidence(path: Path) -> Evidence:
    """Read a run directory. Raises OSError and ValueError where it is not one."""
    evidence = Evidence(json.loads((path / "run.json").read_text()), path)
    evidence.produced = {each.record.place: each for each in map(_produced, _lines(path / "produced.jsonl"))}
    evidence.commits = [Commit(*map(line.__getitem__, Commit._fields)) for line in _lines(path / "commits.jsonl")]
    evidence.events = list(_lines(path / "events.jsonl"))
    evidence.samples = list(_lines(path / "samples.jsonl"))
    evidence.payments = [payment for line in _lines(path / "billing.jsonl") for payment in _payments(line)]
    evidence.answers = list(_lines(path / "answers.jsonl"))
    evidence.watched = read_watched(path)
    for log in sorted((path / "workers").glob("*.log")):
        evidence.log.extend(read_log(log.stem, log.read_text(errors="replace")))
    evidence.log.sort(key=lambda line: line.at)
    return evidence


def read_watched(path: Path) -> list[Line]:
    """What the watch has written so far."""
    return list(_lines(path / "watch.jsonl"))


def read_log(worker: str, text: str) -> Iterator[LogLine]:
    """The lines of a worker's log that the checker goes by. The last line of a killed process may be cut short."""
    for line in text.splitlines():
        if not any(event in line for event in LOGGED):
            continue
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if fields.get("event") in LOGGED:
            at = datetime.fromisoformat(fields["timestamp"]).timestamp()
            yield LogLine(at, worker, fields["event"], fields)


def _lines(path: Path) -> Iterator[Line]:
    """The lines of a JSON lines file; none where there is no file. The last may still be being written."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n"):
        if line:
            yield json.loads(line)


def _produced(line: Line) -> Produced:
    headers: Headers = tuple((name, _bytes(value)) for name, value in line["headers"])
    record = LogRecord(
        line["partition"],
        line["offset"],
        line["timestamp_ms"],
        _bytes(line["key_b64"]),
        _bytes(line["value_b64"]),
        headers,
    )
    return Produced(line["topic"], record, line["kind"], line["poison"], line["aborted"])


def _payments(line: Line) -> Iterator[Payment]:
    for text, tokens in line["inputs"]:
        yield Payment(line["at"], line["worker"], line["answered"], text, tokens, line.get("fault"), line["began"])


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)
