"""Golden values: a change here would orphan every chunk that anyone has stored."""

import uuid

from streamdex.model import uuid5
from streamdex.plan.keys import CHUNK_NAMESPACE, chunk_ids, content_hash, text_hash


def test_the_quick_uuid5_is_the_standard_one() -> None:
    for name in ("", "x", "s:42\x00ab", "漢字"):
        assert uuid5(CHUNK_NAMESPACE.bytes, name.encode()) == str(uuid.uuid5(CHUNK_NAMESPACE, name))


def test_chunk_ids_are_golden() -> None:
    hashes = [text_hash("one"), text_hash("two"), text_hash("one")]
    assert chunk_ids("s:doc", hashes) == GOLDEN_IDS
    assert chunk_ids("i:7", [text_hash("one")], text_hash("one two")) == GOLDEN_LATE_ID


def test_content_hash_is_golden_and_knows_its_parts() -> None:
    golden = content_hash(text_hash("text"), {"b": 1, "a": [True, None]}, (b"text", b"metadata"))
    assert golden == GOLDEN_CONTENT
    assert content_hash(text_hash("text"), {"a": [True, None], "b": 1}, (b"text", b"metadata")) == golden
    assert content_hash(text_hash("text"), {"a": [True, None], "b": 2}, (b"text", b"metadata")) != golden
    assert content_hash(text_hash("text"), {"a": [True, None], "b": 1}, (b"page_content", b"metadata")) != golden


def test_ids_tell_documents_texts_occurrences_and_contexts_apart() -> None:
    one, two = text_hash("one"), text_hash("two")
    ids = [
        *chunk_ids("s:1", [one, one, two]),
        *chunk_ids("i:1", [one]),
        *chunk_ids("s:1", [one], context=two),
    ]
    assert len(set(ids)) == len(ids)


def test_a_chunk_keeps_its_id_wherever_it_moves() -> None:
    one, two = text_hash("one"), text_hash("two")
    assert chunk_ids("s:1", [one, two]) == list(reversed(chunk_ids("s:1", [two, one])))


GOLDEN_IDS = [
    "40f391df-fa64-5a82-9c59-ba4afc3191e9",
    "189e0ce5-7414-598d-84f8-e7d8eb0d5a21",
    "326bc268-2d74-561a-9d9e-39f785469bb3",
]
GOLDEN_LATE_ID = ["c7e3c2e9-60af-5476-8463-c482f7b37275"]
GOLDEN_CONTENT = "cd1ac2252f818fcbc2bff1f51137ddba"
