"""Schedules of the write protocol, written by hand, for the mutants: each ends well with the shipped code.

Random schedules meet some of these once in ten thousand. `A` and `B` are workers; `a.step("plan", "points")` lets two
requests of A through one after the other, and A then stands before its next one. What B does meanwhile is the race.
"""

from collections.abc import Callable

from harness.protocol.scripts import P, Q, finish, owner
from harness.protocol.world import World, world
from mutants.mutant import Violation, Wrong
from mutants.shared_engine import shared_engine
from oracle.protocol_fold import differences, event_of
from streamdex.model import Order

REQUESTS = 6  # more than a write takes


def played(schedule: Callable[[World], None], order: Order = Order.OFFSET) -> Callable[[], None]:
    """The schedule in a world of its own."""

    def play() -> None:
        with world(shared_engine(), order) as w:
            schedule(w)
            wrong = differences(w)
            if wrong:
                raise Violation(Wrong.COLLECTION, "; ".join(wrong))
            assert w.committed == {partition: len(log) for partition, log in w.log.items()}

    return play


def an_old_insert_arrives_after_the_new_one(w: World) -> None:
    """Both events have the same chunk; the older one's request must not take it back in time."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d", m=1))
    a.accept(P)
    a.step("plan")
    w.lose_silently(P)
    w.produce(P, event_of("x", "d", m=2))
    b = owner(w, "B")
    b.accept(P, 2)
    b.run()
    finish(w)


def an_old_payload_arrives_after_the_new_one(w: World) -> None:
    """The chunk is kept by both events, and only the metadata changes."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d", m=0))
    a.accept(P)
    a.run()
    w.commit(a)
    w.produce(P, event_of("x", "d", m=1))
    a.accept(P)
    a.step("plan")
    w.lose_silently(P)
    w.produce(P, event_of("x", "d", m=2))
    b = owner(w, "B")
    b.accept(P, 2)
    b.run()
    finish(w)


def an_old_manifest_arrives_after_the_new_one(w: World) -> None:
    """The newer event is complete when the older one's manifest comes."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.accept(P)
    a.step("plan", "points")
    w.lose_silently(P)
    w.produce(P, event_of("x", "e"))
    b = owner(w, "B")
    b.accept(P, 2)
    b.run()
    finish(w)


def an_old_purge_arrives_after_the_new_chunks(w: World) -> None:
    """The purge of the older event must spare what the newer one has written."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.accept(P)
    a.step("plan", "points", "manifests", "read back")
    w.lose_silently(P)
    w.produce(P, event_of("x", "e"))
    b = owner(w, "B")
    b.accept(P, 2)
    b.run()
    finish(w)


def a_kept_chunk_vanishes(w: World) -> None:
    """A plans to keep what an event before its own, which it swallowed, deletes meanwhile in B's hands."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.accept(P)
    a.run()
    w.commit(a)
    w.produce(P, event_of("x", "e"))
    w.produce(P, event_of("x", "d", m=2))
    a.accept(P, 2)
    a.step("plan")
    w.lose_silently(P)
    b = owner(w, "B")
    b.accept(P)
    b.run()
    a.run()
    b.accept(P)
    finish(w)


def an_old_insert_arrives_after_the_new_purge(w: World) -> None:
    """The loser alone can see that its chunks came too late to be purged by the winner."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.accept(P)
    a.step("plan")
    w.lose_silently(P)
    w.produce(P, event_of("x", "e"))
    b = owner(w, "B")
    b.accept(P, 2)
    b.run()
    finish(w)


def an_overtaken_writer_dies(w: World) -> None:
    """It dies after its insert, which came after the winner's purge; whoever reads the event again cleans up."""
    w.produce(P, event_of("x", "d", version=1))
    w.produce(Q, event_of("x", "e", version=2))
    a, b = owner(w, "A"), owner(w, "B", partition=Q)
    a.accept(P)
    a.step("plan")
    b.accept(Q)
    b.run()
    a.step("points")
    w.kill(a, lands=lambda: False)
    owner(w, "C").accept(P)
    finish(w)


def a_writer_dies_before_its_purge(w: World) -> None:
    """Its event is complete but for the chunks of the one before."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.accept(P)
    a.run()
    w.commit(a)
    w.produce(P, event_of("x", "e"))
    a.accept(P)
    a.step("plan", "points", "manifests", "read back")
    w.kill(a, lands=lambda: False)
    owner(w, "B").accept(P)
    finish(w)


def an_insert_that_was_given_up_lands_late(w: World) -> None:
    """Its document's next event, which drops the chunk, must not come to its end before that."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.accept(P)
    a.step("plan").lose("points")
    w.pass_time()
    a.run()
    w.produce(P, event_of("x", "e"))
    a.accept(P)
    a.run()
    finish(w)


def a_new_deployment_takes_over_from_a_dead_one(w: World) -> None:
    """The dead one cut the text otherwise, and no manifest tells of it."""
    w.produce(P, event_of("x", "a"))
    a = owner(w, "A")
    a.accept(P)
    a.step("plan", "points")
    w.kill(a, lands=lambda: False)
    owner(w, "B", generation=1).accept(P)
    finish(w)


def a_new_deployment_takes_over_far_on(w: World) -> None:
    """The dead one had settled much that it had not committed: no number of records tells how far it came."""
    a = owner(w, "A")
    for name in "uvwxyz":
        w.produce(P, event_of(name, "a"))
        a.accept(P)
        a.run() if name != "z" else a.step("plan", "points")
    w.kill(a, lands=lambda: False)
    b = owner(w, "B", generation=1)
    while b.accept(P):
        b.run()
    finish(w)


def two_partitions_have_a_new_document(w: World) -> None:
    """As after partitions were added: the older event is complete between the newer one's plan and its manifest."""
    w.produce(P, event_of("x", "d"))
    w.produce(Q, event_of("x", "e"))
    a, b = owner(w, "A"), owner(w, "B", partition=Q)
    b.accept(Q)
    b.step("plan")
    a.accept(P)
    a.run()
    finish(w)


def a_writer_dies_after_any_of_its_requests(w: World) -> None:
    """Each time with another document; its heir reads the event again."""
    for requests in range(1, REQUESTS):
        a = owner(w, f"A{requests}")
        w.produce(P, event_of(f"x{requests}", "d"))
        a.accept(P)
        for _ in range(requests):
            for asked in a.asked[:1]:
                w.answer(asked)
        w.kill(a, lands=lambda: False)
        heir = owner(w, f"B{requests}")
        heir.accept(P)
        heir.run()
        w.commit(heir)
        w.kill(heir)
    finish(w)
