"""I1, I3, I4, I5, I6, I8 and I0: what is planted is found."""

import base64
from pathlib import Path
from typing import Any

import pytest

from chaos.checker.course import check_bounds, check_campaign, check_lag
from chaos.checker.dead_letters import check_letters, places_of
from chaos.checker.evidence import Commit, Produced
from chaos.checker.report import MOST_TOLD, Report
from chaos.checker.secrets import check_secrets
from chaos.checker.settled import Passed, check_commits, check_outcomes
from chaos.checker.store import Held
from harness.checker_samples import RANKING, TOPIC, World, letter_of, letters_of


@pytest.fixture
def world() -> World:
    world = World()
    world.upsert("a", "one")
    world.poison()
    world.upsert("a", "two")
    world.delete("never there")
    return world


def told(report: Report) -> list[str]:
    return [violation.what for violation in report.violations]


class TestOutcomes:
    def judged(self, world: World, held: Held, *, dead_lettered: bool = True) -> Report:
        places = set(world.poisoned) if dead_lettered else set()
        return check_outcomes(world.records, world.committed, places, held, RANKING)

    def test_all_have_one(self, world: World) -> None:
        report = self.judged(world, world.held())
        assert report.ok
        assert report.figures == {"records": 4, "in the manifest": 3, "dead letter": 1}

    def test_a_delete_of_what_is_not_there_may_leave_nothing(self, world: World) -> None:
        held = world.held()
        del held.manifests["never there"]
        assert self.judged(world, held).figures["nothing to delete"] == 1

    def test_a_committed_event_that_the_store_does_not_know_is_found(self, world: World) -> None:
        held = world.held()
        (manifest,) = held.manifests["a"]
        manifest.payload["version"] -= 64  # type: ignore[index]  # planted
        assert [violation.details["place"] for violation in self.judged(world, held).violations] == [(0, 2)]
        del held.manifests["a"]
        assert len(self.judged(world, held).violations) == 2

    def test_poison_without_a_letter_is_found(self, world: World) -> None:
        assert told(self.judged(world, world.held(), dead_lettered=False)) == ["a committed record has no outcome"]

    def test_what_is_not_committed_is_not_judged(self, world: World) -> None:
        assert check_outcomes(world.records, {}, (), Held(), RANKING).ok


class TestLetters:
    def judged(self, world: World, *records: Any) -> Report:
        return check_letters(letters_of(*records), world.records, world.poisoned, world.committed)

    def test_each_poison_has_its_letter_and_may_have_two(self, world: World) -> None:
        bad = world.records[1]
        report = self.judged(world, letter_of(bad), letter_of(bad))
        assert report.ok
        assert report.figures["duplicates"] == 1

    @pytest.mark.parametrize(
        ("changed", "what"),
        [
            ({"key": b"other"}, "a dead letter's key differs from its record's"),
            ({"value": b"{ "}, "a dead letter's value differs from its record's"),
            ({"value": None}, "a dead letter's value differs from its record's"),
        ],
    )
    def test_a_changed_byte_is_found(self, world: World, changed: dict[str, Any], what: str) -> None:
        assert told(self.judged(world, letter_of(world.records[1], **changed))) == [what]

    def test_lost_headers_are_found(self, world: World) -> None:
        bad = world.records[1] = world.records[1]._replace(headers=(("traceparent", b"x"),))
        dead_letter = letter_of(bad)
        without = tuple(
            header for header in dead_letter.headers if header[0] not in ("traceparent", "__streamdex.worker")
        )
        assert told(self.judged(world, dead_letter)) == []
        assert told(self.judged(world, dead_letter._replace(headers=without))) == [
            "a dead letter's headers differs from its record's",
            "a dead letter lacks headers",
        ]

    def test_another_reason_is_found(self, world: World) -> None:
        wrong = ["a dead letter has another reason than its record gives"]
        assert told(self.judged(world, letter_of(world.records[1], "internal"))) == wrong
        assert told(self.judged(world, letter_of(world.records[1], "because"))) == wrong

    def test_a_healthy_record_that_was_dead_lettered_is_found(self, world: World) -> None:
        dead_letters = letter_of(world.records[1]), letter_of(world.records[0])
        assert told(self.judged(world, *dead_letters)) == ["a record that can be indexed was dead-lettered"]

    def test_a_letter_of_nothing_is_found(self, world: World) -> None:
        bad = world.records[1]
        elsewhere = letter_of(bad._replace(offset=99))
        assert told(self.judged(world, letter_of(bad), elsewhere)) == ["a dead letter of no record of the topic"]
        assert told(self.judged(world, letter_of(bad), bad)) == ["a dead letter of no record of the topic"]

    def test_poison_that_was_overtaken_needs_no_letter(self, world: World) -> None:
        refused = world.upsert("a", "unspeakable")
        world.poisoned[refused.place] = "refused"
        dead_letters = letters_of(letter_of(world.records[1]))
        judged = check_letters(dead_letters, world.records, world.poisoned, world.committed, [refused.place])
        assert judged.ok
        assert judged.figures["overtaken"] == 1
        judged = check_letters(dead_letters, world.records, world.poisoned, world.committed)
        assert told(judged) == ["a poisoned record has no dead letter"]

    def test_a_missing_letter_is_found(self, world: World) -> None:
        assert told(self.judged(world)) == ["a poisoned record has no dead letter"]


