"""I7: what is paid beyond the births is found, unless a wasted payment explains it. And who had a partition when."""

from collections import Counter
from typing import Any

import pytest

from chaos.checker.billing import Bill, births_of, check_bill, received_of, troubles
from chaos.checker.contents import Stale
from chaos.checker.events import digest
from chaos.checker.evidence import Commit, LogLine, Payment
from chaos.checker.report import Report
from chaos.checker.settled import Passed
from chaos.checker.tenure import End, Tenures
from harness.checker_samples import World, answer, paid

A, B = "w0-001", "w1-002"


def assigned(at: float, worker: str = A, *partitions: int) -> LogLine:
    starts = {f"documents-{number}": 0 for number in partitions or (0,)}
    return LogLine(at, worker, "partitions.assigned", {"starts": starts})


def revoked(at: float, worker: str = A, *partitions: int) -> LogLine:
    names = [f"documents-{number}" for number in partitions or (0,)]
    return LogLine(at, worker, "partitions.revoked", {"partitions": names})


def cut(at: float, worker: str = A) -> LogLine:
    return LogLine(at, worker, "drain.incomplete", {"unfinished": 3, "uncommitted": 0})


def started(worker: str, slot: int = 0) -> dict[str, Any]:
    return {"kind": "worker_started", "at": 0.0, "worker": worker, "slot": slot}


def exited(at: float, worker: str = A, code: int = -9) -> dict[str, Any]:
    return {"kind": "worker_exited", "at": at, "worker": worker, "code": code}


class Case:
    """A document with one text, born at offset 0, and what was paid for it."""

    def __init__(self, *payments: Payment, **more: Any) -> None:
        self.world = World()
        self.world.upsert("a", "one")
        self.payments = payments
        self.answers = more.get("answers", [answer("one", each.at, each.worker) for each in payments])
        self.commits = more.get("commits", [Commit(100.0, 0, 1)])
        self.log = more.get("log", [])
        self.events = [started(A, 0), started(B, 1), *more.get("events", [])]

    def judged(self) -> Report:
        births = births_of(self.world.histories.values(), [])
        tenures = Tenures(self.log, self.events)
        bill = Bill(births, Passed(self.commits), tenures, troubles(self.events))
        return check_bill(self.payments, self.answers, [A, B], births, bill)

    @property
    def causes(self) -> dict[str, int]:
        return dict(self.judged().figures["tokens billed again, by cause"])


class TestBirths:
    def births(self, world: World, unindexable: Any = ()) -> Counter[str]:
        return births_of(world.histories.values(), unindexable).counts

    def test_a_text_is_born_when_the_event_before_has_not_got_it(self) -> None:
        world = World()
        world.upsert("a", "one", "two")
        world.upsert("a", "two", "one")
        world.upsert("a", "one", "three")
        world.upsert("b", "one")
        assert self.births(world) == {digest("one"): 2, digest("two"): 1, digest("three"): 1}

    def test_once_more_in_a_text_is_a_birth(self) -> None:
        world = World()
        world.upsert("a", "one")
        world.upsert("a", "one", "one")
        assert self.births(world) == {digest("one"): 2}

    def test_what_was_gone_is_born_again(self) -> None:
        world = World()
        for text in ("one", "two", "one"):
            world.upsert("a", text)
        world.delete("a")
        world.upsert("a", "one")
        assert self.births(world) == {digest("one"): 3, digest("two"): 1}

    def test_a_condemned_event_bears_all_its_texts_and_is_no_ones_past(self) -> None:
        world = World()
        world.upsert("a", "one")
        bad = world.upsert("a", "one", "two")
        world.poisoned[bad.place] = "refused"
        world.upsert("a", "one")
        unindexable = [each for each in world.ranked if each.record == bad]
        assert self.births(world, unindexable) == {digest("one"): 2, digest("two"): 1}


