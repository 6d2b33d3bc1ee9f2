"""Reads everything and lets each invariant judge. The campaign has healed, its lag is 0, nothing more is produced."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdrant_client import AsyncQdrantClient

from chaos.checker.billing import Bill, births_of, check_bill, troubles
from chaos.checker.broker import committed, log_ends, read_topic
from chaos.checker.contents import Contents, Stale, check_contents
from chaos.checker.course import check_bounds, check_campaign, check_lag
from chaos.checker.dead_letters import Letter, check_letters, places_of, read_letters
from chaos.checker.events import LogRecord, Place, Ranked, Ranking, decodable, histories
from chaos.checker.evidence import Evidence, read_evidence, read_watched
from chaos.checker.report import Report
from chaos.checker.secrets import check_secrets
from chaos.checker.settled import Passed, check_commits, check_outcomes, seen_by_watch
from chaos.checker.store import Held, opened_store, read_store
from chaos.checker.tenure import Tenures
from chaos.checker.vectors import check_vectors
from chaos.checker.verify import run_verify

SWEEPS_S = 25.0  # beyond the request horizon: a sweep that met a fault comes again within the longest backoff
LOOK_AGAIN_S = 2.0
WATCH_LIMIT_S = 60.0


async def judge(run_dir: Path) -> Report:
    """Judge a run. Its services still stand; its workers may.

    Raises OSError and ValueError for a directory that is none, and the clients' errors when a service does not answer.
    """
    evidence = await asyncio.to_thread(read_evidence, run_dir)
    run = evidence.run
    topic = await _read_topic(run)
    await _until_watched(evidence, topic.settled)
    async with opened_store(run["qdrant"]["grpc_port"]) as client:
        return await _Judgement(evidence, topic, client).all()


@dataclass(frozen=True, slots=True)
class Topic:
    """What Kafka has of the campaign."""

    records: Sequence[LogRecord]
    dead_letters: Sequence[Letter]
    ends: Mapping[int, int]
    committed: Mapping[int, int]

    @property
    def settled(self) -> int:
        """How many records the commits have passed."""
        return sum(record.offset < self.committed.get(record.partition, 0) for record in self.records)


async def _read_topic(run: Mapping[str, Any]) -> Topic:
    bootstrap, name = run["kafka"], run["topic"]
    at = await committed(bootstrap, run["group"], name)  # before the log: what is committed must stand there
    records = await read_topic(bootstrap, name)
    dead_letters = read_letters(await read_topic(bootstrap, run["dead_letter_topic"]), name)
    return Topic(records, dead_letters, await log_ends(bootstrap, name), at)


async def _until_watched(evidence: Evidence, settled: int) -> None:
    """The watch may have met trouble at last, and comes a little later: how much later stands in the figures."""
    deadline = time.monotonic() + WATCH_LIMIT_S
    while seen_by_watch(evidence.watched) < settled and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_AGAIN_S)
        evidence.watched = read_watched(evidence.path)


def poisoned_places(
    evidence: Evidence, records: Sequence[LogRecord], ranked: Mapping[Place, Ranked]
) -> dict[Place, str]:
    """The poisoned records that stand in the topic, and their kinds.

    A record whose acknowledgement was lost is in no file: it is poison when it is no event, or when it has the marker
    of what the stand-in for Jina refuses.
    """
    marker = evidence.run.get("refused_marker", "").encode()
    found: dict[Place, str] = {}
    for record in records:
        meant = evidence.produced.get(record.place)
        if meant is not None and meant.poison:
            found[record.place] = meant.kind
        elif meant is None and record.place not in ranked:
            found[record.place] = "not acknowledged, no event"
        elif meant is None and marker and marker in (record.value or b""):
            found[record.place] = "refused"
    return found


class _Judgement:
    """One judgement. What several invariants need is worked out once."""

    def __init__(self, evidence: Evidence, topic: Topic, client: AsyncQdrantClient) -> None:
        self._evidence = evidence
        self._topic = topic
        self._client = client
        self._collection: str = evidence.run["qdrant"]["collection"]
        self._report = Report()
        self._lettered = places_of(topic.dead_letters)
        self._tenures = Tenures(evidence.log, evidence.events)

    async def all(self) -> Report:
        """Every invariant."""
        held = await self._read()
        schema = next((item for item in held.bookkeeping if item["kind"] == "schema"), None)
        if schema is None or schema["order"] != self._evidence.run.get("order", "offset"):
            self._report.violate("I0", "the collection is of another order than the campaign's, or of none")
            return self._report
        self._ranking = Ranking(schema["order"], held.bases(self._evidence.run["topic"]))
        ranked = {each.record.place: each for each in decodable(self._topic.records, self._ranking)}
        poisoned = poisoned_places(self._evidence, self._topic.records, ranked)
        self._histories = histories(ranked.values(), self._lettered | poisoned.keys())
        self._judge_log(held, ranked, poisoned)
        await self._judge_contents(held, schema["fingerprint"])
        return self._report

    async def _read(self) -> Held:
        return await read_store(self._client, self._collection)

    def _judge_log(self, held: Held, ranked: Mapping[Place, Ranked], poisoned: Mapping[Place, str]) -> None:
        """All but I2: what the files and the topics tell, with the manifests as they are now."""
        evidence, topic, report = self._evidence, self._topic, self._report
        no_events = [record.place for record in topic.records if record.place not in ranked]
        report.take("I0", check_campaign(evidence.events, evidence.produced, topic.records, no_events))
        report.take("I1", check_outcomes(topic.records, topic.committed, self._lettered, held, self._ranking))
        overtaken = [place for place in poisoned if place in ranked and self._overtaken(ranked[place], held)]
        report.take("I3", check_letters(topic.dead_letters, topic.records, poisoned, topic.committed, overtaken))
        report.take(
            "I4", check_commits(evidence.commits, topic.ends, topic.dead_letters, evidence.watched, topic.settled)
        )
        report.take("I5", check_lag(evidence.events, topic.committed, topic.ends))
        report.take("I6", check_bounds(evidence.samples))
        unindexable = [each for place, each in ranked.items() if place in self._lettered or place in poisoned]
        report.take("I7", self._check_bill(unindexable))
        files = [file for file in sorted((evidence.path / "workers").rglob("*")) if file.is_file()]
        report.take("I8", check_secrets(evidence.run["canaries"], files, topic.dead_letters))

    def _overtaken(self, poison: Ranked, held: Held) -> bool:
        manifests = held.manifests.get(poison.event.document_id, ())
        return any(self._ranking.stored(manifest.payload)[0] > poison.rank for manifest in manifests)

    def _check_bill(self, unindexable: Sequence[Ranked]) -> Report:
        evidence = self._evidence
        births = births_of(self._histories.values(), unindexable)
        bill = Bill(births, Passed(evidence.commits), self._tenures, troubles(evidence.events))
        workers = [event["worker"] for event in evidence.happened("worker_started")]
        return check_bill(evidence.payments, evidence.answers, workers, births, bill)

    # --- I2 -------------------------------------------------------------------------------------------------------

    async def _judge_contents(self, held: Held, fingerprint: Mapping[str, Any]) -> None:
        contents = await self._swept(self._check(held))
        report = contents.report
        self._explain(contents.stale, report)
        vectors = await check_vectors(self._client, self._collection, fingerprint)
        report.violations += vectors.violations
        report.figures |= vectors.figures
        await self._verify(contents.stale, report)
        self._report.take("I2", report)

    async def _swept(self, contents: Contents) -> Contents:
        """A worker that gave a request up sweeps its document when that can have landed: such sweeps may be to come.

        They are waited for as long as old points are all that is wrong.
        """
        deadline = time.monotonic() + self._evidence.run["request_horizon_s"] + SWEEPS_S
        while contents.stale and contents.report.ok and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_AGAIN_S)
            contents = self._check(await self._read())
        return contents

    def _check(self, held: Held) -> Contents:
        return check_contents(self._evidence.run["topic"], self._histories, held, self._ranking)

    def _explain(self, stale: Sequence[Stale], report: Report) -> None:
        """What is left behind needs a death that explains it."""
        report.figures["remainder"] = len(stale)
        for point in stale:
            if self._tenures.explains(point) is None:
                place = point.partition, point.offset
                report.violate("I2", "an old point that no death explains", document=point.document_id, place=place)

    async def _verify(self, stale: Sequence[Stale], report: Report) -> None:
        """The remainder goes by `verify --repair`. What is broken is not repaired: it is evidence."""
        repair = bool(stale) and report.ok
        code, told = await run_verify(self._evidence.run["environment"], repair=repair)
        differences = {kind: found["count"] for kind, found in told["differences"].items()}
        report.figures["verify"] = {"code": code, "differences": differences}
        if report.ok and code:
            report.violate("I2", "verify sees what the checker does not", code=code)
        if repair:
            after = self._check(await self._read())
            report.violations += after.report.violations
            report.figures["repaired"] = {name: done for name, done in told["repair"].items() if name != "before"}
            if after.stale:
                report.violate("I2", "verify --repair leaves old points behind", points=len(after.stale))
