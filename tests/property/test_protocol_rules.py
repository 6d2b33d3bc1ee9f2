"""Each rule of the write protocol is needed: a schedule, written by hand, that ends well with the shipped code and
badly when that rule alone is taken out of it.

Random schedules meet some of these once in ten thousand. `A` and `B` are workers; `a.step("plan", "points")` lets two
requests of A through one after the other, and A then stands before its next one. What B does meanwhile is the race.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from protocol_deployments import PARTITIONS, REFUSED, made_engine
from protocol_fold import differences, event_of
from protocol_worker import Worker
from protocol_world import World, world

from worker.embedded.qdrant import Engine
from worker.flow import Flow
from worker.index.guards import add_ids
from worker.index.horizon import Horizon
from worker.index.keys import manifest_id
from worker.index.points import PointWriter
from worker.index.writer import Writer
from worker.model import Order, Outcome

P, Q = PARTITIONS


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with made_engine() as made:
        yield made


def owner(w: World, name: str, generation: int = 0, partition: Any = P) -> Worker:
    """A worker that starts and owns the partition from its last commit on."""
    worker = w.start(name, generation)
    w.assign(worker, partition)
    return worker


def finish(w: World) -> None:
    """Everything that was given up lands, all time passes, and everybody comes to the end."""
    for late in list(w.late):
        w.land(late)
    for worker in w.workers:
        worker.run()
    while w.loop.next_timer_s is not None:
        w.pass_time()
        for worker in w.workers:
            worker.run()
    for worker in w.workers:
        w.commit(worker)


# --- the schedules --------------------------------------------------------------------------------------------------


def an_old_insert_arrives_after_the_new_one(w: World) -> None:
    """Both events have the same chunk; the older one's request must not take it back in time."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d", m=1))
    a.take_in(P)
    a.step("plan")
    w.lose_silently(P)
    w.produce(P, event_of("x", "d", m=2))
    b = owner(w, "B")
    b.take_in(P, 2)
    b.run()
    finish(w)


def an_old_payload_arrives_after_the_new_one(w: World) -> None:
    """The chunk is kept by both events, and only the metadata changes."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d", m=0))
    a.take_in(P)
    a.run()
    w.commit(a)
    w.produce(P, event_of("x", "d", m=1))
    a.take_in(P)
    a.step("plan")
    w.lose_silently(P)
    w.produce(P, event_of("x", "d", m=2))
    b = owner(w, "B")
    b.take_in(P, 2)
    b.run()
    finish(w)


def an_old_manifest_arrives_after_the_new_one(w: World) -> None:
    """The newer event is complete when the older one's manifest comes."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.take_in(P)
    a.step("plan", "points")
    w.lose_silently(P)
    w.produce(P, event_of("x", "e"))
    b = owner(w, "B")
    b.take_in(P, 2)
    b.run()
    finish(w)


def an_old_purge_arrives_after_the_new_chunks(w: World) -> None:
    """The purge of the older event must spare what the newer one has written."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.take_in(P)
    a.step("plan", "points", "manifests", "read back")
    w.lose_silently(P)
    w.produce(P, event_of("x", "e"))
    b = owner(w, "B")
    b.take_in(P, 2)
    b.run()
    finish(w)


def a_kept_chunk_vanishes(w: World) -> None:
    """A plans to keep what an event before its own, which it swallowed, deletes meanwhile in B's hands."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.take_in(P)
    a.run()
    w.commit(a)
    w.produce(P, event_of("x", "e"))
    w.produce(P, event_of("x", "d", m=2))
    a.take_in(P, 2)
    a.step("plan")
    w.lose_silently(P)
    b = owner(w, "B")
    b.take_in(P)
    b.run()
    a.run()
    b.take_in(P)
    finish(w)


