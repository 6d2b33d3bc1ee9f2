"""Any other JSON by settings."""

from typing import Any

import orjson
import pytest

from streamdex.config import CapsSettings, MappingSettings
from streamdex.errors import ConfigurationError, Reason, RecordFault
from streamdex.intake import Decoder
from streamdex.model import Event, Record

SECRET = "s3cret-in-the-document"
BODY: dict[str, Any] = {
    "after": {"id": 5, "rev": 3, "title": "T", "body": "B", "tags": ["x", "y"], "author": {"name": "A", "age": 7}},
    "gone": False,
    "empty": None,
}


def decode(body: Any, **settings: str) -> Event:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    mapping = MappingSettings(**{"text": "after.body", **settings})
    return Decoder(mapping, CapsSettings()).decode(Record("t", 0, 1, 2, b"k", raw), epoch=0)


def refusal(body: Any, **settings: str) -> RecordFault:
    with pytest.raises(RecordFault) as caught:
        decode(body, **settings)
    assert SECRET not in str(caught.value)
    return caught.value


def test_paths_pick_the_parts() -> None:
    event = decode(BODY, id="after.id", version="after.rev", metadata="after.author", deleted="gone")
    assert (event.document_key, event.text, event.version) == ("i:5", "B", 3)
    assert event.metadata == {"name": "A", "age": 7}


def test_without_an_id_path_or_id_the_key_serves() -> None:
    assert decode(BODY).document_key == "s:k"
    assert decode(BODY, id="after.nowhere").document_key == "s:k"
    assert decode(BODY, id="empty").document_key == "s:k"


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
        ("{after.nowhere}", "after.nowhere is missing, not a text"),
        ("{empty}", "empty is null, not a text"),
        ("{after.tags}", "after.tags is an array, not a text"),
        ("after.author", "after.author is an object, not a text"),
        ("after.id", "after.id is an integer, not a text"),
        ("after.nowhere", "after.nowhere is missing, not a text"),
        ("after.body.deeper", "after.body.deeper is missing, not a text"),
    ],
)
def test_a_text_that_is_not_there_is_named_by_its_path(template: str, message: str) -> None:
    assert refusal({**BODY, "other": SECRET}, text=template).message == message


@pytest.mark.parametrize("value", [True, 1, "true", "d", "yes", [0], {"a": 1}, 0.5])
def test_a_true_or_non_empty_value_deletes(value: object) -> None:
    event = decode({"gone": value, "id": "a"}, id="id", deleted="gone")
    assert (event.document_key, event.text) == ("s:a", None)


@pytest.mark.parametrize("value", [False, None, 0, "", "false", "False", [], {}])
def test_a_false_or_empty_value_does_not_delete(value: object) -> None:
    assert decode({"gone": value, "t": "x"}, text="t", deleted="gone").text == "x"


def test_a_null_value_deletes_here_too() -> None:
    decoder = Decoder(MappingSettings(text="t", id="id"), CapsSettings())
    assert decoder.decode(Record("t", 0, 1, 2, b"k", None), epoch=0).text is None


def test_several_metadata_paths_become_fields_under_their_last_names() -> None:
    event = decode(BODY, metadata="after.title, after.author.name ,after.nowhere,empty")
    assert event.metadata == {"title": "T", "name": "A", "empty": None}


def test_a_missing_metadata_object_is_empty() -> None:
    assert decode(BODY, metadata="after.nowhere").metadata == {}
    assert decode(BODY, metadata="empty").metadata == {}


def test_one_metadata_path_names_an_object() -> None:
    assert "after.tags is an array, not an object" in refusal(BODY, metadata="after.tags").message


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
        Decoder(MappingSettings(**settings), CapsSettings())
    assert caught.value.where.startswith("mapping.")
    assert caught.value.fix
