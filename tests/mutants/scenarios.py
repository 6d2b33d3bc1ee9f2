"""The scenarios that mutants are held against: each ends well with the shipped code."""

import asyncio
from typing import Any

import pytest

from mutants.judge import held
from mutants.kafka_group import P, Q
from mutants.mutant import Violation, Wrong
from mutants.stage import BOUND, LOOK_EVERY_S, Stage
from streamdex.index.schema.payload import check_payload
from streamdex.model import Partition
from streamdex.standins.jina import JinaFaultKind
from streamdex.standins.qdrant import FaultKind, QdrantFault

POINTS = frozenset({"Points.UpdateBatch"})
REFUSED = "a text that the service refuses"


def text_of(document: str) -> str:
    """A text that belongs to no other document."""
    return f"all there is to say about {document}"


def produce(stage: Stage, partition: Partition, *documents: str) -> None:
    """One new event for each document."""
    for document in documents:
        stage.produce(partition, document, text_of(document))


async def a_slow_record_in_front(stage: Stage) -> None:
    """The first record's embedding hangs, those behind it come to their end, and the worker dies."""
    hang = stage.jina.inject(JinaFaultKind.HANG, match=text_of("slow"))
    worker = await stage.start("a", P, Q)
    produce(stage, P, "slow")
    await stage.until(lambda: hang.fired)
    produce(stage, P, "x", "y", "z")
    await stage.until(lambda: len(held(stage.engine).manifests) == 3)
    produce(stage, Q, "elsewhere")
    await stage.until(lambda: stage.group.committed.get(Q) == 1)  # whatever P's commit is, it has been sent along
    await worker.kill()
    stage.jina.faults.clear()
    await stage.start("b", P, Q)
    await stage.until_settled()


async def a_write_that_hangs(stage: Stage) -> None:
    """The first write is not answered while another document's is, and the worker dies."""
    worker = await stage.start("a", P, Q)
    held_up = asyncio.Event()

    async def hang(method: str, _: Any) -> None:
        if method == "Points.UpdateBatch" and not held_up.is_set():
            held_up.set()
            await asyncio.Event().wait()

    worker.service.before = hang
    produce(stage, P, "x")
    await stage.until(held_up.is_set)
    produce(stage, Q, "elsewhere")
    await stage.until(lambda: stage.group.committed.get(Q) == 1)
    await worker.kill()
    await stage.start("b", P, Q)
    await stage.until_settled()


async def a_write_that_is_only_accepted(stage: Stage) -> None:
    """Qdrant answers that it has not finished the first write, twice; it lands when it likes, or never."""
    worker = await stage.start("a", P)
    fault = worker.service.faults.inject(QdrantFault(FaultKind.WAIT_TIMEOUT, POINTS, times=2))
    produce(stage, P, "x", "y")
    await stage.until(lambda: fault.fired == 2)
    await stage.until_settled()


async def a_store_that_is_away(stage: Stage) -> None:
    """Qdrant cannot be reached for a while."""
    worker = await stage.start("a", P)
    produce(stage, P, "known")
    await stage.until(lambda: stage.group.settled)
    fault = worker.service.faults.inject(QdrantFault(FaultKind.UNAVAILABLE, POINTS, times=3))
    produce(stage, P, "x", "y", "z")
    await stage.until(lambda: fault.fired)
    await stage.until_settled()
    assert fault.fired == 3


async def a_store_that_refuses_everything(stage: Stage) -> None:
    """Qdrant takes no write for a while, as with a collection that somebody has changed."""
    worker = await stage.start("a", P)
    fault = worker.service.faults.inject(QdrantFault(FaultKind.BAD_POINT, POINTS, times=12))
    produce(stage, P, "x", "y", "z")
    await stage.until(lambda: fault.fired == 12)
    await stage.until_settled()


