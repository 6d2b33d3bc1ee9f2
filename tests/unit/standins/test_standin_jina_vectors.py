"""Lexical vectors: deterministic, comparable, never zero; and the stand-in's own token count."""

import subprocess
import sys

import numpy as np
import pytest

from streamdex.standins.jina.tokens import count_tokens, cut
from streamdex.standins.jina.vectors import Space, embed

SPACE = Space("jina-embeddings-v3", 1024, "retrieval.passage")
PASSAGES = (
    "The csv module reads and writes tabular data in CSV format; reader objects iterate over lines of a file.",
    "Sorting lists: list.sort() sorts in place, sorted() builds a new sorted list from an iterable.",
    "The socket module gives access to the BSD socket interface, for servers and clients on a network.",
)


def _nearest(query: str, space: Space = SPACE) -> int:
    passages = embed(PASSAGES, space, normalized=True)
    asked = embed([query], Space(space.model, space.dimension, "retrieval.query"), normalized=True)[0]
    return int(np.argmax(passages @ asked))


@pytest.mark.parametrize("dimension", [32, 64, 768, 1000, 2048])
def test_vectors_have_the_dimension_asked_and_unit_length(dimension: int) -> None:
    vectors = embed(PASSAGES, Space("jina-embeddings-v3", dimension), normalized=True)
    assert vectors.shape == (3, dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_query_finds_its_passage_across_tasks_and_word_forms() -> None:
    assert _nearest("how do I read a csv file?") == 0
    assert _nearest("sort a list") == 1
    assert _nearest("network sockets") == 2
    assert _nearest("sort a list", Space("jina-embeddings-v3", 128)) == 1


def test_shared_words_make_texts_nearer() -> None:
    one, near, far = embed(("the red fox jumps", "a red fox jumped high", "tax law of 1912"), SPACE, normalized=True)
    assert one @ near > 0.5
    assert one @ far < 0.2


def test_tasks_differ_slightly_models_wholly() -> None:
    passage = embed(PASSAGES[:1], SPACE, normalized=True)[0]
    query = embed(PASSAGES[:1], Space(SPACE.model, 1024, "retrieval.query"), normalized=True)[0]
    other_model = embed(PASSAGES[:1], Space("jina-clip-v2", 1024, "retrieval.passage"), normalized=True)[0]
    assert 0.97 < passage @ query < 0.9999
    assert abs(passage @ other_model) < 0.3


def test_scripts_without_spaces_are_found_too() -> None:
    texts = ("北京是中国的首都 人口众多", "东京是日本的首都", "柏林位于德国")
    vectors = embed((*texts, "日本东京"), SPACE, normalized=True)
    assert int(np.argmax(vectors[:3] @ vectors[3])) == 1


@pytest.mark.parametrize("text", ["", " \n", "?!", "the", "😀"])
def test_no_text_gives_a_zero_vector(text: str) -> None:
    vector = embed([text], Space("jina-embeddings-v3", 32), normalized=True)[0]
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_without_normalized_the_length_grows_with_the_text() -> None:
    short, long = embed(("one fox", " ".join(PASSAGES)), SPACE, normalized=False)
    assert np.linalg.norm(long) > np.linalg.norm(short) > 0
    assert np.linalg.norm(long) > 1.5


def test_a_row_does_not_depend_on_its_batch_except_in_late_chunking() -> None:
    alone = embed(PASSAGES[:1], SPACE, normalized=True)[0]
    assert np.array_equal(alone, embed(PASSAGES, SPACE, normalized=True)[0])
    in_context = embed(PASSAGES, SPACE, normalized=True, late_chunking=True)[0]
    assert 0.5 < alone @ in_context < 0.99


def test_vectors_are_the_same_in_another_process() -> None:
    """Python's own `hash` of a string differs from process to process; ours must not."""
    program = (
        "import sys; from streamdex.standins.jina.vectors import Space, embed;"
        "sys.stdout.write(embed(['a fox, a box'], Space('m', 64, 't'), normalized=True).tobytes().hex())"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own program
    other = np.frombuffer(bytes.fromhex(printed), dtype=np.float32)
    assert np.array_equal(other, embed(["a fox, a box"], Space("m", 64, "t"), normalized=True)[0])


def test_tokens_count_pieces_and_differ_from_characters_by_a_ratio() -> None:
    assert count_tokens("streaming 2026, 首都!") == 2 + 2 + 1 + 2 + 1
    assert count_tokens("") == 0
    prose = " ".join(PASSAGES)
    assert 0.6 < count_tokens(prose) / (len(prose) / 3.5) < 1.6


def test_cut_leaves_the_longest_beginning_that_fits() -> None:
    assert cut("one two three", 2) == "one two"
    assert cut("one two", 2) == "one two"
    assert count_tokens(cut("streaming " * 100, 7)) == 7
    assert cut("one", 0) == ""
