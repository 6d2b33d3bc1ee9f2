"""The committer: when it commits, in which order, and what it does about failures and revocations."""

import asyncio
from collections.abc import Mapping

import pytest
import structlog
from prometheus_client import generate_latest

from harness.bounds import Bound, set_bound
from streamdex.errors import AccountFault, Service, ServiceFault
from streamdex.model import Outcome, Partition
from streamdex.settle import Committer, Ledger, Mark
from streamdex.telemetry import Metrics

A, B = Partition("documents", 0), Partition("documents", 1)


class Clock:
    """Virtual time: `sleep` moves it on, and stops the loop after so many ticks."""

    def __init__(self, ticks: int = 0) -> None:
        self.now = 0.0
        self._ticks = ticks

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if self._ticks == 0:
            raise asyncio.CancelledError
        self._ticks -= 1
        self.now += seconds


class Fixture:
    def __init__(self, ticks: int = 0, session_timeout_s: float = 9.0) -> None:
        self.ledger = Ledger()
        self.metrics = Metrics()
        self.calls: list[tuple[str, dict[Partition, int]]] = []
        self.commit_fault: Exception | None = None
        self.progress_fault: Exception | None = None
        self.clock = Clock(ticks)
        self.committer = Committer(
            self.ledger,
            self.commit,
            session_timeout_s,
            self.metrics,
            self.write_progress,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        self.calls.append(("commit", dict(offsets)))
        if self.commit_fault:
            raise self.commit_fault

    async def write_progress(self, marks: Mapping[Partition, Mark]) -> None:
        self.calls.append(("progress", {p: m.offset for p, m in marks.items()}))
        if self.progress_fault:
            raise self.progress_fault

    async def run(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            await self.committer.run()

    def settle(self, partition: Partition, offset: int) -> None:
        tracker = self.ledger.tracker(partition) or self.ledger.assign(partition, 0)
        tracker.open(offset).settle(Outcome.INDEXED)

    def count(self, result: str) -> float:
        for line in generate_latest(self.metrics.registry).decode().splitlines():
            if line.startswith(f'streamdex_commits_total{{result="{result}"}}'):
                return float(line.split()[-1])
        return 0.0


async def test_progress_goes_before_the_commit() -> None:
    f = Fixture()
    f.settle(A, 0)
    assert await f.committer.commit_now()
    assert f.calls == [("progress", {A: 1}), ("commit", {A: 1})]
    assert f.count("ok") == 1


async def test_partitions_that_did_not_move_are_committed_along_but_write_no_progress() -> None:
    f = Fixture()
    f.ledger.assign(B, 7)
    await f.committer.commit_now()
    f.settle(A, 0)
    await f.committer.commit_now()
    assert f.calls == [
        ("progress", {B: 7}),  # the first commit of an assignment tells where it started
        ("commit", {B: 7}),
        ("progress", {A: 1}),
        ("commit", {A: 1, B: 7}),
    ]


async def test_nothing_is_sent_without_partitions() -> None:
    f = Fixture(ticks=5)
    await f.run()
    assert f.calls == []
    assert f.committer.last_accepted_s is None


async def test_a_failed_progress_write_withholds_the_commit() -> None:
    f = Fixture()
    f.settle(A, 0)
    f.progress_fault = ServiceFault(Service.QDRANT, "unavailable")
    assert not await f.committer.commit_now()
    assert [name for name, _ in f.calls] == ["progress"]
    f.progress_fault = None
    assert await f.committer.commit_now()
    assert f.calls[-1] == ("commit", {A: 1})
    assert (f.count("ok"), f.count("failed")) == (1, 1)


@pytest.mark.parametrize(
    "fault", [ServiceFault(Service.KAFKA, "no coordinator"), AccountFault(Service.KAFKA, "no right", "Grant it.")]
)
async def test_a_failed_commit_is_counted_and_tried_again_at_the_next_tick(fault: Exception) -> None:
    f = Fixture(ticks=3)
    f.settle(A, 0)
    f.commit_fault = fault
    await f.run()
    assert [name for name, _ in f.calls] == ["progress", "commit"] * 3
    assert f.count("failed") == 3
    assert f.committer.last_accepted_s is None


async def test_an_outage_is_told_once_for_each_reason_and_again_after_a_commit_was_accepted() -> None:
    f = Fixture()
    f.settle(A, 0)
    told = []
    for fault in ("unavailable", "unavailable", "takes too long", "unavailable", None, "unavailable"):
        f.settle(A, len(f.calls) + 1)
        f.progress_fault = ServiceFault(Service.QDRANT, fault) if fault else None
        with structlog.testing.capture_logs() as logs:
            await f.committer.commit_now()
        told.append([line["event"] for line in logs])
    assert told == [["commit.failed"], [], ["commit.failed"], [], [], ["commit.failed"]]
    assert (f.count("ok"), f.count("failed")) == (1, 5)


async def test_an_idle_partition_is_committed_every_third_of_the_session() -> None:
    f = Fixture(ticks=10, session_timeout_s=9.0)
    f.ledger.assign(A, 5)
    await f.run()
    assert f.calls == [("progress", {A: 5})] + [("commit", {A: 5})] * 4  # after 1, 4, 7 and 10 s
    assert f.committer.last_accepted_s == 10.0


async def test_a_moving_partition_is_committed_every_second() -> None:
    f = Fixture(ticks=1)
    for offset in range(3):
        f.settle(A, offset)
        f.clock._ticks = 1
        await f.run()
    assert [offsets for name, offsets in f.calls if name == "commit"] == [{A: 1}, {A: 2}, {A: 3}]


async def test_a_partition_revoked_while_progress_is_written_is_not_committed() -> None:
    f = Fixture()
    f.settle(A, 0)
    f.settle(B, 0)

    async def revoke_meanwhile(_: Mapping[Partition, Mark]) -> None:
        f.ledger.revoke([A])

    committer = Committer(f.ledger, f.commit, 9.0, f.metrics, revoke_meanwhile)
    await committer.commit_now()
    assert f.calls == [("commit", {B: 1})]


async def test_a_partition_assigned_anew_while_progress_is_written_is_not_committed_by_its_old_tracker() -> None:
    f = Fixture()
    f.settle(A, 9)

    async def assign_meanwhile(_: Mapping[Partition, Mark]) -> None:
        f.ledger.assign(A, 0)

    committer = Committer(f.ledger, f.commit, 9.0, f.metrics, assign_meanwhile)
    assert await committer.commit_now()
    assert f.calls == []
    assert f.ledger.marks()[A].offset == 0


async def test_without_a_progress_writer_the_commit_stands_alone() -> None:
    f = Fixture()
    f.settle(A, 0)
    await Committer(f.ledger, f.commit, 9.0, f.metrics).commit_now()
    assert f.calls == [("commit", {A: 1})]


async def test_commits_do_not_overlap() -> None:
    f = Fixture()
    f.settle(A, 0)
    inside = 0
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(_: Mapping[Partition, int]) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        entered.set()
        await release.wait()
        inside -= 1

    committer = Committer(f.ledger, slow, 9.0, f.metrics)
    both = asyncio.gather(committer.commit_now(), committer.commit_now())
    await entered.wait()
    release.set()
    assert all(await both)


async def test_a_store_that_hangs_does_not_hold_the_commit_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, Bound.PROGRESS_TIMEOUT_S, 0.01)
    f = Fixture()
    f.settle(A, 0)
    hung = asyncio.Event()

    async def hang(_: Mapping[Partition, Mark]) -> None:
        hung.set()
        await asyncio.Event().wait()

    assert not await Committer(f.ledger, f.commit, 9.0, f.metrics, hang).commit_now()
    assert hung.is_set()
    assert f.calls == []


async def test_a_bug_in_the_callbacks_is_not_swallowed() -> None:
    f = Fixture()
    f.settle(A, 0)
    f.commit_fault = KeyError("bug")
    with pytest.raises(KeyError):
        await f.committer.commit_now()
