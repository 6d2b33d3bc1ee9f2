"""Golden examples of the formats of changes: a record, and the change or the fault that it must come to.

One JSON file a format in `tests/unit/intake/formats/`, written after its public specification. An example has `value`,
and as it needs them `key` (JSON), `key_text` (anything else), `headers` and `topic`; then either `kind` and `row` with
the other fields of a change, or `fault`, which the message must contain, and its `reason`. With `"auto": false` it
could be of another format, too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from streamdex.errors import RecordFault
from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.model import JsonObject, Record

FOLDER = Path(__file__).resolve().parents[1] / "unit" / "intake" / "formats"
SECRET = "s3cret"
FORMATS = sorted(path.stem for path in FOLDER.glob("*.json"))


def examples(name: str, *, faults: bool) -> list[JsonObject]:
    """Those of one format that come to a change, or those that come to a fault."""
    found: list[JsonObject] = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return [example for example in found if ("fault" in example) is faults]


def example(format_name: str, name: str) -> JsonObject:
    """One by its name."""
    found = [*examples(format_name, faults=False), *examples(format_name, faults=True)]
    return next(each for each in found if each["name"] == name)


def record_of(example: JsonObject) -> Record:
    key = example["key_text"].encode() if "key_text" in example else None
    headers = tuple((name, value.encode()) for name, value in example.get("headers", {}).items())
    return Record(
        topic=example.get("topic", "events"),
        partition=0,
        offset=7,
        timestamp_ms=1_700_000_000_000,
        key=orjson.dumps(example["key"]) if "key" in example else key,
        value=orjson.dumps(example["value"]),
        headers=headers,
    )


def change_in(example: JsonObject) -> Change:
    return Change(
        ChangeKind(example["kind"]),
        example.get("row", {}),
        frozenset(example.get("unavailable", ())),
        example.get("sequence"),
        example.get("why", ""),
    )


def refusal(change_of: Callable[[JsonObject, Record], Change], example: JsonObject) -> RecordFault:
    """The fault of a damaged record; its message quotes no value, and nothing that a terminal would obey."""
    with pytest.raises(RecordFault) as caught:
        change_of(example["value"], record_of(example))
    assert SECRET not in caught.value.message
    assert caught.value.message.isprintable()
    return caught.value


def name_of(example: Any) -> str:
    return str(example["name"])
