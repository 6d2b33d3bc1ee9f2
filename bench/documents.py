"""The documents of the scenarios, as records' keys and values. The same numbers give the same bytes in every run.

Texts are of words, in ASCII, cut from one long stretch of them: what a text says changes nothing that is measured
here, its length does.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

import orjson

SHORT_CHARACTERS = 1_680  # 480 tokens by the worker's estimate: one chunk of at most 512
PARAGRAPH_CHARACTERS = 1_560  # 446 tokens: one chunk, and two do not fit into one
PARAGRAPHS = 40
BREAK = "\n\n"
CHANGED_PARAGRAPH = 17  # in the middle, so that nothing is at an edge
CORPUS_CHARACTERS = 1_000_000
VALUE_BYTES = 2_048


class Message(NamedTuple):
    """One record to write; a value of None is a delete."""

    key: bytes
    value: bytes | None


def short_documents(start: int, count: int) -> Iterator[Message]:
    """Documents of one chunk, 2 KB each as a record."""
    for number in range(start, start + count):
        yield _message(number, f"{number} {_stretch(number, SHORT_CHARACTERS)}")


def deletes(start: int, count: int) -> Iterator[Message]:
    """The end of these documents."""
    for number in range(start, start + count):
        yield Message(_key(number), None)


def long_documents(start: int, count: int, revision: int = 0) -> Iterator[Message]:
    """Documents of 40 paragraphs, each a chunk; revisions differ in one paragraph."""
    for number in range(start, start + count):
        paragraphs = [
            f"{number}.{place}.{revision if place == CHANGED_PARAGRAPH else 0} "
            + _stretch(number * PARAGRAPHS + place, PARAGRAPH_CHARACTERS)
            for place in range(PARAGRAPHS)
        ]
        yield _message(number, BREAK.join(paragraphs))


def _message(number: int, text: str) -> Message:
    metadata = {"title": f"Document {number}", "language": "en", "tags": ["bench", "news"], "rating": number % 5}
    key = _key(number)
    value = {"id": key.decode(), "op": "upsert", "text": text, "metadata": metadata}
    short = VALUE_BYTES - len(text) - len(orjson.dumps({**value, "text": "", "metadata": {**metadata, "summary": ""}}))
    metadata["summary"] = _stretch(number, max(0, short))
    return Message(key, orjson.dumps(value))


def _key(number: int) -> bytes:
    return b"document-%08d" % number


def _stretch(number: int, characters: int) -> str:
    start = number * 7_919 % (CORPUS_CHARACTERS - characters)  # a prime: neighbours do not overlap
    return _CORPUS[start : start + characters]


def _make_corpus() -> str:
    rng = random.Random(0)  # noqa: S311  # nothing secret: texts to be measured with
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 11))) for _ in range(5_000)]
    return " ".join(rng.choices(words, k=CORPUS_CHARACTERS // 6))[:CORPUS_CHARACTERS]


_CORPUS = _make_corpus()