class TestCommits:
    WATCHED = ({"at": 1.0, "read_at": 1.01, "offsets": {"0": 4}, "checked": 4, "passed_over": 0, "unsettled": []},)

    def judged(self, *commits: Commit, watched: Any = WATCHED, dead_letters: Any = ()) -> Report:
        return check_commits(commits, {0: 10, 1: 10}, dead_letters, watched, settled=4)

    def test_commits_that_go_on_are_accepted(self) -> None:
        report = self.judged(Commit(1, 0, 3), Commit(1, 1, 2), Commit(2, 0, 3), Commit(3, 0, 10))
        assert report.ok
        assert report.figures["records looked at"] == 4

    def test_a_commit_that_goes_back_is_found(self) -> None:
        assert told(self.judged(Commit(1, 0, 3), Commit(2, 0, 2), Commit(3, 0, 3))) == ["a commit went back"]

    def test_a_commit_past_the_end_is_found(self) -> None:
        assert told(self.judged(Commit(1, 0, 11))) == ["a commit passes the log's end"]

    def test_a_letter_after_its_commit_is_found(self, world: World) -> None:
        bad = world.records[1]
        twice = letters_of(letter_of(bad, sent_ms=5_000), letter_of(bad, sent_ms=9_000))
        assert self.judged(Commit(5.1, 0, 2), dead_letters=twice).ok
        assert self.judged(Commit(4.0, 0, 1), Commit(5.0, 0, 2), dead_letters=twice).ok
        late = self.judged(Commit(4.9, 0, 2), dead_letters=twice)
        assert told(late) == ["a commit passed a record before its dead letter"]

    def test_what_the_watch_has_seen_is_taken_over(self) -> None:
        seen = {**self.WATCHED[0], "unsettled": [[0, 3], [0, 4]]}
        report = self.judged(Commit(1, 0, 9), watched=(seen,))
        assert [violation.details["place"] for violation in report.violations] == [(0, 3), (0, 4)]

    def test_looks_that_came_to_nothing_are_counted(self) -> None:
        report = self.judged(Commit(1, 0, 9), watched=({"at": 1.0, "trouble": "OSError"}, *self.WATCHED))
        assert report.ok
        assert report.figures["looks that came to nothing"] == 1

    def test_records_that_nobody_looked_at_are_a_violation(self) -> None:
        missed = ["commits passed records while nobody watched"]
        assert told(self.judged(Commit(1, 0, 9), watched=())) == missed
        assert told(self.judged(Commit(1, 0, 9), watched=({**self.WATCHED[0], "checked": 3},))) == missed
        assert self.judged(Commit(1, 0, 9), watched=({**self.WATCHED[0], "checked": 3, "passed_over": 1},)).ok

    def test_the_first_commit_beyond_a_place_counts(self) -> None:
        passed = Passed([Commit(1, 0, 3), Commit(2, 0, 3), Commit(3, 0, 7)])
        assert [passed.at((0, offset)) for offset in (0, 2, 3, 6, 7)] == [1, 1, 3, 3, None]
        assert passed.at((5, 0)) is None


