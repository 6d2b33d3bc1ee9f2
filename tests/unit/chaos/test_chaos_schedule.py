"""The schedule and the generator: decided by the seed alone, every kind in its turn, within what the stage can bear."""

from collections import Counter

import pytest

from chaos.checker.events import LogRecord, Ranking, decodable
from chaos.faults import make_fault
from chaos.generator import (
    CANARIES,
    DOCUMENTS,
    KEY_CANARY,
    REFUSED_MARKER,
    TEXT_CANARY,
    VERSIONED_WEIGHTS,
    WEIGHTS,
    Draft,
    Generator,
)
from chaos.hooked_worker import MOMENTS, STEPS
from chaos.schedule import FEWEST, KINDS, MEMBERS, MOST, Action, Schedule

ROUND_S = 70.0


def rounds(seed: int, count: int) -> list[Action]:
    schedule = Schedule(seed)
    return [action for _ in range(count) for action in schedule.round(ROUND_S)]


def test_a_seed_gives_the_same_faults_each_time_and_another_gives_others() -> None:
    assert rounds(7, 3) == rounds(7, 3)
    assert rounds(7, 3) != rounds(8, 3)


def test_faults_stay_within_their_round_and_are_numbered_through() -> None:
    actions = rounds(1, 4)
    assert all(action.at_s > 0 and action.at_s + action.lasts_s <= ROUND_S for action in actions)
    assert all(0 <= action.pick < 1 for action in actions)
    assert [action.number for action in actions] == list(range(1, len(actions) + 1))


def test_every_kind_comes_up_by_its_weight_in_the_long_run() -> None:
    found = Counter(action.kind for action in rounds(3, 60))
    assert found.keys() == KINDS.keys()
    neighbours = [kind for kind in KINDS if kind not in MEMBERS]
    parts = [found[kind] / KINDS[kind].weight for kind in neighbours]
    assert max(parts) - min(parts) <= 1.0


def test_the_group_keeps_its_members_within_bounds() -> None:
    schedule = Schedule(5)
    for _ in range(40):
        before = schedule.members
        joined = Counter(action.kind for action in schedule.round(ROUND_S))
        assert schedule.members == before + joined["member joins"] - joined["member leaves"]
        assert FEWEST <= schedule.members <= MOST


def test_hooks_name_steps_and_moments_that_there_are() -> None:
    hooks = [action.parameters for action in rounds(2, 60) if action.kind == "killed between steps"]
    assert {hook["step"] for hook in hooks} == STEPS.keys()
    assert {hook["moment"] for hook in hooks} <= set(MOMENTS)
    assert {"step": "settle", "moment": "amid"} not in hooks  # it awaits nothing


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_can_be_made_of_each_kind(kind: str) -> None:
    class Nothing:
        """Faults do nothing before their start."""

        def __getattr__(self, name: str) -> object:
            return self

    action = next(action for action in rounds(4, 60) if action.kind == kind)
    assert callable(make_fault(action, Nothing()).start)  # type: ignore[arg-type]  # no stage is touched


def drafts(seed: int, count: int, order: str = "offset") -> list[Draft]:
    generator = Generator(seed, 6, order)
    return [generator.next() for _ in range(count)]


def test_a_seed_gives_the_same_records_each_time() -> None:
    assert drafts(1, 500) == drafts(1, 500)
    assert drafts(1, 500) != drafts(2, 500)


def test_every_kind_of_record_comes_up() -> None:
    assert {draft.kind for draft in drafts(1, 3_000)} == WEIGHTS.keys()
    assert {draft.kind for draft in drafts(1, 3_000, "version")} == VERSIONED_WEIGHTS.keys()


def test_where_versions_order_the_events_the_log_says_otherwise() -> None:
    records = [
        LogRecord(draft.partition or 0, offset, 0, draft.key, draft.value, draft.headers)
        for offset, draft in enumerate(drafts(1, 3_000, "version"))
        if not draft.poison and not draft.aborted
    ]
    events = list(decodable(records, Ranking("version", dict.fromkeys(range(6), 0))))
    assert len(events) == len(records), "each has a version, null values too"
    newest: Counter[str] = Counter()
    late = equal = elsewhere = 0
    for (version, _), record, event in events:
        late += version < newest[event.document_id]
        equal += version == newest[event.document_id]
        elsewhere += record.partition != 0
        newest[event.document_id] = max(version, newest[event.document_id])
    assert min(late, equal, elsewhere) > 50


def test_poison_is_marked_and_so_is_what_is_aborted() -> None:
    for draft in drafts(1, 3_000) + drafts(1, 3_000, "version"):
        assert draft.poison == (draft.kind in ("undecodable", "no id", "too deep", "refused", "no version"))
        assert draft.aborted == (draft.kind == "aborted")
        assert (REFUSED_MARKER.encode() in (draft.value or b"")) == (draft.kind == "refused")


def test_canaries_are_in_every_key_and_text() -> None:
    assert {TEXT_CANARY, KEY_CANARY} < set(CANARIES)
    for draft in drafts(1, 3_000) + drafts(1, 3_000, "version"):
        assert draft.key is None or KEY_CANARY.encode() in draft.key
        assert draft.value is None or b'"op": "delete"' in draft.value or TEXT_CANARY.encode() in draft.value


def test_documents_are_many_and_not_without_end() -> None:
    keys = {draft.key for draft in drafts(1, 6_000) if draft.key}
    assert len(keys) == DOCUMENTS


def test_a_duplicate_is_the_documents_last_record_again() -> None:
    last: dict[bytes | None, bytes | None] = {}
    duplicates = 0
    for draft in drafts(1, 3_000):
        if draft.kind == "duplicate":
            duplicates += 1
            assert last[draft.key] == draft.value
        elif not draft.poison and not draft.aborted:
            last[draft.key] = draft.value
    assert duplicates > 50