def an_old_insert_arrives_after_the_new_purge(w: World) -> None:
    """The loser alone can see that its chunks came too late to be purged by the winner."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.take_in(P)
    a.step("plan")
    w.lose_silently(P)
    w.produce(P, event_of("x", "e"))
    b = owner(w, "B")
    b.take_in(P, 2)
    b.run()
    finish(w)


def an_overtaken_writer_dies(w: World) -> None:
    """It dies after its insert, which came after the winner's purge; whoever reads the event again cleans up."""
    w.produce(P, event_of("x", "d", version=1))
    w.produce(Q, event_of("x", "e", version=2))
    a, b = owner(w, "A"), owner(w, "B", partition=Q)
    a.take_in(P)
    a.step("plan")
    b.take_in(Q)
    b.run()
    a.step("points")
    w.kill(a, lands=lambda: False)
    owner(w, "C").take_in(P)
    finish(w)


def a_writer_dies_before_its_purge(w: World) -> None:
    """Its event is complete but for the chunks of the one before."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.take_in(P)
    a.run()
    w.commit(a)
    w.produce(P, event_of("x", "e"))
    a.take_in(P)
    a.step("plan", "points", "manifests", "read back")
    w.kill(a, lands=lambda: False)
    owner(w, "B").take_in(P)
    finish(w)


def an_insert_that_was_given_up_lands_late(w: World) -> None:
    """Its document's next event, which drops the chunk, must not come to its end before that."""
    a = owner(w, "A")
    w.produce(P, event_of("x", "d"))
    a.take_in(P)
    a.step("plan").lose("points")
    w.pass_time()
    a.run()
    w.produce(P, event_of("x", "e"))
    a.take_in(P)
    a.run()
    finish(w)


def a_new_deployment_takes_over_from_a_dead_one(w: World) -> None:
    """The dead one cut the text otherwise, and no manifest tells of it."""
    w.produce(P, event_of("x", "a"))
    a = owner(w, "A")
    a.take_in(P)
    a.step("plan", "points")
    w.kill(a, lands=lambda: False)
    owner(w, "B", generation=1).take_in(P)
    finish(w)


def a_new_deployment_takes_over_far_on(w: World) -> None:
    """The dead one had settled much that it had not committed: no number of records tells how far it came."""
    a = owner(w, "A")
    for name in "uvwxyz":
        w.produce(P, event_of(name, "a"))
        a.take_in(P)
        a.run() if name != "z" else a.step("plan", "points")
    w.kill(a, lands=lambda: False)
    b = owner(w, "B", generation=1)
    while b.take_in(P):
        b.run()
    finish(w)


def two_partitions_have_a_new_document(w: World) -> None:
    """As after partitions were added: the older event is complete between the newer one's plan and its manifest."""
    w.produce(P, event_of("x", "d"))
    w.produce(Q, event_of("x", "e"))
    a, b = owner(w, "A"), owner(w, "B", partition=Q)
    b.take_in(Q)
    b.step("plan")
    a.take_in(P)
    a.run()
    finish(w)


# --- the rules, taken out ---------------------------------------------------------------------------------------------

Patch = pytest.MonkeyPatch


def no_upsert_guard(patch: Patch) -> None:
    patch.setattr(PointWriter, "_guard_points", lambda *_: None)


def no_payload_guard(patch: Patch) -> None:
    patch.setattr(PointWriter, "_guard_payload", lambda _, which, change: add_ids(which.must, change.ids))


def no_manifest_guard(patch: Patch) -> None:
    patch.setattr(Writer, "_guard_manifests", lambda *_: None)


def no_purge_bound(patch: Patch) -> None:
    """Delete what this event does not list, whatever its rank."""

    async def purge(self: Writer, jobs: Any, *_: Any, **__: Any) -> dict[str, float]:
        for job in jobs:

            def choose(which: Any, job: Any = job) -> None:
                condition = which.must.add().field
                condition.key = "document_key"
                condition.match.keyword = job.document_key
                add_ids(which.must_not, [chunk.id for chunk in job.write.chunks])

            await self._store.delete(self._store.names.points, choose)
        return {}

    patch.setattr(Writer, "_purge_below", purge)