async def a_store_whose_refusals_end(stage: Stage) -> None:
    """Qdrant refuses one write, of one document alone, and takes the next one, which is the canary's."""
    worker = await stage.start("a", P)
    fault = worker.service.faults.inject(QdrantFault(FaultKind.BAD_POINT, POINTS, times=1))
    produce(stage, P, "x")
    await stage.until(lambda: fault.fired == 1)
    await stage.until_settled()


async def an_embedder_that_is_away(stage: Stage) -> None:
    """Every request to the embedding service fails for a while."""
    fault = stage.jina.inject(JinaFaultKind.STATUS, "503", times=12)
    await stage.start("a", P)
    produce(stage, P, "x", "y", "z")
    await stage.until(lambda: fault.fired == 12)
    await stage.until_settled()


async def an_embedder_that_is_busy(stage: Stage) -> None:
    """The first requests are refused because a limit of the key is reached."""
    fault = stage.jina.inject(JinaFaultKind.STATUS, "429:RATE_REQUEST_LIMIT_EXCEEDED", times=3)
    await stage.start("a", P)
    produce(stage, P, "x", "y", "z")
    await stage.until(lambda: fault.fired)
    await stage.until_settled()
    assert fault.fired == 3


async def answers_in_another_order(stage: Stage) -> None:
    """The service may give the vectors of a request in any order."""
    fault = stage.jina.inject(JinaFaultKind.SHUFFLED)
    stage.jina_open.clear()
    await stage.start("a", P)
    produce(stage, P, "first")
    await stage.until(lambda: stage.jina.in_flight)
    produce(stage, P, *(f"document {number}" for number in range(8)))  # these share a request
    stage.jina_open.set()
    await stage.until_settled()
    assert fault.fired


async def a_partition_that_moves(stage: Stage) -> None:
    """Of two partitions one goes to another worker; both go on with what they have."""
    await stage.start("a", P, Q)
    produce(stage, P, "x")
    produce(stage, Q, "y")
    await stage.until(lambda: stage.group.settled)
    await stage.start("b")
    await stage.group.deal({"a": [Q], "b": [P]})
    produce(stage, P, "x", "z")
    produce(stage, Q, "y", "w")
    await stage.until_settled()


async def a_member_that_is_expelled(stage: Stage) -> None:
    """A worker is not told that the group has given it up, and goes on beside its successor."""
    zombie = await stage.start("a", P)
    stage.jina_open.clear()
    produce(stage, P, "x")
    await stage.until(lambda: stage.jina.in_flight)
    zombie.member.expel()
    await stage.start("b")
    await stage.group.deal({"b": [P]})
    await stage.until(lambda: stage.jina.in_flight == 2)
    stage.jina_open.set()
    await stage.until_settled()
    failed = "streamdex_commits_total", {"result": "failed"}
    await stage.until(lambda: zombie.worker.metrics.registry.get_sample_value(*failed))
    await stage.look()


async def a_partition_that_leaves_while_it_is_paid_for(stage: Stage) -> None:
    """A rebalance begins while a text is being embedded."""
    await stage.start("a", P)
    await stage.start("b")
    stage.jina_open.clear()
    produce(stage, P, "x")
    await stage.until(lambda: stage.jina.in_flight == 1)
    moving = asyncio.create_task(stage.group.deal({"a": [], "b": [P]}))
    await asyncio.wait({moving}, timeout=100 * LOOK_EVERY_S)
    if moving.done():
        await stage.until(lambda: stage.jina.in_flight == 2)
    stage.jina_open.set()
    await moving
    await stage.until_settled()
    if stage.jina.stats.times_embedded(text_of("x")) != 1:
        raise Violation(Wrong.PAID_TWICE)


async def a_drain_that_is_cut(stage: Stage) -> None:
    """A request is under way when the partition leaves, and fails afterwards: that worker is not to try again."""
    stage.jina.inject(JinaFaultKind.STATUS, "503", times=1)
    stage.jina_open.clear()
    first = await stage.start("a", P, drain_timeout_s=0.05)
    produce(stage, P, "x")
    await stage.until(lambda: stage.jina.in_flight == 1)
    await stage.start("b")
    await stage.group.deal({"a": [Q], "b": [P]})
    stage.jina_open.set()
    produce(stage, Q, "elsewhere")  # when that has passed, what failed before is tried again
    await stage.until_settled()
    await stage.until(lambda: not first.requests_to_come)
    if stage.jina.stats.times_embedded(text_of("x")) != 1:
        raise Violation(Wrong.PAID_TWICE)


