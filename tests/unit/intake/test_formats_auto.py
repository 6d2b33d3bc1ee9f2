"""What `auto` may pick: a record fits its own format and no other; our envelope and plain rows fit none."""

import importlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from harness.format_examples import FORMATS, examples, record_of
from streamdex.errors import RecordFault
from streamdex.intake.decoder import MARKS
from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.model import JsonObject, Record

Fits = Callable[[JsonObject, Record], bool]
MODULES = {name: importlib.import_module(f"streamdex.intake.formats.{name}") for name in FORMATS}

OF_NO_FORMAT: list[JsonObject] = [
    {"id": "1", "op": "upsert", "text": "Tides", "metadata": {"operation": "insert"}, "version": 7},
    {"id": "1", "op": "delete"},
    {"id": "1", "text": "Tides", "metadata": {"record-type": "data", "operation": "load", "table-name": "notes"}},
    {"id": "1", "text": "T", "metadata": {"record-type": "control", "operation": "insert", "table-name": "notes"}},
    {},
    {"ts_ms": 5},
    {"id": 1, "title": "Tides", "body": None},
    {"id": 1, "op": "c", "source": "web", "after": "noon", "before": "dawn"},
    {"id": 1, "op": "c", "source": {"name": "web"}, "after": {"id": 1}},
    {"id": 1, "op": "c", "source": {"connector": "http"}},
    {"id": 1, "op": "c", "source": {"connector": "http"}, "ts_ms": 1, "after": None},
    {"id": 1, "op": "c", "source": {"connector": "http"}, "after": {"id": 1}},
    {"id": 1, "op": "t", "source": {"connector": "http"}},
    {"id": 1, "op": "c", "source": {"connector": "mongodb"}, "ts_ms": 1},
    {"id": 1, "databaseName": "shop", "ddl": "none", "source": {"name": "web"}},
    {"status": "OPEN", "id": "1", "event_count": 1, "data_collections": []},
    {"type": "table-drop", "database": "shop", "ts": 1},
    {"type": "insert", "database": "shop", "table": "notes", "ts": 1, "data": "Tides"},
    {"type": "insert", "database": "shop", "table": "notes", "data": {"id": 1}},
    {"type": "insert", "table": "notes", "ts": 1, "data": {"id": 1}},
    {"type": "insert", "database": "shop", "ts": 1, "data": {"id": 1}},
    {"isDdl": False, "type": "INSERT", "table": "notes", "data": []},
    {"isDdl": False, "type": "INSERT", "database": "shop", "data": []},
    {"isDdl": False, "type": "INSERT", "database": "shop", "table": "notes"},
    {"isDdl": "no", "type": "INSERT", "database": "shop", "table": "notes", "data": []},
    {"data": {"id": 1}, "metadata": {"record-type": "data", "operation": "insert"}},
    {"data": {"id": 1}, "metadata": {"record-type": "data", "operation": 1, "table-name": "notes"}},
    {"operationType": "insert", "ns": {"db": "shop"}, "documentKey": {"_id": 1}},
    {"_id": 1, "operationType": "sale", "ns": "shop"},
    {"specversion": "1.0", "id": 1, "source": "/", "type": "t"},
    {"id": "x", "type": "insert", "database": "shop", "table": "notes", "ts": 1},
    {"id": "x", "type": "INSERT", "database": "shop", "table": "notes", "data": [{"id": 1}]},
    {"id": "x", "isDdl": False, "type": "note"},
    {"id": "x", "type": "note", "source": "/notes", "data": {"title": "Tides"}, "specversion": "2"},
    {"id": "x", "status": "BEGIN", "event_count": 3},
    {"_id": "x", "operationType": "insert", "title": "Tides"},
    {"_id": {"$oid": "65a1f0c2d4e5f60718293a4b"}, "title": "Tides"},
    {"schema": "public", "payload": {"title": "Tides"}},
    {"schema": {"type": "struct", "fields": []}, "payload": {"id": 1, "title": "Tides"}},
    {"schema": {"type": "string"}, "payload": "Tides"},
    {"schema": None, "payload": None},
    {"id": 1, "__deleted": "yes"},
    {"data": {"id": 1}, "metadata": {"operation": "insert"}},
    {"Records": [{"eventName": "ObjectCreated:Put"}]},
    {"action": "opened", "issue": {"id": 1, "title": "Tides"}, "sender": {"type": "User"}},
]


def those_that_fit(body: JsonObject, record: Record) -> list[str]:
    return [name for name, module in MODULES.items() if module.fits(body, record)]


def cases(*, faults: bool) -> list[object]:
    found = [(name, case) for name in FORMATS for case in examples(name, faults=faults)]
    return [pytest.param(name, case, id=f"{name}: {case['name']}") for name, case in found]


@pytest.mark.parametrize(("name", "case"), cases(faults=False))
def test_an_example_fits_its_own_format_and_no_other(name: str, case: JsonObject) -> None:
    found = those_that_fit(case["value"], record_of(case))
    assert found == [name] or not case.get("auto", True)