class TestLag:
    def test_it_is_zero_in_time(self) -> None:
        events = [{"kind": "healed", "at": 1}, {"kind": "lag_zero", "at": 9.0}]
        assert check_lag(events * 2, {0: 5}, {0: 5, 1: 0}).ok

    @pytest.mark.parametrize(
        ("events", "what"),
        [
            ([], "nothing was healed and drained"),
            ([("healed", 1), ("lag_zero", 62)], "the lag came to 0 too late"),
            ([("healed", 1), ("lag_zero", 2), ("healed", 3)], "the lag never came to 0 after healing"),
            ([("healed", 1), ("healed", 3), ("lag_zero", 4)], "the lag never came to 0 after healing"),
        ],
    )
    def test_a_slow_drain_or_none_is_found(self, events: list[tuple[str, float]], what: str) -> None:
        lines = [{"kind": kind, "at": at} for kind, at in events]
        assert told(check_lag(lines, {}, {})) == [what]

    def test_a_lag_now_is_found(self) -> None:
        events = [{"kind": "healed", "at": 1}, {"kind": "lag_zero", "at": 9.0}]
        report = check_lag(events, {0: 4}, {0: 5, 1: 2})
        assert told(report) == ["a partition is not committed to its end"] * 2


class TestBounds:
    def samples(self, rss_mib: Any, fds: Any = lambda _: 40) -> list[dict[str, Any]]:
        return [
            {"at": s, "worker": "w", "pid": 1, "rss_bytes": int(rss_mib(s) * 2**20), "fds": fds(s), "threads": 9}
            for s in range(0, 300, 2)
        ]

    def test_a_steady_process_is_accepted(self) -> None:
        report = check_bounds(self.samples(lambda s: 100 + min(s, 50) + s % 7))
        assert report.ok
        assert report.figures["long enough for a trend"] == 1

    def test_a_bound_and_a_trend_are_found(self) -> None:
        assert told(check_bounds(self.samples(lambda _: 500))) == ["rss_bytes beyond its bound"]
        assert told(check_bounds(self.samples(lambda s: 100 + s / 4))) == ["rss_bytes keeps growing"]
        assert told(check_bounds(self.samples(lambda _: 100, fds=lambda s: 40 + s // 4))) == ["fds keeps growing"]

    def test_a_process_that_lived_shortly_shows_no_trend(self) -> None:
        assert check_bounds(self.samples(lambda s: 100 + s / 4)[:60]).ok

    def test_nobody_looking_is_a_violation(self) -> None:
        assert told(check_bounds([])) == ["nobody looked at the workers' processes"]


class TestCampaign:
    def produced(self, world: World, *, aborted: int | None = None) -> dict[tuple[int, int], Produced]:
        return {
            each.place: Produced(TOPIC, each, "new", each.place in world.poisoned, each.offset == aborted)
            for each in world.records
        }

    def judged(self, world: World, records: Any = None, events: Any = (), aborted: int | None = None) -> Report:
        standing = world.records if records is None else records
        return check_campaign(events, self.produced(world, aborted=aborted), standing, world.poisoned)

    def test_the_topic_as_produced_is_accepted(self, world: World) -> None:
        report = self.judged(world)
        assert report.ok
        assert report.figures["records"] == 4

    def test_a_lost_or_changed_record_is_found(self, world: World) -> None:
        assert told(self.judged(world, world.records[1:])) == ["the topic has lost an acknowledged record"]
        changed = [world.records[0]._replace(value=b"x"), *world.records[1:]]
        assert told(self.judged(world, changed)) == ["the topic has another record than was acknowledged"]

    def test_a_visible_aborted_record_is_found(self, world: World) -> None:
        assert told(self.judged(world, aborted=2)) == ["an aborted record is visible"]
        assert self.judged(world, world.records[:2] + world.records[3:], aborted=2).ok

    def test_an_event_that_the_checker_cannot_read_is_found(self, world: World) -> None:
        report = check_campaign((), self.produced(world), world.records, [(0, 0)])
        assert told(report) == ["the checker cannot read what the generator meant as an event"]

    def test_a_worker_that_ended_by_itself_and_a_fault_without_end_are_found(self, world: World) -> None:
        started = {"kind": "fault_started", "number": 3, "fault": "killed"}
        ended = {"kind": "fault_ended", "number": 3, "fault": "killed", "fired": True}
        crashed = {"kind": "worker_exited", "worker": "w", "code": 1, "expected": False}
        assert self.judged(world, events=[started, ended]).figures["faults fired"] == 1
        assert told(self.judged(world, events=[started, crashed])) == [
            "faults did not end before the judgement",
            "a worker ended by itself",
        ]


class TestSecrets:
    @pytest.mark.parametrize(
        "leak", [b"x KEY/secret 1 x", b"key%2Fsecret%201", b"4b45592f7365637265742031", b"key/SECRET 1"]
    )
    def test_a_leak_is_found_whatever_its_form(self, tmp_path: Path, leak: bytes) -> None:
        file = tmp_path / "w.log"
        file.write_bytes(b'{"event":"a"}\n' + leak)
        assert told(check_secrets(["other", "KEY/secret 1"], [file], ())) == ["a secret stands in a file"]

    @pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
    def test_base64_is_looked_into_wherever_it_begins(self, tmp_path: Path, before: bytes) -> None:
        file = tmp_path / "w.log"
        file.write_bytes(base64.b64encode(before + b"KEY/secret 1" + b"zz"))
        assert told(check_secrets(["KEY/secret 1"], [file], ())) == ["a secret stands in a file"]

    def test_a_clean_file_is_accepted_and_no_canaries_are_not(self, tmp_path: Path) -> None:
        file = tmp_path / "w.log"
        file.write_bytes(b'{"event":"a"}\n')
        assert check_secrets(["KEY/secret 1"], [file], ()).ok
        assert told(check_secrets([], [file], ())) == ["there are no canaries to look for"]

    def test_a_dead_letters_own_headers_are_looked_at_and_its_record_is_not(self, world: World) -> None:
        bad = world.records[1] = world.records[1]._replace(value=b"canary-1", headers=(("h", b"canary-1"),))
        assert check_secrets(["canary-1"], (), letters_of(letter_of(bad))).ok
        leaking = letter_of(bad, reason="canary-1")
        assert told(check_secrets(["canary-1"], (), letters_of(leaking))) == [
            "a secret stands in a dead letter's own headers"
        ]


def test_a_report_tells_the_first_violations_and_counts_all() -> None:
    part, whole = Report(), Report()
    for number in range(MOST_TOLD + 5):
        part.violate("I1", "planted", number=number)
    part.violate("I1", "something else")
    whole.take("I1", part)
    assert len(whole.violations) == MOST_TOLD + 2
    assert whole.figures["I1"]["violations"] == MOST_TOLD + 6
    assert [str(violation) for violation in whole.violations[-2:]] == [
        "I1: something else",
        "I1: planted: more of the same (count 5)",
    ]


def test_letters_know_the_places_of_their_records(world: World) -> None:
    assert places_of(letters_of(letter_of(world.records[1]), world.records[0])) == {(0, 1)}
