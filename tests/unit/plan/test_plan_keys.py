"""Golden values: a change here would orphan every chunk that anyone has stored."""

import uuid

from streamdex.model import uuid5
from streamdex.plan.keys import CHUNK_NAMESPACE, chunk_ids, content_hash, text_hash


def test_the_quick_uuid5_is_the_standard_one() -> None:
    for name in ("", "x", "42\x00ab", "漢字"):
        assert uuid5(CHUNK_NAMESPACE.bytes, name.encode()) == str(uuid.uuid5(CHUNK_NAMESPACE, name))


def test_chunk_ids_are_golden() -> None:
    hashes = [text_hash("one"), text_hash("two"), text_hash("one")]
    assert chunk_ids("doc", hashes) == GOLDEN_IDS
    assert chunk_ids("7", [text_hash("one")], text_hash("one two")) == GOLDEN_LATE_ID


def test_content_hash_is_golden_and_knows_its_parts() -> None:
    golden = content_hash(text_hash("text"), {"b": 1, "a": [True, None]}, (b"text", b"metadata"))
    assert golden == GOLDEN_CONTENT
    assert content_hash(text_hash("text"), {"a": [True, None], "b": 1}, (b"text", b"metadata")) == golden
    assert content_hash(text_hash("text"), {"a": [True, None], "b": 2}, (b"text", b"metadata")) != golden
    assert content_hash(text_hash("text"), {"a": [True, None], "b": 1}, (b"page_content", b"metadata")) != golden


def test_ids_tell_documents_texts_occurrences_and_contexts_apart() -> None:
    one, two = text_hash("one"), text_hash("two")
    ids = [
        *chunk_ids("1", [one, one, two]),
        *chunk_ids("2", [one]),
        *chunk_ids("1", [one], context=two),
    ]
    assert len(set(ids)) == len(ids)


def test_a_chunk_keeps_its_id_wherever_it_moves() -> None:
    one, two = text_hash("one"), text_hash("two")
    assert chunk_ids("1", [one, two]) == list(reversed(chunk_ids("1", [two, one])))


GOLDEN_IDS = [
    "019d18cd-8ab2-5886-9023-fb58012bae8e",
    "06e7a93b-3dad-5c7f-9c98-fb14bb1c5bb5",
    "4b8cc3f5-ab48-55ae-980b-20d0dcf77137",
]
GOLDEN_LATE_ID = ["89ff34b0-3f15-53c4-9ac9-74965fece1cb"]
GOLDEN_CONTENT = "cd1ac2252f818fcbc2bff1f51137ddba"
