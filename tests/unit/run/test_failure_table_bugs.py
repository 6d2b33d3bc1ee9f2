"""Whose fault? The last row of the failure table: bugs of ours, planted in each stage of a whole worker.

Counted and told without quoting what they met, tried again, then held against the record, by contrast; never fatal,
never settled in silence.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from harness.failures import MARK, POISON, produce, verdicts
from mutants.kafka_group import P, Q
from mutants.stage import Stage, played
from streamdex.embed.http.client import JinaClient
from streamdex.index import Writer
from streamdex.intake import Decoder
from streamdex.plan import Planner


def _marked(*arguments: Any) -> bool:
    return any(MARK in str(getattr(one, "text", one)) or MARK.encode() in _bytes(one) for one in arguments)


def _bytes(one: Any) -> bytes:
    return getattr(one, "value", None) or b""


def break_decoder(patch: pytest.MonkeyPatch, wrong: Callable[..., bool]) -> None:
    shipped = Decoder.decode

    def decode(self: Decoder, record: Any, epoch: int) -> Any:
        if wrong(record):
            raise KeyError("a bug that quotes its input")
        return shipped(self, record, epoch)

    patch.setattr(Decoder, "decode", decode)


def break_planner(patch: pytest.MonkeyPatch, wrong: Callable[..., bool]) -> None:
    shipped = Planner.plan

    def plan(self: Planner, event: Any, *others: Any) -> Any:
        if wrong(event):
            raise KeyError("a bug that quotes its input")
        return shipped(self, event, *others)

    patch.setattr(Planner, "plan", plan)


def break_client(patch: pytest.MonkeyPatch, wrong: Callable[..., bool]) -> None:
    shipped = JinaClient.embed

    async def embed(self: JinaClient, texts: Any, fields: Any) -> Any:
        if wrong(*texts):
            raise KeyError("a bug that quotes its input")
        return await shipped(self, texts, fields)

    patch.setattr(JinaClient, "embed", embed)


def break_writer(patch: pytest.MonkeyPatch, wrong: Callable[..., bool]) -> None:
    shipped = Writer.write

    async def write(self: Writer, batch: Any) -> Any:
        if wrong(*(job.write.event for job in batch)):
            raise KeyError("a bug that quotes its input")
        return await shipped(self, batch)

    patch.setattr(Writer, "write", write)


BUGS = {"decode": break_decoder, "plan": break_planner, "embed": break_client, "index": break_writer}


@pytest.mark.parametrize("at", BUGS)
def test_a_bug_that_one_record_meets_makes_it_a_suspect(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[at](monkeypatch, _marked)

    async def scenario(stage: Stage) -> None:
        worker = await stage.start("a", P, Q)
        stage.produce_poison(P, POISON)
        produce(stage, *(f"document {number}" for number in range(60)))
        await stage.until_settled()
        assert verdicts(stage) == {(at, "internal")}
        value = worker.worker.metrics.registry.get_sample_value
        told = [line for line in stage.lines if line["event"] == "internal.fault"]
        assert len(told) >= 5
        assert value("streamdex_internal_faults_total") == len(told)
        assert all(line["kind"] == "KeyError" and len(line["trace"]) == 8 for line in told)
        assert "quotes" not in str(told)

    played(scenario)()


@pytest.mark.parametrize("at", BUGS)
def test_a_bug_that_every_record_meets_is_waited_out(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [0]

    def wrong(*_: Any) -> bool:
        failures[0] += broken.is_set()
        return broken.is_set()

    broken = asyncio.Event()
    broken.set()
    BUGS[at](monkeypatch, wrong)

    async def scenario(stage: Stage) -> None:
        worker = await stage.start("a", P, Q)
        produce(stage, *(f"document {number}" for number in range(4)))
        await stage.until(lambda: failures[0] >= 40)
        assert stage.group.dead_letters == []
        assert sum(stage.group.committed.values()) == 0
        assert worker.running is not None
        assert not worker.running.done()
        broken.clear()
        await stage.until_settled()
        assert stage.group.dead_letters == []

    played(scenario)()
