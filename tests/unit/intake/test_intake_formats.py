"""Which format a record is read as, what each one makes of a null value, and which versions count."""

import zlib
from typing import Any

import orjson
import pytest

from streamdex.config import EventsSettings, MappingSettings, Settings, WorkerSettings
from streamdex.errors import ConfigurationError, Reason, RecordFault
from streamdex.intake import Decoder
from streamdex.model import Event, Ignored, Order, Record

DEBEZIUM = {"before": None, "after": {"id": 1, "t": "x"}, "op": "c", "ts_ms": 1, "source": {"connector": "mysql"}}
MAPPED = MappingSettings(id="id", text="t")


def record(value: Any, key: bytes | None = b"k", topic: str = "t") -> Record:
    raw = value if isinstance(value, bytes) or value is None else orjson.dumps(value)
    return Record(topic, 0, 1, 1_700_000_000_000, key, raw)


def decode(settings: Settings, value: Any, key: bytes | None = b"k", topic: str = "t") -> Event | Ignored:
    return Decoder(settings).decode(record(value, key, topic), epoch=0)


def document(settings: Settings, value: Any, key: bytes | None = b"k", topic: str = "t") -> tuple[str, str | None]:
    event = decode(settings, value, key, topic)
    assert isinstance(event, Event)
    return event.document_id, event.text


def test_auto_reads_the_envelope_without_a_mapping_and_recognises_wrappers_with_one() -> None:
    assert document(Settings(), {"id": 1, "text": "x"}) == ("1", "x")
    assert document(Settings(mapping=MAPPED), DEBEZIUM) == ("1", "x")
    assert document(Settings(mapping=MAPPED), {"id": 1, "t": "x", "type": "note"}) == ("1", "x")


def test_a_wrapper_without_a_mapping_is_named_in_the_fault() -> None:
    with pytest.raises(RecordFault, match=r"looks like debezium: set mapping\.text, or events\.format") as caught:
        decode(Settings(), DEBEZIUM)
    assert caught.value.reason is Reason.UNKNOWN_FIELD


def test_topics_may_have_formats_of_their_own() -> None:
    events = EventsSettings.model_validate({"by_topic": "changes=debezium, notes=text,own=envelope", "format": "json"})
    settings = Settings(events=events, mapping=MAPPED)
    assert document(settings, DEBEZIUM, topic="changes") == ("1", "x")
    assert document(settings, b"plain words", topic="notes") == ("k", "plain words")
    assert document(settings, {"id": 2, "text": "y"}, topic="own") == ("2", "y")
    assert document(settings, {"id": 3, "t": "z", "op": "c"}) == ("3", "z")


def test_a_format_of_rows_needs_a_mapping_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="needs the place of the text"):
        Decoder(Settings(events=EventsSettings.model_validate({"format": "debezium"})))


def test_text_is_the_value_and_the_key_is_the_id() -> None:
    settings = Settings(events=EventsSettings.model_validate({"format": "text"}))
    assert document(settings, "Gezeiten: früh".encode()) == ("k", "Gezeiten: früh")
    assert document(settings, None) == ("k", None)
    with pytest.raises(RecordFault) as caught:
        decode(settings, b"\xff")
    assert caught.value.reason is Reason.NOT_UTF8


def test_control_events_are_ignored_with_a_reason() -> None:
    found = decode(Settings(mapping=MAPPED), {**DEBEZIUM, "op": "t", "after": None})
    assert isinstance(found, Ignored)
    assert found.why == "a truncate"


@pytest.mark.parametrize("field", ["t", "*", "t, n"])
def test_what_the_source_left_out_is_not_taken_for_its_value(field: str) -> None:
    after = {"id": 1, "t": "x", "n": "__debezium_unavailable_value"}
    mapping = MappingSettings(id="id", text="n" if field == "t" else "t", metadata=None if field == "t" else field)
    with pytest.raises(RecordFault) as caught:
        decode(Settings(mapping=mapping), {**DEBEZIUM, "after": after})
    assert caught.value.reason is Reason.VALUE_UNAVAILABLE
    assert "left out n" in caught.value.message


@pytest.mark.parametrize(
    "mapping", [{"text": "n || t"}, {"text": "join(' ', [t, n])"}, {"text": "t", "deleted_when": "n == 'gone'"}]
)
def test_an_expression_does_not_pass_over_what_was_left_out(mapping: dict[str, str]) -> None:
    after = {"id": 1, "t": "x", "n": "__debezium_unavailable_value"}
    with pytest.raises(RecordFault) as caught:
        decode(Settings(mapping=MappingSettings(id="id", **mapping)), {**DEBEZIUM, "after": after})
    assert caught.value.reason is Reason.VALUE_UNAVAILABLE


def test_a_field_that_metadata_leave_out_may_be_left_out_by_the_source() -> None:
    after = {"id": 1, "t": "x", "n": "__debezium_unavailable_value"}
    mapping = MappingSettings(id="id", text="t", metadata="*, -n")
    assert document(Settings(mapping=mapping), {**DEBEZIUM, "after": after}) == ("1", "x")


def test_a_text_has_the_same_cap_on_its_bytes() -> None:
    settings = Settings.model_validate({"events": {"format": "text"}, "caps": {"record_bytes": 1024}})
    assert document(settings, b"x" * 1024) == ("k", "x" * 1024)
    for value in (b"x" * 1025, zlib.compress(b"x" * 1025, wbits=31)):
        with pytest.raises(RecordFault) as caught:
            decode(settings, value)
        assert caught.value.reason is Reason.TOO_MANY_BYTES


def test_what_nobody_maps_may_be_left_out() -> None:
    after = {"id": 1, "t": "x", "n": "__debezium_unavailable_value"}
    assert document(Settings(mapping=MAPPED), {**DEBEZIUM, "after": after}) == ("1", "x")


@pytest.mark.parametrize(("rule", "version"), [("header", None), ("timestamp", 1_700_000_000_000)])
def test_the_version_of_a_null_value_without_the_header(rule: str, version: int | None) -> None:
    worker = WorkerSettings.model_validate({"order": "version", "tombstone_version": rule})
    event = decode(Settings(worker=worker), None)
    assert isinstance(event, Event)
    assert event.version == version


def test_the_order_of_the_source_is_the_version_where_none_is_mapped() -> None:
    settings = Settings(mapping=MAPPED, worker=WorkerSettings(order=Order.VERSION))
    event = decode(settings, {**DEBEZIUM, "source": {"connector": "postgresql", "lsn": 77}})
    assert isinstance(event, Event)
    assert event.version == 77
