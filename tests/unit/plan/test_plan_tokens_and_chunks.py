"""Estimates by script, cutting at breaks, and the caps."""

import itertools
import json
from pathlib import Path

import pytest

from streamdex.config import CapsSettings, ChunkSettings, JinaSettings, Settings
from streamdex.errors import ConfigurationError, Reason, RecordFault
from streamdex.plan.chunks import Chunker, cutting_digest
from streamdex.plan.keys import text_hash
from streamdex.plan.tokens import estimate_tokens, token_counter


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("a" * 350, 100),
        ("д" * 100, 29),
        ("漢" * 100, 64),
        ("漢" * 100 + "д" * 100 + "a" * 100, 123),
        ("7" * 100, 60),
        ("🎉" * 100, 97),
        ("é", 1),
    ],
)
def test_tokens_are_estimated_by_script(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def chunker(**sections: object) -> Chunker:
    return Chunker(Settings(**sections))  # type: ignore[arg-type]  # sections by name, as the tests give them


def cut(maker: Chunker, text: str) -> list[str]:
    return [chunk.text for chunk in maker.chunks("1", text, text_hash(text))]


def test_a_short_text_is_one_chunk_exactly_as_it_came() -> None:
    assert cut(chunker(), "  hello\nworld ") == ["  hello\nworld "]


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_a_text_without_a_visible_character_has_no_chunk(text: str) -> None:
    assert cut(chunker(), text) == []


def test_a_long_text_is_cut_at_its_breaks_and_keeps_every_word() -> None:
    paragraphs = [f"Paragraph {number} says something of its own." for number in range(200)]
    pieces = cut(chunker(chunk=ChunkSettings(max_tokens=64)), "\n\n".join(paragraphs))
    assert len(pieces) > 10
    assert all(estimate_tokens(piece) <= 64 for piece in pieces)
    assert " ".join(pieces).split() == " ".join(paragraphs).split()


def test_ever_longer_runs_of_blanks_are_cut_like_any_text() -> None:
    text = "".join(f"a{' ' * length}" for length in range(2000))
    assert "".join("".join(cut(chunker(), text)).split()) == "a" * 2000


def test_places_and_estimates_go_with_the_chunks() -> None:
    text = "word " * 2000
    chunks = chunker().chunks("1", text, text_hash(text))
    assert [chunk.place for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.tokens == estimate_tokens(chunk.text) for chunk in chunks)


def test_overlap_repeats_the_end_of_a_chunk() -> None:
    text = " ".join(f"word{number}" for number in range(600))
    pieces = cut(chunker(chunk=ChunkSettings(max_tokens=64, overlap_tokens=16)), text)
    assert all(left.split()[-1] in right.split() for left, right in itertools.pairwise(pieces))


def test_late_chunking_gives_ids_of_their_own_to_each_version_of_a_document() -> None:
    late = chunker(jina=JinaSettings(late_chunking=True), chunk=ChunkSettings(max_tokens=8))
    shared = "The first paragraph stays as it was.\n\n"
    one, two = shared + "Then one.", shared + "Then two, which is longer."
    ids = [{chunk.id for chunk in late.chunks("1", text, text_hash(text))} for text in (one, two)]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        (CapsSettings(document_tokens=100), Reason.TOO_MANY_TOKENS),
        (CapsSettings(document_chunks=2), Reason.TOO_MANY_CHUNKS),
    ],
)
def test_a_document_over_a_cap_is_refused_by_name(caps: CapsSettings, reason: Reason) -> None:
    with pytest.raises(RecordFault) as caught:
        cut(chunker(caps=caps), "secret words " * 2000)
    assert caught.value.reason is reason
    assert "caps." in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_cutting_changes_with_what_decides_the_cut_alone() -> None:
    assert cutting_digest(Settings()) == cutting_digest(Settings(jina=JinaSettings(concurrency=3)))
    assert cutting_digest(Settings()) != cutting_digest(Settings(chunk=ChunkSettings(max_tokens=256)))
    # Another format makes other documents of the same records.
    assert cutting_digest(Settings()) != cutting_digest(Settings.model_validate({"events": {"format": "text"}}))


def test_a_tokenizer_file_counts_exactly(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(WORDS))
    assert token_counter(str(file), "jina-embeddings-v3")("one two two") == 3


def test_a_tokenizer_that_cannot_be_had_is_refused_with_the_fix(tmp_path: Path) -> None:
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{")
    with pytest.raises(ConfigurationError) as caught:
        token_counter(str(broken), "jina-embeddings-v3")
    assert caught.value.where == "chunk.tokenizer"
    assert "estimate" in caught.value.fix


WORDS: dict[str, object] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"one": 0, "two": 1, "?": 2}, "unk_token": "?"},
}