def no_kept_check(patch: Patch) -> None:
    async def nothing(*_: Any) -> dict[str, tuple[str, ...]]:
        return {}

    patch.setattr(PointWriter, "vanished", nothing)


def no_manifest_read_back(patch: Patch) -> None:
    async def own(_: Writer, jobs: Any) -> dict[str, Any]:
        return {job.document_key: job.write.rank for job in jobs}

    patch.setattr(Writer, "_found_ranks", own)


def no_sweep(outcome: Outcome) -> Callable[[Patch], None]:
    def take_out(patch: Patch) -> None:
        shipped = Flow._sweep

        async def sweep(self: Flow, overtaken: Any) -> None:
            for item, decision in overtaken:
                if decision.outcome is outcome:
                    self._settle(item, decision.outcome)
                else:
                    await shipped(self, [(item, decision)])

        patch.setattr(Flow, "_sweep", sweep)

    return take_out


def no_horizon(patch: Patch) -> None:
    patch.setattr(Horizon, "waits_s", lambda *_: {})


def skip_in_any_generation(patch: Patch) -> None:
    def may(self: Flow, item: Any) -> bool:
        return self._standing.order is Order.OFFSET and item.planned.before is None and not item.swallowed

    patch.setattr(Flow, "_may_skip_purge", may)


def replace_new_manifests(patch: Patch) -> None:
    """Write the manifest of a new document like any other, and leave its purge out all the same."""

    def guard_manifests(self: Writer, guard: Any, jobs: Any) -> None:
        self._guards.add_write_guard(guard, {job.write.rank: [manifest_id(job.document_key)] for job in jobs})

    patch.setattr(Writer, "_guard_manifests", guard_manifests)


class Rule(NamedTuple):
    """A rule, how to take it out, the schedule that needs it, and what is then found wrong."""

    name: str
    take_out: Callable[[Patch], None]
    schedule: Callable[[World], None]
    wrong: str
    order: Order = Order.OFFSET


