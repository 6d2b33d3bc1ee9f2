"""Any other JSON by settings."""

from typing import Any

import orjson
import pytest

from streamdex.config import MappingSettings, Settings, WorkerSettings
from streamdex.errors import ConfigurationError, Reason, RecordFault
from streamdex.intake import Decoder
from streamdex.model import Event, Ignored, Order, Record

SECRET = "s3cret-in-the-document"
BODY: dict[str, Any] = {
    "after": {"id": 5, "rev": 3, "title": "T", "body": "B", "tags": ["x", "y"], "author": {"name": "A", "age": 7}},
    "gone": False,
    "empty": None,
}


def decode(body: Any, **settings: str) -> Event:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    mapping = MappingSettings(**{"text": "after.body", **settings})
    decoder = Decoder(Settings(mapping=mapping, worker=WorkerSettings(order=Order.VERSION)))
    event = decoder.decode(Record("t", 0, 1, 2, b"k", raw), epoch=0)
    assert isinstance(event, Event)
    return event


def refusal(body: Any, **settings: str) -> RecordFault:
    with pytest.raises(RecordFault) as caught:
        decode(body, **settings)
    assert SECRET not in str(caught.value)
    return caught.value


def test_paths_pick_the_parts() -> None:
    event = decode(BODY, id="after.id", version="after.rev", metadata="after.author", deleted="gone")
    assert (event.document_id, event.text, event.version) == ("5", "B", 3)
    assert event.metadata == {"name": "A", "age": 7}


def test_the_key_serves_only_where_no_id_is_mapped() -> None:
    assert decode(BODY).document_id == "k"
    assert refusal(BODY, id="after.nowhere").reason is Reason.NO_ID
    assert "after.nowhere is missing" in refusal(BODY, id="after.nowhere").message
    assert refusal(BODY, id="empty").reason is Reason.NO_ID


def test_several_parts_of_an_id_are_joined() -> None:
    assert decode(BODY, id="after.title, after.id").document_id == "T:5"
    assert decode({"a": "x:y", "b": "\\z", "t": ""}, id="a, b", text="t").document_id == "x\\:y:\\\\z"


@pytest.mark.parametrize("path", ["Records[0].key", "Records.0.key", "Records[-1].key", "b.Records[0].key"])
def test_a_record_of_several_documents_is_refused_never_cut_to_one(path: str) -> None:
    one = {"Records": [{"key": "x"}]}
    assert decode({**one, "b": one, "t": ""}, id=path, text="t").document_id == "x"
    two = {"Records": [{"key": "x"}, {"key": "y"}]}
    found = refusal({**two, "b": two, "t": ""}, id=path, text="t")
    assert found.reason is Reason.SEVERAL_DOCUMENTS
    assert "has 2 entries" in found.message


def test_a_number_picks_from_an_array() -> None:
    assert decode(BODY, text="after.tags.1").text == "y"
    assert "after.tags.2 is missing" in refusal(BODY, text="after.tags.2").message
    assert "after.tags.x is missing" in refusal(BODY, text="after.tags.x").message


def test_templates_join_fields() -> None:
    assert decode(BODY, text="{after.title}\n\n{after.body}").text == "T\n\nB"
    assert decode(BODY, text="{{{after.id}}} {after.author.age}%").text == "{5} 7%"


def test_numbers_and_booleans_fill_templates_as_json() -> None:
    assert decode({"a": True, "b": 1.5}, text="{a}/{b}").text == "true/1.5"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{after.nowhere}", "after.nowhere is missing; a template may leave it out: {after.nowhere?}"),
        ("{empty}", "empty is null; a template may leave it out: {empty?}"),
        ("{after.tags}", "after.tags is an array, not a text"),
        ("after.author", "after.author is an object, not a text"),
        ("after.id", "after.id is an integer, not a text"),
        ("after.nowhere", "after.nowhere is missing; a template may leave it out: {after.nowhere?}"),
        ("after.body.deeper", "after.body.deeper is missing; a template may leave it out: {after.body.deeper?}"),
    ],
)
def test_a_text_that_is_not_there_is_named_by_its_path(template: str, message: str) -> None:
    assert refusal({**BODY, "other": SECRET}, text=template).message == message


@pytest.mark.parametrize(
    "value",
    [True, 1, "true", "TRUE", "1", "yes", "Y", "t", "on", "2026-01-31", "2026-01-31T10:00:00Z", 1_769_853_600_000],
)
def test_a_true_value_or_a_time_deletes(value: object) -> None:
    event = decode({"gone": value, "id": "a"}, id="id", deleted="gone")
    assert (event.document_id, event.text) == ("a", None)


