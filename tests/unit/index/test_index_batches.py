"""Batches as the flow makes them: many documents at once, one of them bad, requests that are too large."""

from collections.abc import Iterator

import pytest

from harness.protocol.deployments import PARTITIONS, made_engine
from harness.protocol.worker import Worker
from harness.protocol.world import World, world
from oracle.protocol_fold import differences, event_of
from streamdex.model import Order
from streamdex.standins.qdrant import Engine, FaultKind, QdrantFault

P, Q = PARTITIONS


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with made_engine() as made:
        yield made


def owner(w: World) -> Worker:
    worker = w.start("A")
    for partition in PARTITIONS:
        w.assign(worker, partition)
    return worker


def run_to_the_end(w: World, a: Worker) -> list[int]:
    """Everything in the log; answers how many points each request of points held."""
    points = []
    while any(a.accept(partition, 1_000) for partition in PARTITIONS) or a.asked:
        points += [sum(len(one.upsert.points) for one in r.request.operations) for r in a.asked if r.step == "points"]
        a.answer_all()
    w.commit(a)
    assert w.committed == {partition: len(log) for partition, log in w.log.items()}
    return points


def test_two_hundred_documents_of_one_chunk(engine: Engine) -> None:
    with world(engine, Order.OFFSET, bound=1_000) as w:
        for number in range(200):
            w.produce(P, event_of(f"document {number}", "d"))
        points = run_to_the_end(w, owner(w))
        assert sum(points) == 200
        assert max(points) == 128
        assert differences(w) == []


def test_of_two_documents_of_a_hundred_chunks_one_changes(engine: Engine) -> None:
    with world(engine, Order.OFFSET, bound=1_000) as w:
        a = owner(w)
        w.produce(P, event_of("x", "de" * 50, m=1))
        w.produce(P, event_of("y", "de" * 50, m=1))
        assert run_to_the_end(w, a) == [128, 72]
        w.produce(P, event_of("x", "ed" * 50 + "f", m=2))
        assert sum(run_to_the_end(w, a)) == 1
        assert differences(w) == []


@pytest.mark.parametrize("order", Order)
def test_one_document_many_times_at_once(engine: Engine, order: Order) -> None:
    """Its lane lets one of its events through, which swallows the others; from two partitions, too."""
    with world(engine, order, bound=1_000) as w:
        for number in range(20):
            w.produce(PARTITIONS[number % 2], event_of("x", "def"[number % 3], m=number, version=number % 4))
        a = owner(w)
        for partition in PARTITIONS:
            a.accept(partition, 20)
        run_to_the_end(w, a)
        assert a.embedder.embedded_texts <= 2
        assert differences(w) == []


def test_requests_are_halved_until_they_are_small_enough(engine: Engine) -> None:
    with world(engine, Order.OFFSET, bound=1_000) as w:
        a = owner(w)
        too_large = a.service.faults.inject(QdrantFault(FaultKind.RATE_CAPACITY, capacity=10))
        for number in range(40):
            w.produce(P, event_of(f"document {number}", "d"))
        points = run_to_the_end(w, a)
        assert sum(points) == 40
        assert max(points) <= 10
        assert too_large.fired > 2
        assert differences(w) == []


def test_one_refused_document_does_not_hold_up_the_other(engine: Engine) -> None:
    with world(engine, Order.OFFSET, bound=1_000) as w:
        a = owner(w)
        w.produce(P, event_of("good", "de"))
        w.produce(P, event_of("bad", "d"))
        run_to_the_end(w, a)
        w.produce(P, event_of("good", "ef", m=1))
        w.produce(P, event_of("bad", "df") | {"metadata": {"why": "REFUSED"}})
        a.accept(P, 2)
        a.step("plan")
        run_to_the_end(w, a)
        assert [position.offset for position in w.dead_letters.sent] == [3]
        assert differences(w) == []