RULES = [
    Rule("upsert guard", no_upsert_guard, an_old_insert_arrives_after_the_new_one, "chunk 0 is missing"),
    Rule("payload guard", no_payload_guard, an_old_payload_arrives_after_the_new_one, "chunk 0 is missing"),
    Rule("manifest guard", no_manifest_guard, an_old_manifest_arrives_after_the_new_one, "manifest version"),
    Rule("purge bound", no_purge_bound, an_old_purge_arrives_after_the_new_chunks, "chunk 0 is missing"),
    Rule("kept check", no_kept_check, a_kept_chunk_vanishes, "chunk 0 is missing"),
    Rule("manifest read-back", no_manifest_read_back, an_old_insert_arrives_after_the_new_purge, "leftover: 1"),
    Rule("sweep when superseded", no_sweep(Outcome.SUPERSEDED), an_overtaken_writer_dies, "leftover: 1", Order.VERSION),
    Rule("sweep when unchanged", no_sweep(Outcome.UNCHANGED), a_writer_dies_before_its_purge, "leftover: 1"),
    Rule("settle after horizon", no_horizon, an_insert_that_was_given_up_lands_late, "leftover: 1"),
    Rule("skip in one generation", skip_in_any_generation, a_new_deployment_takes_over_from_a_dead_one, "leftover: 1"),
    Rule("skip in one generation, far on", skip_in_any_generation, a_new_deployment_takes_over_far_on, "leftover: 1"),
    Rule("skip after an insert alone", replace_new_manifests, two_partitions_have_a_new_document, "leftover: 1"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_schedule_ends_well(engine: Engine, rule: Rule) -> None:
    with world(engine, rule.order) as w:
        rule.schedule(w)
        assert differences(w) == []
        assert w.committed == {partition: len(log) for partition, log in w.log.items()}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_schedule_ends_badly_without_its_rule(engine: Engine, rule: Rule, monkeypatch: Patch) -> None:
    rule.take_out(monkeypatch)
    with world(engine, rule.order) as w:
        rule.schedule(w)
        assert any(rule.wrong in one for one in differences(w)), differences(w)


# --- what random schedules have found, or led to ---------------------------------------------------------------------


def test_an_owner_that_leaves_still_sees_to_its_unanswered_request(engine: Engine) -> None:
    with world(engine, Order.OFFSET) as w:
        a = owner(w, "A")
        w.produce(P, event_of("x", "d"))
        a.take_in(P)
        a.step("plan").lose("points")
        w.pass_time()
        a.run()
        w.revoke(a, P)
        assert not a.owns(P)
        w.produce(P, event_of("x", "e"))
        b = owner(w, "B")
        b.take_in(P, 2)
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
        a.take_in(P)
        a.step("plan", "points")
        b.take_in(Q)
        b.run()
        assert len(w.letters.sent) == 1
        finish(w)
        assert differences(w) == []


def test_a_verdict_after_its_partition_left_frees_the_document(engine: Engine) -> None:
    """The judgement ends when the drain has; the partition comes back, and its record is judged then."""
    with world(engine, Order.OFFSET) as w:
        a = owner(w, "A")
        w.produce(P, event_of("x", "d") | {"metadata": {"why": REFUSED}})
        a.take_in(P)
        a.step("plan")
        assert [asked.step for asked in a.asked] == ["points"]  # the canary
        w.revoke(a, P)
        w.pass_time()
        assert not a.trackers
        finish(w)
        assert w.letters.sent == []
        w.assign(a, P)
        a.take_in(P)
        finish(w)
        assert len(w.letters.sent) == 1
        assert differences(w) == []
        assert w.committed[P] == 1


def test_a_zombie_that_dies_leaves_chunks_until_the_next_event(engine: Engine) -> None:
    """Known not to heal by itself: nobody reads its event again, because the one that overtook it is settled."""
    with world(engine, Order.OFFSET) as w:
        w.produce(P, event_of("x", "d"))
        zombie = owner(w, "zombie")
        zombie.take_in(P)
        zombie.step("plan")
        w.lose_silently(P)
        w.produce(P, event_of("x", "e"))
        heir = owner(w, "heir")
        heir.take_in(P, 2)
        heir.run()
        w.commit(heir)
        zombie.step("points")
        w.kill(zombie, lands=lambda: False)
        finish(w)
        assert differences(w) == ["leftover: 1 points of s:x"]
        w.produce(P, event_of("x", "f"))
        heir.take_in(P)
        finish(w)
        assert differences(w) == []


def test_an_older_deployment_after_a_dead_newer_one_leaves_chunks_until_the_next_event(engine: Engine) -> None:
    """Known not to heal by itself: ranks rise with deployments, so the dead one's chunks lie above the manifest."""
    with world(engine, Order.OFFSET) as w:
        w.produce(P, event_of("x", "a"))
        new = owner(w, "new", generation=1)
        new.take_in(P)
        new.step("plan", "points")
        w.kill(new, lands=lambda: False)
        old = owner(w, "old")
        old.take_in(P)
        finish(w)
        assert differences(w) == ["leftover: 2 points of s:x"]
        w.produce(P, event_of("x", "b"))
        old.take_in(P)
        finish(w)
        assert differences(w) == []


def test_a_kept_chunk_that_another_generation_has_written_meanwhile_gets_its_whole_payload(engine: Engine) -> None:
    """Generation 1 stores text and metadata under other keys; A, of generation 0, has planned before it wrote."""
    with world(engine, Order.OFFSET, renamed=True) as w:
        w.produce(P, event_of("x", "d", m=0))
        a = owner(w, "A")
        a.take_in(P)
        a.run()
        w.commit(a)
        w.produce(P, event_of("x", "d", m=1))
        w.produce(P, event_of("x", "d", m=2))
        a.take_in(P, 2)
        a.step("plan")
        w.lose_silently(P)
        b = owner(w, "B", generation=1)
        b.take_in(P)
        b.run()
        a.step("points", "kept", "points", "kept", "manifests")
        assert a.embedder.embedded_texts == 1
        finish(w)
        assert w.committed[P] == 2
        assert differences(w) == []