@pytest.mark.parametrize("value", [False, None, 0, "", "false", "False", "0", "no", "N", "f", "off"])
def test_a_false_value_does_not_delete(value: object) -> None:
    assert decode({"gone": value, "t": "x"}, text="t", deleted="gone").text == "x"
    assert decode({"t": "x"}, text="t", deleted="gone").text == "x"


@pytest.mark.parametrize("value", ["d", "delete", SECRET, 2, -1, 0.5, 1.0, [], [0], {}, {"a": 1}])
def test_what_is_neither_true_nor_false_is_refused(value: object) -> None:
    found = refusal({"gone": value, "t": "x"}, text="t", deleted="gone")
    assert found.reason is Reason.WRONG_TYPE
    assert "mapping.deleted" in found.message


def test_a_condition_deletes() -> None:
    body = {"op": "d", "id": 1}
    assert decode(body, id="id", deleted_when="op == 'd'").text is None
    assert decode({**body, "op": "u", "t": "x"}, id="id", text="t", deleted_when="op == 'd'").text == "x"
    assert decode(body, id="id", deleted_when="contains(['d', 't'], op)").text is None


def test_a_condition_ignores() -> None:
    settings = Settings(mapping=MappingSettings(text="t", id="id", ignore_when="type == 'heartbeat'"))
    found = Decoder(settings).decode(Record("t", 0, 1, 2, b"k", b'{"type": "heartbeat"}'), epoch=0)
    assert isinstance(found, Ignored)


@pytest.mark.parametrize(
    ("key", "ids", "value"),
    [
        (b"7", "id", {"id": 7}),
        (b"7", "id", {"id": "7"}),
        (b'{"id":7}', "id", {"id": 7}),
        (b'{"id":"7"}', "after.id", {"after": {"id": 7}}),
        (b'{"schema":{"type":"int32"},"payload":7}', "id", {"id": 7}),
        (b'{"schema":{},"payload":{"id":7}}', "id", {"id": 7}),
        (b'"x"', "id", {"id": "x"}),
        (b'{"ID":7}', "id", {"id": 7}),  # one field needs no particular name
        (b'{"b":"y","a":1}', "a, b", {"a": 1, "b": "y"}),
        (b'{"b":"y:z","a":1,"c":0}', "row.a, row.b", {"row": {"a": 1, "b": "y:z"}}),
    ],
)
def test_a_null_value_deletes_the_document_that_a_value_names(key: bytes, ids: str, value: dict[str, Any]) -> None:
    decoder = Decoder(Settings(mapping=MappingSettings(text="t || row.t || after.t", id=ids)))
    value = {name: {**part, "t": "x"} if isinstance(part, dict) else part for name, part in value.items()} | {"t": "x"}
    written = decoder.decode(Record("t", 0, 1, 2, key, orjson.dumps(value)), epoch=0)
    deleted = decoder.decode(Record("t", 0, 2, 3, key, None), epoch=0)
    assert isinstance(written, Event)
    assert isinstance(deleted, Event)
    assert (deleted.document_id, deleted.text) == (written.document_id, None)


@pytest.mark.parametrize(
    ("key", "ids"),
    [
        (None, "id"),
        (b"", "id"),
        (b"\x00\x00\x00\x07", "id"),
        (b"\x00\x00\x00\x00\x05abc", "id"),
        (b"\xff", "id"),
        (b"7", "a, b"),
        (b'{"a":1}', "a, b"),
        (b'{"x":1,"y":2}', "id"),
        (b'{"id":null}', "id"),
        (b'{"id":1.5}', "id"),
        (b'{"id":{"a":1}}', "id"),
        (b"{}", "id"),
    ],
)
def test_a_null_value_whose_key_names_no_document_has_no_id(key: bytes | None, ids: str) -> None:
    decoder = Decoder(Settings(mapping=MappingSettings(text="t", id=ids)))
    with pytest.raises(RecordFault) as caught:
        decoder.decode(Record("t", 0, 2, 3, key, None), epoch=0)
    assert caught.value.reason is Reason.NO_ID


def test_several_metadata_paths_become_fields_under_their_last_names() -> None:
    event = decode(BODY, metadata="after.title, after.author.name ,after.nowhere,empty")
    assert event.metadata == {"title": "T", "name": "A", "empty": None}


def test_a_missing_metadata_object_is_empty() -> None:
    assert decode(BODY, metadata="after.nowhere").metadata == {}
    assert decode(BODY, metadata="empty").metadata == {}