async def a_rebalance_while_nothing_moves(stage: Stage) -> None:
    """The embedding service hangs, the partition is full, and a rebalance gives it back to the same worker."""
    stage.jina_open.clear()
    worker = await stage.start("a", P, drain_timeout_s=0.05)
    produce(stage, P, *(f"document {number}" for number in range(3 * BOUND)))
    for _ in range(2):
        await stage.until(lambda: worker.member.fetched > BOUND // 2)
        polls = stage.group.polls
        await stage.until(lambda: stage.group.polls > polls + 50 or worker.member.fetched > BOUND)  # noqa: B023  # at once
        if worker.member.fetched > BOUND:
            raise Violation(Wrong.UNBOUNDED, f"{worker.member.fetched} records, the bound is {BOUND}")
        await stage.group.deal({"a": [P]})
    stage.jina_open.set()
    await stage.until_settled()


async def a_member_that_becomes_idle(stage: Stage) -> None:
    """All partitions go to another worker; the judge adds up the shares all the time."""
    first = await stage.start("a", P, Q)
    produce(stage, P, "x")
    await stage.until(lambda: first.share == 1)
    second = await stage.start("b")
    await stage.group.deal({"a": [], "b": [P, Q]})
    produce(stage, Q, "y")
    await stage.until_settled()
    await stage.until(lambda: second.share == 1)
    await stage.look()


async def letters_that_are_refused(stage: Stage) -> None:
    """The dead-letter topic takes nothing for a while; then letters are as their records were."""
    stage.group.letters_to_refuse = 5
    await stage.start("a", P, Q)
    stage.produce_poison(P, b'{"id":  1.5, "text": "spaces and all"}', (("own", b"\xff"), ("own", None)))
    await stage.until(lambda: stage.group.letters_refused == 3)
    produce(stage, P, "x")
    produce(stage, Q, "elsewhere")
    await stage.until(lambda: stage.group.committed.get(Q) == 1)
    await stage.until_settled()


async def a_poisoned_event_that_swallowed_a_good_one(stage: Stage) -> None:
    """Two events wait behind the one in flight: the newest takes the other along, and then is refused."""
    stage.jina.inject(JinaFaultKind.REFUSE, REFUSED)
    stage.jina_open.clear()
    await stage.start("a", P)
    stage.produce(P, "x", "the first text")
    await stage.until(lambda: stage.jina.in_flight)
    stage.produce(P, "x", "the second text")
    stage.produce_poison(P, b'{"id": "x", "text": "%s"}' % REFUSED.encode())
    await stage.until(lambda: stage.workers["a"].member.fetched == 3)
    stage.jina_open.set()
    await stage.until_settled()


async def a_collection_that_is_new(stage: Stage) -> None:
    """The group has committed everything, and the collection holds nothing of it, as after it was deleted."""
    produce(stage, P, "x", "y")
    stage.group.committed[P] = 2
    await stage.start("a", P)
    await stage.until(lambda: stage.workers["a"].share)  # the first commit has been accepted
    await stage.until(lambda: stage.group.settled)
    await stage.until_settled()


async def a_bug_that_every_record_meets(stage: Stage) -> None:
    """A mistake of ours that is no record's fault: every plan fails for a while, and then none."""
    failures = [0]

    def fail(*arguments: Any) -> bytes:
        if failures[0] < 60:
            failures[0] += 1
            raise ValueError("a bug")
        return check_payload(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamdex.index.writer.check_payload", fail)
        await stage.start("a", P)
        produce(stage, P, *(f"document {number}" for number in range(4)))
        await stage.until(lambda: failures[0] == 60)
        await stage.until_settled()
