"""The smaller parts of the stage: hooks, the group's offsets, how faults are conducted, the ledger."""

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.faults import conduct
from chaos.group_offsets import Commit, GroupOffsets, decode_commit
from chaos.hooked_worker import STEPS, Hand
from chaos.ledger import MUST_FIRE_AFTER, Ledger
from chaos.run_directory import RunDirectory
from harness.kafka import Isolation, Kafka
from streamdex.model import Partition

ROOT = Path(__file__).parents[3]


def test_every_step_is_a_method_of_the_product() -> None:
    assert all(callable(getattr(owner, name)) for owner, name in STEPS.values())


def test_a_hand_without_an_order_does_nothing(tmp_path: Path) -> None:
    hand = Hand("w", tmp_path / "w.order", tmp_path / "events.jsonl")
    hand.at("plan", "before")
    (tmp_path / "w.order").write_text("plan after")
    hand.at("plan", "before")
    assert not (tmp_path / "events.jsonl").exists()


def test_a_hand_kills_where_it_was_told_to_and_leaves_proof(tmp_path: Path) -> None:
    (tmp_path / "w.order").write_text("plan before")
    script = (
        "from pathlib import Path; from chaos.hooked_worker import Hand; import sys;"
        "Hand('w', Path(sys.argv[1], 'w.order'), Path(sys.argv[1], 'events.jsonl')).at('plan', 'before')"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    ended = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", script, str(tmp_path)], env=environment, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "w.fired").exists()
    line = json.loads((tmp_path / "events.jsonl").read_text())
    assert (line["kind"], line["step"], line["moment"], line["worker"]) == ("hook_fired", "plan", "before", "w")


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def test_commits_are_read_from_kafkas_own_topic() -> None:
    key = struct.pack(">h", 1) + _string("group") + _string("topic") + struct.pack(">i", 4)
    value = struct.pack(">hqi", 3, 17, -1) + _string("") + struct.pack(">q", 0)
    assert decode_commit(key, value, 1_500) == Commit("group", "topic", 4, 17, 1.5)
    assert decode_commit(key, None, 0) is None  # an offset that was deleted
    assert decode_commit(struct.pack(">h", 2) + _string("group"), b"member data", 0) is None


class _GrowingLog(Kafka):
    """A log of one partition that holds an open transaction: its marker comes between the first look and the second."""

    ends = iter((182, 183, 183))

    async def end_offsets(self, topic: str, isolation: Isolation = "read_uncommitted") -> dict[Partition, int]:
        return {Partition(topic, 0): next(self.ends)}


async def test_a_transactions_marker_that_comes_after_the_last_record_is_neither_missed_nor_a_negative_lag(
    tmp_path: Path,
) -> None:
    offsets, kafka = GroupOffsets(RunDirectory(tmp_path), "nowhere:1", "group", "topic"), _GrowingLog("nowhere:1")
    offsets.latest = {0: 183}
    assert await offsets.lag(kafka) == {0: 0}, "committed since the ends were told"
    offsets.latest = {0: 182}
    assert await offsets.lag(kafka) == {0: 1}, "the marker is there now, and has to be committed as well"
    offsets.latest = {}
    assert await offsets.lag(kafka) == {0: 183}


class Scripted:
    """A fault that fires when it has been asked so often."""

    def __init__(self, fires_after: int, *, possible: bool = True) -> None:
        self._asked = 0
        self._fires_after = fires_after
        self._possible = possible
        self.ended = 0

    async def start(self) -> bool:
        return self._possible

    async def hits(self) -> int:
        self._asked += 1
        return int(self._asked > self._fires_after)

    async def end(self) -> None:
        self.ended += 1


@pytest.mark.parametrize(("fault", "hits"), [(Scripted(0), 1), (Scripted(2), 1), (Scripted(0, possible=False), None)])
async def test_a_fault_is_waited_for_and_always_ended(fault: Scripted, hits: int | None) -> None:
    assert await conduct(fault, 0.0, asyncio.Event()) == hits
    assert fault.ended == 1


async def test_healing_ends_a_fault_that_has_not_fired() -> None:
    calm = asyncio.Event()
    calm.set()
    fault = Scripted(10)
    assert await conduct(fault, 60.0, calm) == 0
    assert fault.ended == 1


def test_a_kind_that_never_fires_is_told() -> None:
    ledger = Ledger()
    for _ in range(MUST_FIRE_AFTER - 1):
        ledger.note_fault("killed", 0)
    for _ in range(10):
        ledger.note_fault("frozen", 1)
    assert ledger.silent() == []
    ledger.note_fault("killed", 0)
    assert ledger.silent() == [f"killed: set {MUST_FIRE_AFTER} times, never fired"]


def test_too_few_faults_that_fired_are_told() -> None:
    ledger = Ledger()
    for hits in (1, 0, 0):
        ledger.note_fault("killed", hits)
    ledger.note_fault("frozen", None)  # could not be set: nobody was there
    assert ledger.silent() == ["only 1 of 3 faults fired"]


def test_ledgers_add_up_also_through_a_file() -> None:
    first, second = Ledger(seeds=[1], rounds=2), Ledger(seeds=[2], rounds=3, violations=["I1: x"])
    first.note_fault("killed", 2)
    second.note_fault("killed", 3)
    second.note_fault("frozen", 0)
    total = Ledger()
    for each in (first, second):
        total.add(Ledger.from_json(each.as_json()))
    assert (total.seeds, total.rounds, total.violations) == ([1, 2], 5, ["I1: x"])
    assert (total.fired["killed"], total.hits["killed"], total.scheduled["frozen"]) == (2, 5, 1)