class TestBill:
    def test_paid_once_is_accepted(self) -> None:
        report = Case(paid("one", 1.0)).judged()
        assert report.ok
        assert (report.figures["tokens billed"], report.figures["tokens billed again, by cause"]) == (10, {})

    def test_paid_twice_without_a_cause_is_found(self) -> None:
        report = Case(paid("one", 1.0), paid("one", 2.0), log=[assigned(0.0)]).judged()
        assert [violation.what for violation in report.violations] == ["a text was paid for again without a cause"]
        assert report.violations[0].details["tokens"] == 10

    def test_a_clean_handover_is_no_cause(self) -> None:
        log = [assigned(0.0), revoked(3.0), assigned(4.0, B)]
        assert not Case(paid("one", 1.0), paid("one", 5.0, B), log=log).judged().ok

    def test_a_text_that_stands_in_no_event_is_found(self) -> None:
        report = Case(paid("one", 1.0), paid("aborted", 2.0)).judged()
        assert [violation.what for violation in report.violations] == ["a text was paid for that no event bears"]

    def test_probes_and_others_are_counted_apart(self) -> None:
        report = Case(paid("one", 1.0), paid("word", 2.0), paid("one", 3.0, "python-httpx")).judged()
        assert report.ok
        assert (report.figures["tokens of probes"], report.figures["tokens billed to others"]) == (10, 10)

    def test_a_spoiled_answer_is_a_cause_and_a_slow_one_is_not(self) -> None:
        assert Case(paid("one", 1.0, fault="nan"), paid("one", 2.0)).causes == {"wrong answer": 10}
        assert not Case(paid("one", 1.0, fault="drip"), paid("one", 2.0)).judged().ok

    def test_each_cause_pays_for_one_repetition(self) -> None:
        report = Case(paid("one", 1.0, fault="nan"), paid("one", 2.0), paid("one", 3.0)).judged()
        assert report.figures["tokens billed again, by cause"] == {"wrong answer": 10, "none": 10}
        assert report.violations[0].details["unexplained"] == 1

    def test_a_kill_before_the_commit_is_a_cause(self) -> None:
        case = Case(paid("one", 1.0), paid("one", 5.0, B), events=[exited(2.0)])
        assert case.causes == {"killed": 10}

    def test_so_is_one_before_a_slow_link_brought_the_request(self) -> None:
        case = Case(paid("one", 2.5), paid("one", 5.0, B), events=[exited(2.0)])
        assert case.causes == {"killed": 10}

    def test_a_kill_after_the_commit_is_none(self) -> None:
        case = Case(paid("one", 1.0), paid("one", 5.0, B), events=[exited(2.0)], commits=[Commit(1.5, 0, 1)])
        assert not case.judged().ok

    def test_a_cut_drain_is_a_cause(self) -> None:
        two = paid("one", 1.0), paid("one", 5.0, B)
        assert Case(*two, log=[assigned(0.0), cut(2.0), revoked(2.1), assigned(3.0, B)]).causes == {"drain cut": 10}
        assert Case(*two, events=[exited(2.0, code=3)]).causes == {"drain cut": 10}
        assert not Case(*two, events=[exited(2.0, code=0)]).judged().ok

    @pytest.mark.parametrize(("began", "accepted"), [(2.0, True), (2.2, False)])
    def test_a_request_in_flight_at_the_cut_was_paid_for_in_vain(self, began: float, accepted: bool) -> None:
        late = paid("one", 2.5)._replace(began=began)
        log = [assigned(0.0), cut(2.1), revoked(2.1), assigned(3.0, B)]
        assert Case(late, paid("one", 5.0, B), log=log).judged().ok is accepted

    @pytest.mark.parametrize(("sent", "accepted"), [(2.0, True), (2.3, False)])
    def test_so_was_one_that_a_slow_link_brought_after_it(self, sent: float, accepted: bool) -> None:
        late = paid("one", 2.5)._replace(began=2.4)
        log = [assigned(0.0), cut(2.1), revoked(2.1), assigned(2.2), revoked(3.0), assigned(3.1, B)]
        answers = [{**answer("one", 2.6), "sent": sent}]
        assert Case(late, paid("one", 5.0, B), log=log, answers=answers).judged().ok is accepted

    def test_a_drain_without_its_commit_alone_has_left_nothing_unpaid(self) -> None:
        through = LogLine(2.0, A, "drain.incomplete", {"unfinished": 0, "uncommitted": 3})
        log = [assigned(0.0), through, revoked(2.1), assigned(3.0, B)]
        assert not Case(paid("one", 1.0), paid("one", 5.0, B), log=log).judged().ok

    def test_a_lost_tenure_is_a_cause_for_both_sides_of_it(self) -> None:
        log = [assigned(0.0), assigned(4.0, B), revoked(9.0)]
        assert Case(paid("one", 1.0), paid("one", 5.0, B), log=log).causes == {"lost tenure": 10}
        commits = [Commit(6.0, 0, 1)]
        zombie = Case(paid("one", 5.0, B), paid("one", 8.0), log=log, commits=commits)
        assert zombie.causes == {"lost tenure": 10}
        settled = Case(paid("one", 1.0), paid("one", 5.0, B), log=log, commits=[Commit(2.0, 0, 1)])
        assert not settled.judged().ok

    @pytest.mark.parametrize(("broken", "accepted"), [((0.5, 1.5), True), ((2.0, 3.0), True), ((4.0, 5.0), False)])
    def test_an_answer_that_was_lost_on_a_broken_link_is_a_cause(
        self, broken: tuple[float, float], accepted: bool
    ) -> None:
        link = [
            {"kind": "links_broken", "at": broken[0], "link": "jina", "slots": [0]},
            {"kind": "links_mended", "at": broken[1], "link": "jina", "slots": [0]},
        ]
        two = paid("one", 1.0), paid("one", 6.0)
        assert Case(*two, events=link, answers=[answer("one", 6.0)]).judged().ok == accepted
        assert not Case(*two, events=link).judged().ok, "the answer came: no excuse"
        others = [{**event, "slots": [1]} for event in link]
        assert not Case(*two, events=others, answers=[answer("one", 6.0)]).judged().ok, "another worker's link"
        other = [{**event, "link": "qdrant"} for event in link]
        assert not Case(*two, events=other, answers=[answer("one", 6.0)]).judged().ok, "another link"

    @pytest.mark.parametrize(("began", "accepted"), [(1.0, True), (3.1, False)])
    def test_so_is_one_that_broke_while_it_came_drop_by_drop(self, began: float, accepted: bool) -> None:
        link = [
            {"kind": "links_broken", "at": 2.0, "link": "jina", "slots": [0]},
            {"kind": "links_mended", "at": 3.0, "link": "jina", "slots": [0]},
        ]
        dripped = paid("one", 9.0, fault="drip")._replace(began=began)
        case = Case(paid("one", 4.0), dripped, events=link, answers=[answer("one", 4.0)])
        assert case.judged().ok is accepted

    def test_a_worker_that_stood_still_may_lose_an_answer(self) -> None:
        frozen = [
            {"kind": "worker_frozen", "at": 0.9, "worker": A},
            {"kind": "worker_thawed", "at": 5.0, "worker": A},
        ]
        case = Case(paid("one", 1.0), paid("one", 6.0), events=frozen, answers=[answer("one", 6.0)])
        assert case.causes == {"lost answer": 10}

    def test_an_answer_that_nobody_waited_for_is_no_cause(self) -> None:
        assert not Case(paid("one", 1.0), paid("one", 6.0), answers=[answer("one", 6.0)]).judged().ok


