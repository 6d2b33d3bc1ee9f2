"""A corpus of documents as people have them, and some as nobody should: what must hold of every cut."""

import itertools
import re

import pytest

from streamdex.config import ChunkSettings, Settings
from streamdex.plan.breaks import look
from streamdex.plan.chunks import Chunker
from streamdex.plan.keys import text_hash
from streamdex.plan.splitting import Splitter
from streamdex.plan.tokens import estimate_tokens
from unit.plan.samples import CORPUS, LARGE

MAX_TOKENS = 256


def chunks_of(name: str, text: str) -> list[str]:
    size_tokens = 512 if name in LARGE else MAX_TOKENS
    chunks = Chunker(Settings(chunk=ChunkSettings(max_tokens=size_tokens))).chunks(name, text, text_hash(text))
    assert max(chunk.tokens for chunk in chunks) <= size_tokens
    assert all(chunk.tokens == estimate_tokens(chunk.text) for chunk in chunks)
    return [chunk.text for chunk in chunks]


def visible(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("name", CORPUS)
def test_no_visible_character_is_lost_and_no_chunk_is_too_long(name: str) -> None:
    text = CORPUS[name]()
    chunks = chunks_of(name, text)
    assert visible("".join(chunks)) == visible(text)
    assert chunks == chunks_of(name, text)


@pytest.mark.parametrize("name", CORPUS)
def test_an_overlap_repeats_the_end_before_and_no_more(name: str) -> None:
    text, overlap_tokens, repeats = CORPUS[name](), 32, 0
    spans = list(Splitter(estimate_tokens, MAX_TOKENS, overlap_tokens).spans(text))
    assert max(span.tokens for span in spans) <= MAX_TOKENS
    for left, right in itertools.pairwise(spans):
        assert left.start < right.start
        assert left.end < right.end
        assert not text[left.end : right.start].strip()
        assert estimate_tokens(text[right.start : left.end]) <= overlap_tokens
        repeats += right.start < left.end
    assert repeats > len(spans) // 2 or name in LARGE


@pytest.mark.parametrize("name", sorted(CORPUS.keys() - LARGE))
def test_chunks_are_well_filled(name: str) -> None:
    """Half of the size on average, and no chunk under an eighth that fits beside its neighbour."""
    chunks = chunks_of(name, text := CORPUS[name]())
    assert len(chunks) <= 2 * estimate_tokens(text) / MAX_TOKENS + 1
    for left, right in itertools.pairwise(chunks):
        if min(estimate_tokens(left), estimate_tokens(right)) < MAX_TOKENS / 8:
            assert estimate_tokens(left) + estimate_tokens(right) > MAX_TOKENS * 0.9


@pytest.mark.parametrize("max_tokens", [64, 128, 256, 512, 1024])
def test_no_heading_is_at_the_end_of_a_markdown_chunk(max_tokens: int) -> None:
    text = CORPUS["Markdown"]()
    assert look(text) == "markdown"
    settings = Settings(chunk=ChunkSettings(max_tokens=max_tokens))
    chunks = Chunker(settings).chunks("s:1", text, text_hash(text))
    assert len(chunks) > 10
    assert not [chunk.text for chunk in chunks if re.search(r"(\A|\n)#{1,6} [^\n]*\Z", chunk.text)]


@pytest.mark.parametrize("name", ["Japanese", "Chinese"])
def test_nine_chunks_of_ten_end_with_a_sentence(name: str) -> None:
    chunks = chunks_of(name, CORPUS[name]())
    assert sum(chunk.rstrip().endswith("。") for chunk in chunks) >= 0.9 * len(chunks)


@pytest.mark.parametrize("name", ["table", "CSV", "logs", "chat"])
def test_lines_are_whole(name: str) -> None:
    text = CORPUS[name]()
    lines = set(text.splitlines())
    assert all(line in lines for chunk in chunks_of(name, text) for line in chunk.splitlines())


@pytest.mark.parametrize("name", ["Python", "Go", "TypeScript"])
def test_code_is_taken_for_code_and_keeps_its_indentation(name: str) -> None:
    text = CORPUS[name]()
    assert look(text) == "code"
    lines = set(text.splitlines())
    assert all(line in lines for chunk in chunks_of(name, text) for line in chunk.splitlines())