@pytest.mark.parametrize(("name", "case"), cases(faults=True))
def test_a_damaged_example_fits_no_other_format(name: str, case: JsonObject) -> None:
    assert those_that_fit(case["value"], record_of(case)) in ([], [name])


@pytest.mark.parametrize("body", OF_NO_FORMAT, ids=lambda body: orjson.dumps(body).decode()[:60])
def test_our_envelope_and_plain_rows_fit_none(body: JsonObject) -> None:
    assert those_that_fit(body, Record("t", 0, 1, 2, b"7", orjson.dumps(body))) == []


@pytest.mark.parametrize("missing", ["ce_specversion", "ce_id", "ce_source", "ce_type"])
def test_headers_that_do_not_make_a_cloud_event_fit_none(missing: str) -> None:
    all_headers = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/"), ("ce_type", b"t"))
    record = Record("t", 0, 1, 2, None, b"{}", tuple(pair for pair in all_headers if pair[0] != missing))
    assert those_that_fit({"title": "Tides"}, record) == []
    record = record._replace(headers=(*record.headers, (missing, None)))
    assert those_that_fit({"title": "Tides"}, record) == []


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("debezium", {"before": {"id": 1}, "after": None, "op": "u", "source": {"connector": "mysql"}, "ts_ms": 1}),
        ("debezium", {"after": None, "op": "c", "source": {"connector": "mysql"}, "ts_ms": 1}),
        ("debezium", {"after": None, "op": "d", "source": {"connector": "mysql"}, "ts_ms": 1, "added": 1}),
        ("debezium", {"after": {}, "op": "c", "source": {"connector": "mysql"}, "ts_ms": 1, "added": 1}),
        ("debezium_mongodb", {"after": None, "patch": "{}", "op": "u", "source": {"connector": "mongodb"}, "ts_ms": 1}),
        ("debezium_mongodb", {"updateDescription": {}, "op": "u", "source": {"connector": "mongodb"}, "ts_ms": 1}),
        ("debezium_mongodb", {"after": None, "op": "d", "source": {"connector": "mongodb"}, "ts_ms": 1}),
        ("mongodb", {"_id": {}, "operationType": "update", "ns": {}, "documentKey": {"_id": 1}}),
        ("canal", {"isDdl": False, "type": "INSERT", "database": "shop", "table": "notes", "data": []}),
    ],
)
def test_what_must_be_of_a_format_fits_it_although_it_comes_to_a_fault(name: str, body: JsonObject) -> None:
    """Else `auto` would read the wrapper as a row."""
    assert those_that_fit(body, Record("t", 0, 1, 2, None, b"")) == [name]


JUNK: list[object] = [None, True, -1, 1.5, 10**40, "x", "{", [], ["x"], {}, {"x": None}]


@pytest.mark.parametrize("name", FORMATS)
def test_any_damage_comes_to_a_change_or_a_fault(name: str) -> None:
    """Each field of each example, at any depth, is replaced by junk or taken out."""
    for case in (*examples(name, faults=False), *examples(name, faults=True)):
        for body in damaged(case["value"]):
            check_outcome(name, body, record_of(case))


@pytest.mark.parametrize("name", FORMATS)
def test_any_damage_of_the_key_comes_to_a_change_or_a_fault(name: str) -> None:
    for case in examples(name, faults=False):
        for key in (*JUNK, *damaged(case.get("key", {"id": 1}))):
            record = record_of(case)._replace(key=json.dumps(key).encode())
            check_outcome(name, case["value"], record)


def check_outcome(name: str, body: JsonObject, record: Record) -> None:
    """A row with names for fields, or a fault whose message a terminal can show."""
    MODULES[name].fits(body, record)
    outcome = change_or_fault(name, body, record)
    if isinstance(outcome, RecordFault):
        assert outcome.message.isprintable()
    else:
        assert isinstance(outcome.row, dict)
        assert not outcome.unavailable & outcome.row.keys()
        assert bool(outcome.why) is (outcome.kind is ChangeKind.IGNORED)


def change_or_fault(name: str, body: JsonObject, record: Record) -> Change | RecordFault:
    try:
        change: Change = MODULES[name].change_of(body, record)
    except RecordFault as fault:
        return fault
    return change


def damaged(value: Any) -> Iterator[Any]:
    """The value with one part of it missing or replaced."""
    parts = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for at, part in parts:
        for junk in (*JUNK, *damaged(part)):
            copy: Any = value.copy()
            copy[at] = junk
            yield copy
        rest: Any = value.copy()
        del rest[at]
        yield rest


@pytest.mark.parametrize("name", FORMATS)
def test_each_value_that_fits_has_a_mark(name: str) -> None:
    fitting = [case for case in examples(name, faults=False) if MODULES[name].fits(case["value"], record_of(case))]
    assert fitting
    for case in fitting:
        assert record_of(case).headers or not MARKS.isdisjoint(case["value"])
