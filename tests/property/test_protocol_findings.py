"""What random schedules of the write protocol have found, or led to, as schedules written by hand.

That each of its rules is needed is shown in tests/mutants. `A` and `B` are workers; `a.step("plan", "points")` lets two
requests of A through one after the other, and A then stands before its next one. What B does meanwhile is the race.
"""

from collections.abc import Iterator

import pytest

from harness.protocol.deployments import REFUSED, made_engine
from harness.protocol.scripts import P, Q, finish, owner
from harness.protocol.world import world
from oracle.protocol_fold import differences, event_of
from streamdex.model import Order
from streamdex.standins.qdrant import Engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with made_engine() as made:
        yield made


def test_an_owner_that_leaves_still_sees_to_its_unanswered_request(engine: Engine) -> None:
    with world(engine, Order.OFFSET) as w:
        a = owner(w, "A")
        w.produce(P, event_of("x", "d"))
        a.accept(P)
        a.step("plan").lose("points")
        w.pass_time()
        a.run()
        w.revoke(a, P)
        assert not a.owns(P)
        w.produce(P, event_of("x", "e"))
        b = owner(w, "B")
        b.accept(P, 2)
        b.run()
        w.commit(b)
        assert w.committed[P] == 2
        assert [late.worker for late in w.late] == [a]
        finish(w)
        assert differences(w) == []


def test_a_verdict_spares_what_an_older_event_is_about_to_list(engine: Engine) -> None:
    with world(engine, Order.VERSION) as w:
        w.produce(P, event_of("x", "d", version=1))
        w.produce(Q, event_of("x", "dU", version=2))
        a, b = owner(w, "A"), owner(w, "B", partition=Q)
        a.accept(P)
        a.step("plan", "points")
        b.accept(Q)
        b.run()
        assert len(w.dead_letters.sent) == 1
        finish(w)
        assert differences(w) == []


def test_a_verdict_after_its_partition_left_frees_the_document(engine: Engine) -> None:
    """The judgement ends when the drain has; the partition comes back, and its record is judged then."""
    with world(engine, Order.OFFSET) as w:
        a = owner(w, "A")
        w.produce(P, event_of("x", "d") | {"metadata": {"why": REFUSED}})
        a.accept(P)
        a.step("plan")
        assert [asked.step for asked in a.asked] == ["points"]  # the canary
        w.revoke(a, P)
        w.pass_time()
        assert not a.trackers
        finish(w)
        assert w.dead_letters.sent == []
        w.assign(a, P)
        a.accept(P)
        finish(w)
        assert len(w.dead_letters.sent) == 1
        assert differences(w) == []
        assert w.committed[P] == 1


def test_a_zombie_that_dies_leaves_chunks_until_the_next_event(engine: Engine) -> None:
    """Known not to heal by itself: nobody reads its event again, because the one that overtook it is settled."""
    with world(engine, Order.OFFSET) as w:
        w.produce(P, event_of("x", "d"))
        zombie = owner(w, "zombie")
        zombie.accept(P)
        zombie.step("plan")
        w.lose_silently(P)
        w.produce(P, event_of("x", "e"))
        heir = owner(w, "heir")
        heir.accept(P, 2)
        heir.run()
        w.commit(heir)
        zombie.step("points")
        w.kill(zombie, lands=lambda: False)
        finish(w)
        assert differences(w) == ["leftover: 1 points of x"]
        w.produce(P, event_of("x", "f"))
        heir.accept(P)
        finish(w)
        assert differences(w) == []


def test_an_older_deployment_after_a_dead_newer_one_leaves_chunks_until_the_next_event(engine: Engine) -> None:
    """Known not to heal by itself: ranks rise with deployments, so the dead one's chunks lie above the manifest."""
    with world(engine, Order.OFFSET) as w:
        w.produce(P, event_of("x", "a"))
        new = owner(w, "new", generation=1)
        new.accept(P)
        new.step("plan", "points")
        w.kill(new, lands=lambda: False)
        old = owner(w, "old")
        old.accept(P)
        finish(w)
        assert differences(w) == ["leftover: 2 points of x"]
        w.produce(P, event_of("x", "b"))
        old.accept(P)
        finish(w)
        assert differences(w) == []


def test_a_kept_chunk_that_another_generation_has_written_meanwhile_gets_its_whole_payload(engine: Engine) -> None:
    """Generation 1 stores text and metadata under other keys; A, of generation 0, has planned before it wrote."""
    with world(engine, Order.OFFSET, renamed=True) as w:
        w.produce(P, event_of("x", "d", m=0))
        a = owner(w, "A")
        a.accept(P)
        a.run()
        w.commit(a)
        w.produce(P, event_of("x", "d", m=1))
        w.produce(P, event_of("x", "d", m=2))
        a.accept(P, 2)
        a.step("plan")
        w.lose_silently(P)
        b = owner(w, "B", generation=1)
        b.accept(P)
        b.run()
        a.step("points", "kept", "points", "kept", "manifests")
        assert a.embedder.embedded_texts == 1
        finish(w)
        assert w.committed[P] == 2
        assert differences(w) == []