def test_an_answer_belongs_to_the_last_payment_before_it() -> None:
    payments = [paid("one", 1.0), paid("one", 5.0), paid("one", 5.2, B), paid("one", 9.0, fault="nan")]
    assert received_of(payments, [answer("one", 5.1), answer("one", 5.3, B)]).keys() == {1, 2}
    assert received_of(payments, [answer("one", 3.5)]).keys() == {0}
    assert received_of(payments, [answer("one", 4.8)]).keys() == {1}, "a bill may be written late"
    assert received_of(payments, [answer("one", 9.5)]).keys() == {1}, "what was spoiled was not received"


class TestTenures:
    def test_they_end_as_the_log_and_the_exits_say(self) -> None:
        log = [assigned(1.0, A, 0, 1), revoked(2.0, A, 1), assigned(3.0, A, 1), cut(4.0), revoked(4.1, A, 1)]
        tenures = Tenures(log, [exited(9.0)])
        assert [(one.start, one.end, one.how) for one in tenures.of(A, 0)] == [(1.0, 9.0, End.KILLED)]
        assert [(one.end, one.how) for one in tenures.of(A, 1)] == [(2.0, End.LET_GO), (4.1, End.CUT)]

    def test_one_that_another_got_meanwhile_was_lost(self) -> None:
        tenures = Tenures([assigned(1.0), assigned(3.0, B), revoked(5.0)], [])
        assert [one.lost_at for one in tenures.of(A, 0)] == [3.0]
        assert [one.lost_at for one in tenures.of(B, 0)] == [None]

    @pytest.mark.parametrize(
        ("log", "events", "explained"),
        [
            ([assigned(1.0)], [exited(9.0)], True),
            ([assigned(1.0)], [exited(9.0, code=3)], True),
            ([assigned(1.0)], [exited(9.0, code=0)], False),
            ([assigned(1.0)], [exited(7.0)], False),
            ([assigned(1.0)], [exited(60.0)], False),
            ([assigned(1.0), revoked(7.0)], [exited(9.0)], False),
            ([assigned(1.0, A, 1)], [exited(9.0)], False),
            ([assigned(1.0)], [], False),
        ],
    )
    def test_an_old_point_is_explained_by_the_death_of_who_wrote_it(
        self, log: list[LogLine], events: list[dict[str, Any]], explained: bool
    ) -> None:
        stale = Stale("a", "old", 8.0, 0, 0)
        assert (Tenures(log, events).explains(stale) is not None) == explained