def test_one_metadata_path_may_name_a_value() -> None:
    assert decode(BODY, metadata="after.tags").metadata == {"tags": ["x", "y"]}
    assert decode(BODY, metadata="after.title").metadata == {"title": "T"}


def test_metadata_fields_are_renamed_computed_taken_all_and_left_out() -> None:
    assert decode(BODY, metadata="after.author, by: after.author.name").metadata == {
        "author": {"name": "A", "age": 7},
        "by": "A",
    }
    assert decode(BODY, metadata="by: after.author.name").metadata == {"by": "A"}
    assert decode(BODY, metadata="writer: after.author").metadata == {"writer": {"name": "A", "age": 7}}
    assert decode(BODY, metadata="*, -after, n: length(after.tags)").metadata == {"gone": False, "empty": None, "n": 2}
    assert decode(BODY, metadata="topic(), at: offset()").metadata == {"topic": "t", "at": 1}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{a}\n\n{b?}\n\n{c}", "A\n\nC"),
        ("{b?}\n\n{a}", "A"),
        ("{a}\n\n{b?}", "A"),
        ("{b?}{n?}", ""),
        ("{join('\n', list[].x)}", "1\n2"),
        ("{a} - {b?}", "A - "),
        ("{a?} {c?}", "A C"),
    ],
)
def test_an_optional_part_that_is_missing_or_null_vanishes_with_its_blank_lines(template: str, text: str) -> None:
    body = {"a": "A", "b": None, "c": "C", "list": [{"x": "1"}, {"x": "2"}]}
    assert decode(body, text=template).text == text


def test_contents_that_are_packed_into_a_text() -> None:
    body = {"j": '{"x": ["y"]}', "b": "aGk=", "h": "<h1>A</h1><p>b <b>c</b></p><script>no()</script>", "k.d": "dotted"}
    assert decode(body, text="parse_json(j).x[0]").text == "y"
    assert decode(body, text="base64(b)").text == "hi"
    assert decode(body, text="html(h)").text == "A\nb c"
    assert decode(body, text='"k.d"').text == "dotted"
    assert refusal({"j": SECRET}, text="parse_json(j)").reason is Reason.NOT_JSON
    assert refusal({"b": SECRET}, text="base64(b)").reason is Reason.WRONG_TYPE
    assert refusal({"b": SECRET}, text="join(',', b)").reason is Reason.WRONG_TYPE


def test_metadata_is_checked_as_everywhere() -> None:
    wide = b'{"t": "x", "m": {"n": 123456789012345678901}}'
    assert "beyond 64 bits" in refusal(wide, text="t", metadata="m").message
    deep = b'{"t": "x", "m": {"n": ' + b"[" * 40 + b"]" * 40 + b"}}"
    assert refusal(deep, text="t", metadata="m").reason is Reason.TOO_DEEP


def test_a_wide_integer_that_is_not_mapped_does_not_matter() -> None:
    body = b'{"t": "x", "m": {"n": 6e23}, "other": 123456789012345678901}'
    assert decode(body, text="t", metadata="m").metadata == {"n": 6e23}


def test_deep_json_that_is_not_mapped_does_not_matter_unless_it_must_be_read_exactly() -> None:
    deep = b"[" * 1020 + b"]" * 1020
    assert decode(b'{"t": "x", "m": {"n": 1}, "o": ' + deep + b"}", text="t", metadata="m").metadata == {"n": 1}
    assert (
        refusal(b'{"t": "x", "m": {"n": 6e23}, "o": ' + deep + b"}", text="t", metadata="m").reason is Reason.TOO_DEEP
    )


def test_versions_are_checked_as_everywhere() -> None:
    assert "version" in refusal({"t": "x", "v": "7"}, text="t", version="v").message


def test_in_offset_order_what_is_no_version_does_not_matter() -> None:
    decoder = Decoder(Settings(mapping=MappingSettings(text="t", version="v")))
    event = decoder.decode(Record("t", 0, 1, 2, b"k", b'{"t": "x", "v": "seven"}'), epoch=0)
    assert isinstance(event, Event)
    assert event.version is None


@pytest.mark.parametrize(
    "settings",
    [
        {"id": "id"},
        {"text": "{unclosed"},
        {"text": "closed}"},
        {"text": "{}"},
        {"text": "{a!r}"},
        {"text": "{a:>3}"},
        {"text": "a..b"},
        {"text": "t", "id": "a."},
        {"text": "t", "metadata": "a.name,b.name"},
        {"text": "t", "metadata": "a,,b"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Decoder(Settings(mapping=MappingSettings(**settings)))
    assert caught.value.where.startswith("mapping.")
    assert caught.value.fix
