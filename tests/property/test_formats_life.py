"""A table's life in every dialect: the changes fold to the table, also when all of them come again."""

import importlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dialects import DIALECTS, Dialect, Sent, Step, sent_by
from streamdex.intake.formats.change import ChangeKind
from streamdex.model import JsonObject, Record

IDS = st.integers(min_value=1, max_value=4)
STEPS = st.builds(Step, st.sampled_from(["write", "write", "delete", "move"]), IDS, st.sampled_from("abc"), IDS)


@pytest.mark.parametrize("name", DIALECTS)
@given(steps=st.lists(STEPS, max_size=12))
def test_the_changes_fold_to_the_table(name: str, steps: list[Step]) -> None:
    dialect = DIALECTS[name]
    table: dict[int, JsonObject] = {}
    sent = [dialect.control, *(each for step in steps for each in sent_by(dialect, table, step))]
    found = folded(dialect, sent, {})
    assert found == table
    assert folded(dialect, sent, found) == table  # everything comes again


def folded(dialect: Dialect, sent: list[Sent], start: dict[int, JsonObject]) -> dict[int, JsonObject]:
    module = importlib.import_module(f"streamdex.intake.formats.{dialect.format}")
    rows = dict(start)
    for key, value in sent:
        record = Record("t", 0, 0, 0, None if key is None else orjson.dumps(key), None)
        if value is None:
            rows.pop(dialect.row_of_key(record)[dialect.id_name], None)
            continue
        change = module.change_of(value, record)
        if change.kind is ChangeKind.DELETE:
            rows.pop(change.row[dialect.id_name], None)
        elif change.kind is ChangeKind.UPSERT:
            row_id = change.row[dialect.id_name]
            kept = {name: rows[row_id][name] for name in change.unavailable}
            row = {name: value for name, value in change.row.items() if name != dialect.id_name}
            rows[row_id] = {"id": row_id, **row, **kept}
    return rows
