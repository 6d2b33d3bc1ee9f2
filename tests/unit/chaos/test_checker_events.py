"""What records mean to the checker."""

import base64
from pathlib import Path

import pytest

from chaos.checker.events import DEEPEST_METADATA, NoEvent, Rank, Ranking, decode, histories, levels
from chaos.checker.evidence import read_evidence, read_log
from chaos.checker.store import bases_of, manifest_id
from harness.checker_samples import RANKING, World, record


def nested(deep: int) -> object:
    value: object = {}
    for _ in range(deep - 1):
        value = {"deeper": value}
    return value


class TestDecode:
    def test_an_upsert_names_its_document_by_id_or_by_key(self) -> None:
        named = decode(record(0, {"id": "a", "text": "t", "metadata": {"n": 1}, "version": 7}))
        assert (named.document_id, named.text, named.metadata, named.version) == ("a", "t", {"n": 1}, 7)
        assert decode(record(0, {"id": 5, "text": "t"})).document_id == "5"
        assert decode(record(0, {"text": "t"}, key=b"k")).document_id == "k"

    def test_a_delete_is_a_null_value_or_says_so(self) -> None:
        assert decode(record(0, None, key=b"k")).text is None
        assert decode(record(0, {"id": "a", "op": "delete", "text": "t"})).text is None

    @pytest.mark.parametrize(
        ("value", "key"),
        [
            (b"\xff\xfe{", b"k"),
            ([1], b"k"),
            ({"text": "t"}, None),
            ({"text": "t"}, b"\xff"),
            ({"id": True, "text": "t"}, b"k"),
            ({"text": 1}, b"k"),
            ({"text": "t", "metadata": [1]}, b"k"),
            ({"text": "t", "metadata": nested(DEEPEST_METADATA + 1)}, b"k"),
        ],
    )
    def test_what_nobody_can_index_is_no_event(self, value: object, key: bytes | None) -> None:
        with pytest.raises(NoEvent):
            decode(record(0, value, key))

    def test_metadata_may_be_as_deep_as_a_payload_has_room(self) -> None:
        assert levels(nested(DEEPEST_METADATA)) == DEEPEST_METADATA
        assert decode(record(0, {"text": "t", "metadata": nested(DEEPEST_METADATA)})).text == "t"


class TestRanks:
    def test_in_offset_order_the_log_decides(self) -> None:
        late, early = record(9, {"text": "t", "version": 1}), record(3, {"text": "t", "version": 2})
        assert RANKING.of(late, decode(late)) > RANKING.of(early, decode(early))

    def test_in_version_order_the_version_decides_and_then_the_log(self) -> None:
        ranking = Ranking("version", {0: 0})
        ranks = [
            ranking.of(each, decode(each))
            for each in (
                record(3, {"text": "t", "version": 2}),
                record(9, {"text": "t", "version": 1}),
                record(8, {"text": "t", "version": 1}),
            )
        ]
        assert sorted(ranks, reverse=True) == ranks
        with pytest.raises(NoEvent):
            ranking.of(record(0, {"text": "t"}), decode(record(0, {"text": "t"})))

    def test_a_stored_rank_is_read_without_its_cutting(self) -> None:
        assert RANKING.stored({"version": 1_004 * 64 + 5}) == (Rank(0, 1_004), 5)
        assert Ranking("version", {}).stored({"version": 7, "sequence": 64}) == (Rank(7, 1), 0)

    def test_what_has_no_rank_ranks_below_all(self) -> None:
        assert RANKING.stored({})[0] < Rank(0, 0)

    def test_a_partition_that_nobody_took_up_ranks_above_all_that_is_stored(self) -> None:
        strange = record(0, {"text": "t"}, partition=7)
        assert RANKING.of(strange, decode(strange)) > Rank(0, 2**53)

    def test_the_newest_epochs_base_counts(self) -> None:
        base = {"kind": "base", "topic": "t", "partition": 0}
        old, new, other = {"epoch": 0, "base": 1}, {"epoch": 1, "base": 9}, {"epoch": 2, "base": 5, "topic": "u"}
        assert bases_of([base | new, base | old, base | other], "t") == {0: 9}


def test_a_history_leaves_out_what_was_dead_lettered() -> None:
    world = World()
    first, second = world.upsert("a", "one"), world.upsert("a", "two")
    assert [each.record for each in histories(world.ranked, {second.place})["a"]] == [first]


def test_manifests_are_found_where_the_stored_format_has_them() -> None:
    assert manifest_id("doc-1") == "7db12726-12f8-53b9-b1f5-8a0b6d5160df"


class TestEvidence:
    def test_of_a_log_the_lines_that_matter_are_read_and_cut_ones_are_not(self) -> None:
        line = '{"event":"partitions.assigned","starts":{"t-0":5},"timestamp":"2026-11-22T10:00:00.5Z"}'
        found = list(read_log("w0-001", f'{line}\nTraceback\n{{"event":"worker.started"}}\n{line[:40]}'))
        assert [(one.event, one.fields["starts"], one.at % 1) for one in found] == [
            ("partitions.assigned", {"t-0": 5}, 0.5)
        ]

    def test_a_directory_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "workers").mkdir()
        (tmp_path / "run.json").write_text('{"seed": 1}')
        value = base64.b64encode(b"{}").decode()
        (tmp_path / "produced.jsonl").write_text(
            f'{{"topic":"t","partition":1,"offset":2,"timestamp_ms":3,"key_b64":null,"value_b64":"{value}",'
            '"headers":[["h",null]],"kind":"new","poison":false,"aborted":true}\n'
        )
        (tmp_path / "billing.jsonl").write_text(
            '{"began":1.25,"at":1.5,"worker":"w","answered":true,"tokens":3,"inputs":[["aa",1],["bb",2]]}\n'
        )
        evidence = read_evidence(tmp_path)
        produced = evidence.produced[1, 2]
        assert (produced.record.value, produced.record.headers, produced.aborted) == (b"{}", (("h", None),), True)
        assert [(one.text, one.tokens, one.fault) for one in evidence.payments] == [("aa", 1, None), ("bb", 2, None)]
        assert evidence.commits == []
